"""Search for copies of pictures within a data set: equal to the bit, nearly equal, or mirrored."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

import cv2
import numpy as np
import numpy.typing as npt

from train.data.faces import DataError, DataSet, Faces, Split

Kind = Literal["exact", "near", "mirrored"]
Flags = npt.NDArray[np.bool_]
Rows = npt.NDArray[np.intp]

SIDE = 16
"""Pictures are compared as SIDE x SIDE grey averages: enough for a face, insensitive to JPEG artefacts and captions."""

NEAR = 0.94
"""Least correlation of near copies.

Checked by eye on FER+: of 176 pairs between 0.94 and 0.96 one showed two different photographs, of 144 above 0.96 none;
of 48 between 0.92 and 0.94 ten did, of 48 between 0.90 and 0.92 two thirds. After JPEG at quality 20, halving the
resolution, a gamma of 0.7 or a rotation by 3 degrees, 97 of 100 faces stay above it; after a shift by one pixel of 48
in both directions, half of them.
"""

MIRRORED = 0.96
"""Least correlation of a picture with the mirror image of its copy.

Higher than NEAR, because mirrored copies are rare: of the 39 pairs above it none was wrong, of the 44 above 0.94 nearly
half were.
"""

MOST_NEAR = 0.2
"""Share of the training faces; more near copies than that are a sign that different pictures look alike."""

TILE = 2048
"""Pictures are compared in tiles of TILE x TILE pairs, so that memory does not grow with the square of their number."""


@dataclass(frozen=True)
class Prints:
    """Compact descriptions of N faces, by which copies are recognised.

    keys: uint64 N, equal for equal pictures. patterns: float32 N x SIDE**2, mean 0 and length 1, so that a dot product
    is a correlation (all 0 for a picture of one colour, which matches no other). labels: int64 N, the winners.
    """

    keys: npt.NDArray[np.uint64]
    patterns: npt.NDArray[np.float32]
    labels: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.keys)

    @cached_property
    def mirrored(self) -> npt.NDArray[np.float32]:
        """The patterns of the mirrored pictures."""
        return np.ascontiguousarray(self.patterns.reshape(-1, SIDE, SIDE)[:, :, ::-1]).reshape(-1, SIDE * SIDE)


@dataclass(frozen=True)
class Copies:
    """Copies of one kind between two sets of faces, or within one if both are the same.

    ``first`` and ``second``: faces that have a copy in the other set; ``first_differs`` and ``second_differs``: faces
    that have a copy with another label.
    """

    pairs: int
    first: Flags
    second: Flags
    first_differs: Flags
    second_differs: Flags


def take_prints(faces: Faces) -> Prints:
    """Compute the prints of faces, grey or BGR, of any size."""
    small = np.empty((len(faces), SIDE, SIDE), np.float32)
    for row, image in enumerate(faces.images):
        grey = image if image.ndim == 2 else cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
        small[row] = cv2.resize(grey, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    patterns = small.reshape(-1, SIDE * SIDE)
    patterns -= patterns.mean(axis=1, keepdims=True)
    length = np.linalg.norm(patterns, axis=1, keepdims=True)
    patterns /= np.where(length > 1e-3, length, np.inf)
    keys = np.frombuffer(b"".join(digest[:8] for digest in faces.digests()), np.uint64)
    return Prints(keys, patterns, faces.labels)


def find_copies(first: Prints, second: Prints, *, near: bool = True) -> dict[Kind, Copies]:
    """Copies of every kind between two sets, or within one (``second is first``: no face is its own copy).

    Each pair counts only as the first kind that fits. The time grows with the product of the sizes: 36,000 faces among
    themselves take some 10 s on two cores, 290,000 about ten minutes; ``near=False`` searches for exact copies only.
    """
    found: dict[Kind, Copies] = {"exact": _exact(first, second)}
    if near:
        found["near"], found["mirrored"] = _none(first, second), _none(first, second)
        for rows, columns in _tiles(first, second):
            straight = first.patterns[rows] @ second.patterns[columns].T
            turned = first.patterns[rows] @ second.mirrored[columns].T
            alike = straight >= NEAR
            matches: dict[Kind, Flags] = {"near": alike, "mirrored": (turned >= MIRRORED) & ~alike}
            for kind, match in matches.items():
                i, j = np.nonzero(match)
                found[kind] = _add(found[kind], first, second, i + rows.start, j + columns.start)
    return found


def drop_copies(data: DataSet, *, near: bool) -> tuple[DataSet, str]:
    """Leave out the training faces with a copy in another split; returns the data set and a line with their number.

    Training on them would make the figures on the other splits too good. Exact copies are left out, with ``near`` also
    near and mirrored ones; the line is empty if there are none. Raises DataError if more than MOST_NEAR of the training
    faces are near or mirrored copies: in that case different pictures look alike.
    """
    found = _training_copies(data, near=near)
    dropped = {kind: int(rows.sum()) for kind, rows in found.items()}
    faces, total = data["train"], sum(dropped.values())
    alike = total - dropped["exact"]
    if alike > MOST_NEAR * len(faces):
        raise DataError(
            f"{data.name}: {alike} of {len(faces)} training faces look like a face of another split; frames of one "
            "recording must all be in one split: give --group-by session, folder or a pattern; only where all pictures "
            "are of different people (one studio), use --set copies=exact"
        )
    if not total:
        return data, ""
    kept = np.flatnonzero(~np.any([*found.values()], axis=0))
    counts = ", ".join(f"{count} {kind}" for kind, count in dropped.items())
    line = f"left out {total} of {len(faces)} training faces of which another split holds a copy: {counts}"
    return replace(data, splits={**data.splits, "train": faces.take(kept)}), line


def _training_copies(data: DataSet, *, near: bool) -> dict[Kind, Flags]:
    """Training faces with a copy in another split, each under the first kind that fits."""
    train = take_prints(data["train"])
    kinds: tuple[Kind, ...] = ("exact", "near", "mirrored") if near else ("exact",)
    found = {kind: np.zeros(len(train), np.bool_) for kind in kinds}
    for split, faces in data.splits.items():
        if split != "train":
            for kind, copies in find_copies(train, take_prints(faces), near=near).items():
                found[kind] |= copies.first
    seen = np.zeros(len(train), np.bool_)
    for rows in found.values():
        rows &= ~seen
        seen |= rows
    return found


def pairs_of_splits(data: DataSet) -> list[tuple[Split, Split]]:
    """Every split paired with itself and with each later one."""
    names = list(data.splits)
    return [(first, second) for at, first in enumerate(names) for second in names[at:]]


def _none(first: Prints, second: Prints) -> Copies:
    a, b = np.zeros((2, len(first)), np.bool_), np.zeros((2, len(second)), np.bool_)
    return Copies(0, a[0], b[0], a[1], b[1])


def _tiles(first: Prints, second: Prints) -> Iterator[tuple[slice, slice]]:
    for top in range(0, len(first), TILE):
        for left in range(top if second is first else 0, len(second), TILE):
            yield slice(top, top + TILE), slice(left, left + TILE)


def _add(copies: Copies, first: Prints, second: Prints, i: Rows, j: Rows) -> Copies:
    """``copies`` with the pairs (i, j) added, except for exact copies and pairs that are in it the other way round."""
    new = first.keys[i] != second.keys[j]
    if second is first:
        new &= i < j
    i, j = i[new], j[new]
    differ = first.labels[i] != second.labels[j]
    for here, there in ((i, j), (j, i)) if second is first else ((i, j),):
        copies.first[here] = copies.second[there] = True
        copies.first_differs[here[differ]] = copies.second_differs[there[differ]] = True
    return replace(copies, pairs=copies.pairs + len(i))


def _exact(first: Prints, second: Prints) -> Copies:
    """Counted per picture and label instead of per pair: a picture that occurs a thousand times costs no more time."""
    known, position = np.unique(np.concatenate([first.keys, second.keys]), return_inverse=True)
    here, there = position[: len(first)], position[len(first) :]
    itself = int(second is first)
    in_first, first_differs = _others(here, first, there, second, len(known), itself)
    in_second, second_differs = _others(there, second, here, first, len(known), itself)
    pairs = int(in_first.sum()) // (1 + itself)
    return Copies(pairs, in_first > 0, in_second > 0, first_differs, second_differs)


def _others(
    here: Rows, first: Prints, there: Rows, second: Prints, pictures: int, itself: int
) -> tuple[npt.NDArray[np.int64], Flags]:
    """For each face here: the number of equal pictures there, and whether one of them has another label."""
    classes = 1 + int(max(first.labels.max(initial=0), second.labels.max(initial=0)))
    count = np.bincount(there * classes + second.labels, minlength=pictures * classes).reshape(pictures, classes)
    total = count.sum(axis=1)[here]
    return total - itself, total > count[here, first.labels]
