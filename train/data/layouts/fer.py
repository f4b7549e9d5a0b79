"""FER2013 and FER+, from their published CSV files.

FER+ by the majority protocol of Barsoum et al. 2016, as in its reference reader: single votes (1 of 10) are dropped;
rows won by 'unknown' or 'NF' (no face) are dropped; in measurements a row counts only if its winner has more than half
of the remaining votes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt

from edge_emotion.labels import EMOTIONS
from train.data.faces import DataError, DataSet, Faces, Split
from train.data.layouts.images import report_bad
from train.data.layouts.label_maps import FER2013
from train.data.layouts.tables import faces_from_rows, read_table

SIZE = 48
"""FER2013 faces are 48 x 48 grey."""

USAGE: dict[Split, str] = {"train": "Training", "validation": "PublicTest", "test": "PrivateTest"}
VOTES = (*EMOTIONS, "unknown", "NF")
"""Vote columns of fer2013new.csv, in its order."""

FER2013_CLASSES = tuple(name for name in EMOTIONS if name in FER2013)

FURTHER_VOTES = " with FER2013's label as further votes"
"""Addition to the name of FER+ when FER2013's labels count as votes."""

FILES = "fer2013.csv", "fer2013.csv.gz", "icml_face_data.csv"
"""File names of the FER2013 table; Kaggle distributes it under the last one."""


def find_pixels(folder: Path) -> Path | None:
    """The FER2013 table in a folder, None if there is none."""
    return next((folder / name for name in FILES if (folder / name).is_file()), None)


def load_fer_plus(
    folder: Path, *, label_votes: Mapping[str, float] = MappingProxyType({}), skip_bad: bool = False
) -> DataSet:
    """Load FER+ from a folder with ``fer2013.csv`` (or .csv.gz) and ``fer2013new.csv``.

    ``label_votes``: emotion -> further votes that FER2013's own label adds, in the training split only. Rows with
    unreadable pixels are left out with ``skip_bad`` and counted in the notes. Raises DataError for a missing file or
    column, a malformed row, or two files that do not belong together.
    """
    pixels_file, votes_file = find_pixels(folder), folder / "fer2013new.csv"
    if pixels_file is None or not votes_file.is_file():
        raise DataError(f"{folder} must hold fer2013.csv (or fer2013.csv.gz) and fer2013new.csv (FER+)")
    pixels = read_table(pixels_file, "pixels", "Usage", *(["emotion"] if label_votes else []))
    votes = read_table(votes_file, "Usage", "Image name", *VOTES)
    if list(pixels["Usage"]) != list(votes["Usage"]):
        raise DataError(f"{pixels_file} and {votes_file} do not list the same rows in the same order")
    named = votes["Image name"].notna().to_numpy()
    counts = _counts(votes_file, votes)
    counts[counts <= 1] = 0
    total, winner = counts.sum(axis=1), counts.argmax(axis=1)
    kept = named & (total > 0) & (winner < len(EMOTIONS))
    clear = counts.max(axis=1) > total / 2
    usage = _usage(pixels_file, pixels)
    splits: dict[Split, Faces] = {}
    bad: list[str] = []
    for split, name in USAGE.items():
        images, rows = _images(pixels_file, pixels, np.flatnonzero(kept & (usage == name)), bad)
        emotions = counts[rows, : len(EMOTIONS)]
        if label_votes and split == "train":
            _add_votes(emotions, _labels(pixels_file, pixels)[rows], label_votes)
        share = emotions / emotions.sum(axis=1, keepdims=True)
        splits[split] = Faces(images, share.astype(np.float32), clear[rows])
    further = ", ".join(f"{name} {votes:g}" for name, votes in label_votes.items())
    name = f"FER+{FURTHER_VOTES} ({further})" if further else "FER+"
    return _complete(DataSet(name, "majority", EMOTIONS, splits), votes_file, bad, skip_bad=skip_bad)


def _add_votes(votes: npt.NDArray[np.float32], labels: npt.NDArray[np.int64], further: Mapping[str, float]) -> None:
    """Add votes in place for FER2013's labels. votes: N x 8; labels: N numbers of FER2013."""
    for name, count in further.items():
        votes[labels == FER2013.index(name), EMOTIONS.index(name)] += count


