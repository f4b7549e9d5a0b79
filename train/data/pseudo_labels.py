"""Faces with the answers of teachers, cached in one file: pseudo-labels (Lee 2013), soft ones as in distillation.

An answer is given once for the picture as it is and once for its mirror image, not for every distorted view: the
student learns that a distorted face means what the clear one does (Xie et al. 2020), and costs no more than without
teachers.
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edge_emotion.models.classifier import softmax
from edge_emotion.protocols import FloatArray
from edge_emotion.system.atomic_file import sha256
from train.data.faces import DataError, DataSet, Faces

LABELLED = " and pseudo-labels of "
"""What the name of a data set says when there are some."""

LIGHTEST = 1e-3
"""Rounding of cached answers: rows sum to 1 within this."""


@dataclass(frozen=True)
class PseudoLabels:
    """images: uint8 N x S x S (x 3); answers: float32 N x C probabilities over ``classes``; ``teachers`` for records.

    ``answers`` is None for faces that nobody has labelled yet.
    """

    images: npt.NDArray[np.uint8]
    answers: FloatArray | None = None
    classes: tuple[str, ...] = ()
    teachers: tuple[str, ...] = ()

    def write(self, path: Path) -> None:
        """Write as .npz, whole or not at all."""
        path.parent.mkdir(parents=True, exist_ok=True)
        beside = path.with_name(path.name + ".part.npz")
        arrays: dict[str, Any] = {"images": self.images, "classes": self.classes, "teachers": self.teachers}
        if self.answers is not None:
            arrays["answers"] = self.answers
        np.savez_compressed(beside, **arrays)
        beside.replace(path)


def read_pseudo_labels(path: Path) -> PseudoLabels:
    """What ``PseudoLabels.write`` wrote. Raises DataError for a file that is not there, damaged or something else."""
    try:
        with np.load(path, allow_pickle=False) as file:
            answers = np.asarray(file["answers"], np.float32) if "answers" in file.files else None
            classes, teachers = (tuple(map(str, file[key].tolist())) for key in ("classes", "teachers"))
            found = PseudoLabels(np.asarray(file["images"]), answers, classes, teachers)
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise DataError(f"cannot read faces from {path}: {error}; 'python -m train crops' writes them") from error
    if found.images.dtype != np.uint8 or found.images.ndim not in (3, 4) or not len(found.images):
        raise DataError(f"{path} holds no faces: images are {found.images.dtype} {found.images.shape}")
    if answers is not None and not _probabilities(answers, len(found.images), len(classes)):
        raise DataError(f"{path}: answers are not {len(found.images)} distributions over {len(classes)} classes")
    return found


def _probabilities(answers: FloatArray, faces: int, classes: int) -> bool:
    return (
        answers.shape == (faces, classes)
        and bool(np.isfinite(answers).all())
        and bool((answers >= 0).all())
        and bool((np.abs(answers.sum(axis=1) - 1) < LIGHTEST).all())
    )


def mean_answer(logits: Iterable[FloatArray]) -> FloatArray:
    """The mean probabilities of several N x C logits."""
    answers = [softmax(one.astype(np.float64)) for one in logits]
    return np.asarray(np.mean(answers, axis=0), np.float32)


def mirrored(faces: Faces) -> Faces:
    """The faces as in a mirror."""
    return replace(faces, images=np.ascontiguousarray(faces.images[:, :, ::-1]))


def add_pseudo_labels(data: DataSet, files: Sequence[Path], share: float) -> DataSet:
    """The data set with the faces of these files in its training split.

    A face that is there already, equal to the bit, keeps its votes but for ``share`` of them, which becomes the
    answer; any other is added with the answer alone. The last file counts for a face that several hold.
    Raises DataError for files without answers, and for faces or classes that are not the data set's.
    """
    for path in files:
        data = _add(data, path, share)
    return data


def _add(data: DataSet, path: Path, share: float) -> DataSet:
    found, train = read_pseudo_labels(path), data["train"]
    if found.answers is None:
        raise DataError(f"{path} holds faces without answers: 'python -m train pseudo-label' gives them")
    if found.classes != data.classes:
        raise DataError(f"{path} tells {', '.join(found.classes)} apart, {data.name} {', '.join(data.classes)}")
    if found.images.shape[1:] != train.images.shape[1:]:
        sizes = (" x ".join(map(str, images.shape[1:])) for images in (found.images, train.images))
        raise DataError(f"{path}: its faces are of {next(sizes)}, those of {data.name} of {next(sizes)}")
    fresh = Faces(found.images, found.answers, np.ones(len(found.images), np.bool_))
    answer_of = dict(zip(fresh.digests(), range(len(fresh)), strict=True))
    rows = np.array([answer_of.get(digest, -1) for digest in train.digests()], np.int64)
    known = rows >= 0
    votes = train.votes.copy()
    votes[known] = (1 - share) * votes[known] + share * found.answers[rows[known]]
    added = fresh.take(np.setdiff1d(np.arange(len(fresh)), rows[known]))
    merged = Faces(
        np.concatenate([train.images, added.images]),
        np.concatenate([votes, added.votes]),
        np.concatenate([train.clear, added.clear]),
    )
    name = f"{data.name}{LABELLED}{len(fresh)} faces ({path.name}, sha256 {sha256(path)[:12]})"
    return replace(data, name=name, splits={**data.splits, "train": merged})
