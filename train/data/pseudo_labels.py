"""Faces with cached outputs of teachers: pseudo-labels (Lee 2013), as probabilities like in distillation.

Outputs are computed for the picture and its mirror image only, not for every augmented view: the student learns that an
augmented face means the same as the original (Xie et al. 2020), at the cost of training without teachers.
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
"""Addition to the name of a data set with pseudo-labels."""

LIGHTEST = 1e-3
"""Tolerance for the sum of each row of cached probabilities."""


@dataclass(frozen=True)
class PseudoLabels:
    """Faces with the mean output of teachers; ``answers`` is None for faces that are not labelled yet.

    images: uint8 N x S x S (x 3); answers: float32 N x C probabilities over ``classes``; ``teachers``: for records.
    """

    images: npt.NDArray[np.uint8]
    answers: FloatArray | None = None
    classes: tuple[str, ...] = ()
    teachers: tuple[str, ...] = ()

    def write(self, path: Path) -> None:
        """Write a .npz file atomically."""
        path.parent.mkdir(parents=True, exist_ok=True)
        beside = path.with_name(path.name + ".part.npz")
        arrays: dict[str, Any] = {"images": self.images, "classes": self.classes, "teachers": self.teachers}
        if self.answers is not None:
            arrays["answers"] = self.answers
        np.savez_compressed(beside, **arrays)
        beside.replace(path)


def read_pseudo_labels(path: Path) -> PseudoLabels:
    """Read a file of ``PseudoLabels.write``. Raises DataError for one that is missing, damaged or something else."""
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
    """The faces mirrored left to right."""
    return replace(faces, images=np.ascontiguousarray(faces.images[:, :, ::-1]))


def add_pseudo_labels(data: DataSet, files: Sequence[Path], share: float) -> DataSet:
    """Add the faces of these files to the training split of a data set.

    A face that is in the split already, equal to the bit, gets a weighted mean: ``share`` of the answer, the rest of
    its votes. Any other face is added with the answer alone. Files are added in order, so that for a face in several
    the last one counts most. Raises DataError for files without answers, and for faces or classes that differ from the
    data set's.
    """
    for path in files:
        data = _add(data, path, share)
    return data


def _add(data: DataSet, path: Path, share: float) -> DataSet:
    found, train = read_pseudo_labels(path), data["train"]
    if found.answers is None:
        raise DataError(f"{path} holds faces without answers: 'python -m train pseudo-label' gives them")
    if found.classes != data.classes:
        raise DataError(f"{path} has the classes {', '.join(found.classes)}, {data.name} {', '.join(data.classes)}")
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
