"""Which faces an artefact has right, kept in the result of ``accuracy`` so that a later one can be paired with it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.results.results import Result
from train.data.faces import Faces
from train.evaluation.metrics import mcnemar

KEY = "rightness"
"""Its place in the details of a result: ``faces``, a fingerprint, and by artefact one sign for each face."""
WRONG, RIGHT, UNKNOWN = "01-"


def keep_rightness(
    right: Mapping[str, npt.NDArray[np.int8]], faces: Faces, classes: Sequence[str]
) -> dict[str, dict[str, Any]]:
    """By artefact, of N faces: 1 right, 0 wrong, -1 of a class that it does not know; as part of the details."""
    signs = {name: "".join((WRONG + RIGHT + UNKNOWN)[one] for one in values) for name, values in right.items()}
    return {KEY: {"faces": fingerprint(faces, classes), "artefacts": signs}}


def fingerprint(faces: Faces, classes: Sequence[str]) -> str:
    """SHA-256 of pictures and labels in their order: what is paired must be the same faces with the same truth."""
    digest = hashlib.sha256(",".join(classes).encode())
    for picture, label in zip(faces.digests(), faces.labels, strict=True):
        digest.update(picture + int(label).to_bytes(2, "little"))
    return digest.hexdigest()


def paired_p(before: Result, after: Result, artefact: str) -> float | None:
    """The p of McNemar's exact test of an artefact in two results; None if not both hold it for the same faces."""
    first, second = _signs(before, artefact), _signs(after, artefact)
    if first is None or second is None or first[0] != second[0] or len(first[1]) != len(second[1]):
        return None
    if any((a == UNKNOWN) != (b == UNKNOWN) for a, b in zip(first[1], second[1], strict=True)):
        return None  # they know different classes: these are not the same faces
    was, became = (np.array([sign == RIGHT for sign in signs]) for _, signs in (first, second))
    return mcnemar(was, became)


def _signs(result: Result, artefact: str) -> tuple[str, str] | None:
    """Fingerprint of the faces and a sign for each, as strings."""
    kept = result.details.get(KEY)
    if not isinstance(kept, dict):
        return None
    faces, artefacts = kept.get("faces"), kept.get("artefacts")
    signs = artefacts.get(artefact) if isinstance(artefacts, dict) else None
    return (faces, signs) if isinstance(faces, str) and isinstance(signs, str) else None