def load_fer2013(path: Path, *, skip_bad: bool = False) -> DataSet:
    """Load FER2013 with its own seven classes, from its CSV file or a folder with it.

    Rows with unreadable pixels are left out with ``skip_bad`` and counted in the notes. Raises DataError for a missing
    file or column, an unknown label or a malformed row.
    """
    file = find_pixels(path) if path.is_dir() else path
    if file is None or not file.is_file():
        raise DataError(f"{path} must be or hold fer2013.csv (or fer2013.csv.gz)")
    table = read_table(file, "emotion", "pixels", "Usage")
    columns = np.array([FER2013_CLASSES.index(name) for name in FER2013])
    one_hot = np.eye(len(FER2013), dtype=np.float32)[columns[_labels(file, table)]]
    usage = _usage(file, table)
    splits: dict[Split, Faces] = {}
    bad: list[str] = []
    for split, name in USAGE.items():
        images, rows = _images(file, table, np.flatnonzero(usage == name), bad)
        splits[split] = Faces(images, one_hot[rows], np.ones(len(rows), np.bool_))
    data = DataSet("FER2013", "published labels", FER2013_CLASSES, splits)
    return _complete(data, file, bad, skip_bad=skip_bad)


def _usage(path: Path, table: Any) -> npt.NDArray[np.str_]:
    """FER2013's name of each row's split."""
    usage = table["Usage"].astype(str).str.strip().to_numpy(str)
    wrong = np.flatnonzero(~np.isin(usage, list(USAGE.values())))
    if len(wrong):
        row = int(wrong[0])
        raise DataError(
            f"{path}, row {row + 2}: unknown Usage {str(usage[row])!r}; known are {', '.join(USAGE.values())}"
        )
    return np.asarray(usage)


def _counts(path: Path, table: Any) -> npt.NDArray[np.float32]:
    """Votes N x 10, in the order of VOTES."""
    counts = np.stack([_numbers(table[name]) for name in VOTES], axis=1)
    wrong = np.argwhere(~(np.isfinite(counts) & (counts >= 0)))
    if len(wrong):
        row, column = map(int, wrong[0])
        found = table[VOTES[column]].iloc[row]
        raise DataError(f"{path}, row {row + 2}: {str(found)!r} is no number of votes for {VOTES[column]}")
    return counts.astype(np.float32)


def _labels(path: Path, table: Any) -> npt.NDArray[np.int64]:
    labels = _numbers(table["emotion"])
    wrong = np.flatnonzero(~np.isin(labels, np.arange(len(FER2013))))
    if len(wrong):
        row = int(wrong[0])
        found = table["emotion"].iloc[row]
        raise DataError(
            f"{path}, row {row + 2}: unknown label {found}, expected 0 to {len(FER2013) - 1}; other numbers: "
            "--layout csv --label-map NUMBER=EMOTION,NUMBER=EMOTION,..."
        )
    return labels.astype(np.int64)


def _numbers(column: Any) -> npt.NDArray[np.float64]:
    """A column of a pandas table as numbers; NaN for any other content."""
    import pandas as pd

    return np.asarray(pd.to_numeric(column, errors="coerce").to_numpy(np.float64))


def _images(
    path: Path, table: Any, rows: npt.NDArray[np.int64], bad: list[str]
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    """The readable faces of these rows, and their rows; the faults of the others are added to ``bad``."""
    images = np.empty((len(rows), SIZE, SIZE), np.uint8)
    read = faces_from_rows(path, table["pixels"].to_numpy(), rows, images, bad, side=SIZE)
    return (images, rows) if read.all() else (images[read], rows[read])


def _complete(data: DataSet, path: Path, bad: list[str], *, skip_bad: bool) -> DataSet:
    """Add a note about skipped rows. Raises DataError if rows may not be skipped, or a split is empty."""
    count = len(bad) + sum(len(faces) for faces in data.splits.values())
    notes = (report_bad(data.name, bad, count, skip=skip_bad),) if bad else ()
    for split, faces in data.splits.items():
        if not len(faces):
            raise DataError(f"{path} has no usable row in the split {USAGE[split]}")
    return replace(data, notes=notes)
