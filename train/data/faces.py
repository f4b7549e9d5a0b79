"""Labelled faces and data sets as numpy values, with the selections that training makes."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import numpy.typing as npt

from edge_emotion.errors import EdgeEmotionError
from edge_emotion.labels import canonical, subset

Split = Literal["train", "validation", "test"]
SPLITS: tuple[Split, ...] = ("train", "validation", "test")


class DataError(EdgeEmotionError, ValueError):
    """A data set that is missing or malformed."""

    exit_code = 7


@dataclass(frozen=True)
class Faces:
    """Faces of one split.

    images: uint8, N x S x S (grey) or N x S x S x 3 (BGR). votes: float32 N x C, rows sum to 1. clear: bool N, True for
    the rows that count in measurements (FER+: the winner has more than half of the votes; with single labels all rows).
    """

    images: npt.NDArray[np.uint8]
    votes: npt.NDArray[np.float32]
    clear: npt.NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.images)

    @property
    def labels(self) -> npt.NDArray[np.int64]:
        """The winner of each row, as a column of ``votes``."""
        return np.asarray(self.votes.argmax(axis=1), np.int64)

    def majority(self) -> Faces:
        """Only the rows with a clear winner."""
        return self.take(np.flatnonzero(self.clear))

    def take(self, rows: npt.NDArray[np.int64]) -> Faces:
        """The given rows, in the given order."""
        return Faces(self.images[rows], self.votes[rows], self.clear[rows])

    def digests(self) -> list[bytes]:
        """One digest per picture, equal exactly if the pictures are equal to the bit."""
        return [hashlib.blake2b(image.tobytes(), digest_size=16).digest() for image in self.images]


@dataclass(frozen=True)
class DataSet:
    """Splits of one data set, with the same classes.

    ``protocol``: how labels follow from the annotations. ``notes``: what the loader left out, a line each.
    """

    name: str
    protocol: str
    classes: tuple[str, ...]
    splits: Mapping[Split, Faces]
    notes: tuple[str, ...] = ()

    def __getitem__(self, split: Split) -> Faces:
        if split not in self.splits:
            raise DataError(f"{self.name} has no split {split!r}; it has {', '.join(self.splits)}")
        return self.splits[split]

    def restrict(self, classes: Sequence[str]) -> DataSet:
        """Keep only faces whose winner is one of ``classes``, and only the votes for these.

        Raises DataError if the data set lacks one of the classes.
        """
        missing = [name for name in classes if canonical(name) not in self.classes]
        if missing:
            raise DataError(f"{self.name} has no faces of {', '.join(missing)}; it has {', '.join(self.classes)}")
        kept = subset(self.classes, classes)
        if len(kept) == len(self.classes):
            return self
        splits = {split: _restrict(faces, kept) for split, faces in self.splits.items()}
        return replace(self, classes=tuple(self.classes[column] for column in kept), splits=splits)

    def require_every_class(self) -> None:
        """Raises DataError for a class without training faces, which could not be learned."""
        count = np.bincount(self["train"].labels, minlength=len(self.classes))
        empty = [name for name, faces in zip(self.classes, count, strict=True) if not faces]
        if empty:
            raise DataError(
                f"{self.name} has no training face of {', '.join(empty)}; leave it out with --set classes=..."
            )

    def fingerprint(self, splits: Iterable[Split] | None = None) -> str:
        """SHA-256 of pictures and votes of the given splits, or of all; equal for equal data."""
        digest = hashlib.sha256(",".join(self.classes).encode())
        for split in sorted(self.splits if splits is None else splits):
            faces = self.splits[split]
            for part in (faces.images, faces.votes, faces.clear):
                digest.update(f"{split}{part.shape}{part.dtype}".encode())
                digest.update(np.ascontiguousarray(part).data)
        return digest.hexdigest()


def _restrict(faces: Faces, columns: tuple[int, ...]) -> Faces:
    chosen = faces.take(np.flatnonzero(np.isin(faces.labels, columns)))
    votes = chosen.votes[:, columns]
    return replace(chosen, votes=votes / votes.sum(axis=1, keepdims=True))


def every_class(faces: Faces) -> npt.NDArray[np.int64]:
    """All rows, ordered so that the first ones cover every class: the first face of each class, then the second, ..."""
    labels = faces.labels
    turn = np.zeros(len(labels), np.int64)
    for label in np.unique(labels):
        rows = np.flatnonzero(labels == label)
        turn[rows] = np.arange(len(rows))
    return np.lexsort((labels, turn))
