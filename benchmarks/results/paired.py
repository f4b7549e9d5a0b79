"""Correctness of an artefact face by face, kept in a result of ``accuracy`` to pair it with a later one."""

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
"""Key in the details of a result: ``faces``, a fingerprint, and ``artefacts``, name -> one character per face."""
WRONG, RIGHT, UNKNOWN = "01-"


def keep_correctness(
    right: Mapping[str, npt.NDArray[np.int8]], faces: Faces, classes: Sequence[str]
) -> dict[str, dict[str, Any]]:
    """Entry of a result's details. ``right``: artefact -> for each of N faces 1 right, 0 wrong, -1 no such class."""
    signs = {name: "".join((WRONG + RIGHT + UNKNOWN)[one] for one in values) for name, values in right.items()}
    return {KEY: {"faces": fingerprint(faces, classes), "artefacts": signs}}


def fingerprint(faces: Faces, classes: Sequence[str]) -> str:
    """SHA-256 of pictures and labels in order: only results of the same faces with the same labels may be paired."""
    digest = hashlib.sha256(",".join(classes).encode())
    for picture, label in zip(faces.digests(), faces.labels, strict=True):
        digest.update(picture + int(label).to_bytes(2, "little"))
    return digest.hexdigest()


def paired_p(before: Result, after: Result, artefact: str) -> float | None:
    """McNemar's exact p of an artefact between two results; None unless both hold it for the same faces."""
    first, second = _signs(before, artefact), _signs(after, artefact)
    if first is None or second is None or first[0] != second[0] or len(first[1]) != len(second[1]):
        return None
    if any((a == UNKNOWN) != (b == UNKNOWN) for a, b in zip(first[1], second[1], strict=True)):
        return None  # the artefacts have different classes, so the results are of different faces
    was, became = (np.array([sign == RIGHT for sign in signs]) for _, signs in (first, second))
    return mcnemar(was, became)


def _signs(result: Result, artefact: str) -> tuple[str, str] | None:
    """Fingerprint of the faces, and one character per face."""
    kept = result.details.get(KEY)
    if not isinstance(kept, dict):
        return None
    faces, artefacts = kept.get("faces"), kept.get("artefacts")
    signs = artefacts.get(artefact) if isinstance(artefacts, dict) else None
    return (faces, signs) if isinstance(faces, str) and isinstance(signs, str) else None
