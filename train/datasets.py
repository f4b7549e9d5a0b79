"""Labelled faces. FER2013 pixels with the FER+ votes, by the majority protocol of Barsoum et al. 2016.

The protocol, as in the reference reader of FER+: single votes (1 of 10) are dropped; a row whose winner is 'unknown'
or 'NF' (no face) is dropped; for measuring, a row counts only if its winner holds more than half of what remains.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from edge_emotion.errors import EdgeEmotionError
from edge_emotion.labels import EMOTIONS

Split = Literal["Training", "PublicTest", "PrivateTest"]
SIZE = 48
"""FER2013 faces are 48 x 48 grey."""

VOTES = (*EMOTIONS, "unknown", "NF")
"""Vote columns of fer2013new.csv, in its order."""


class DataError(EdgeEmotionError, ValueError):
    """A data set that is missing or malformed."""

    exit_code = 7


@dataclass(frozen=True)
class Faces:
    """Faces of one split.

    images: uint8 N x 48 x 48; votes: float32 N x 8, rows sum to 1; clear: bool N, True where the winner holds more
    than half (the rows that the majority protocol measures).
    """

    images: npt.NDArray[np.uint8]
    votes: npt.NDArray[np.float32]
    clear: npt.NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.images)

    @property
    def labels(self) -> npt.NDArray[np.int64]:
        """The winner of each row, as a position in EMOTIONS."""
        return np.asarray(self.votes.argmax(axis=1), np.int64)

    def majority(self) -> Faces:
        """Only the rows with a clear winner."""
        return self.take(np.flatnonzero(self.clear))

    def take(self, rows: npt.NDArray[np.int64]) -> Faces:
        """The given rows, in the given order."""
        return Faces(self.images[rows], self.votes[rows], self.clear[rows])


def load_fer_plus(folder: Path) -> dict[Split, Faces]:
    """FER+ from a folder with ``fer2013.csv`` (or .csv.gz) and ``fer2013new.csv``, by split.

    Raises DataError when a file is missing, a column is missing, or the two do not belong together.
    """
    import pandas as pd

    pixels_file = next((p for p in (folder / "fer2013.csv", folder / "fer2013.csv.gz") if p.is_file()), None)
    votes_file = folder / "fer2013new.csv"
    if pixels_file is None or not votes_file.is_file():
        raise DataError(f"{folder} must hold fer2013.csv (or fer2013.csv.gz) and fer2013new.csv (FER+)")
    pixels, votes = pd.read_csv(pixels_file), pd.read_csv(votes_file)
    for path, table, columns in ((pixels_file, pixels, ("pixels", "Usage")), (votes_file, votes, ("Usage", *VOTES))):
        missing = [column for column in columns if column not in table.columns]
        if missing:
            raise DataError(f"{path} lacks the columns {missing}")
    if list(pixels["Usage"]) != list(votes["Usage"]):
        raise DataError(f"{pixels_file} and {votes_file} do not list the same rows in the same order")
    named = votes["Image name"].notna().to_numpy()
    counts = votes[list(VOTES)].to_numpy(np.float32)
    counts[counts <= 1] = 0
    total, winner = counts.sum(axis=1), counts.argmax(axis=1)
    kept = named & (total > 0) & (winner < len(EMOTIONS))
    emotions = counts[:, : len(EMOTIONS)]
    clear = counts.max(axis=1) > total / 2
    usage, texts = pixels["Usage"].to_numpy(), pixels["pixels"].to_numpy()
    splits: dict[Split, Faces] = {}
    for split in ("Training", "PublicTest", "PrivateTest"):
        rows = np.flatnonzero(kept & (usage == split))
        if not len(rows):
            raise DataError(f"{votes_file} has no usable row in the split {split}")
        images = np.stack([_face(pixels_file, row, str(texts[row])) for row in rows.tolist()])
        share = emotions[rows] / emotions[rows].sum(axis=1, keepdims=True)
        splits[split] = Faces(images, share.astype(np.float32), clear[rows])
    return splits


def _face(path: Path, row: int, text: str) -> npt.NDArray[np.uint8]:
    values = np.fromstring(text, np.uint8, sep=" ")
    if values.size != SIZE * SIZE:
        raise DataError(f"{path}, row {row + 2}: {values.size} pixels instead of {SIZE * SIZE}")
    return values.reshape(SIZE, SIZE)
