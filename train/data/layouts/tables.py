"""CSV files: reading tables, pictures written as text, and data sets listed in a CSV file."""

from __future__ import annotations

import gzip
import math
import zlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edge_emotion.system.paths import printable
from train.data.faces import SPLITS, DataError, DataSet, Split
from train.data.layouts.images import (
    Options,
    Picture,
    Pixels,
    classes_of,
    emotion_of,
    gather,
    labelled,
    report_bad,
    require_classes,
    with_splits,
)
from train.data.layouts.label_maps import KNOWN_MAPS
from train.data.layouts.memory_limit import require_memory
from train.data.layouts.splits import SPLIT_NAMES, complete_splits

PATH = "path", "file", "filename", "file_name", "filepath", "image", "image_path"
LABEL = "label", "emotion", "expression", "class"
SPLIT = "split", "usage", "set"
PIXELS = "pixels"
"""Accepted column names, in any case; the first one found is used."""

PUBLISHED = "published labels"
"""Protocol of a data set with one label per face."""


def read_table(path: Path, *columns: str, **options: Any) -> Any:
    """Read a CSV file as a pandas table with at least these columns; spaces around their names are removed.

    Raises DataError if it cannot be read or lacks a column.
    """
    import pandas as pd

    try:
        table = pd.read_csv(path, **options)
    except (OSError, ValueError, EOFError, zlib.error) as error:
        raise DataError(f"cannot read {path}: {' '.join(str(error).split())}") from error
    table.columns = [str(column).strip() for column in table.columns]
    missing = [column for column in columns if column not in table.columns]
    if missing:
        raise DataError(f"{path} lacks the columns {missing}")
    return table


def text_size(path: Path) -> int:
    """Bytes of a table's text, unpacked. A gzip file ends with its unpacked size, modulo 2**32 (RFC 1952).

    Raises DataError for a file that cannot be read or is too short.
    """
    try:
        if path.suffix != ".gz":
            return path.stat().st_size
        with path.open("rb") as file:
            file.seek(-4, 2)
            return int.from_bytes(file.read(4), "little")
    except OSError as error:
        raise DataError(f"cannot read {path}: it is empty, cut off or locked ({error.strerror})") from error


def require_room(path: Path, options: Options, *, row: int | None = None) -> None:
    """Raises DataError if a table, with one face per ``row`` bytes, would not fit into memory, or is damaged."""
    text = text_size(path)
    try:
        require_memory(0 if row is None else text // row, options.spec.shape, text=text)
    except DataError:
        if path.suffix == ".gz":
            _require_whole(path)  # the last bytes of a truncated file are no size
        raise


def _require_whole(path: Path) -> None:
    try:
        with gzip.open(path) as file:
            while file.read(1 << 20):
                pass
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"cannot read {path}: {error}") from error


def find_csv(path: Path) -> Path | None:
    """``path`` itself, or a folder's only CSV file with a column of labels and one of paths or pixels; else None."""
    files = [path] if path.is_file() else sorted(path.glob("*.csv"))
    known = [each for each in files if ".csv" in each.suffixes and _is_known(each)]
    return known[0] if len(known) == 1 else None


def _is_known(file: Path) -> bool:
    columns = read_table(file, nrows=0, dtype=str).columns
    return bool(_pick(columns, LABEL) and (_pick(columns, PATH) or _pick(columns, (PIXELS,))))


def load_csv(path: Path, options: Options) -> DataSet:
    """Load the faces that a CSV file, or the only CSV file of a folder, lists.

    Columns, in any case: ``path`` (or file, filename, image, ...; relative to the CSV file) or ``pixels`` (square,
    grey, numbers from 0 to 255 separated by spaces); ``label`` (or emotion, expression, class); and optionally
    ``split`` (or usage, set). Labels that are no names of emotions are looked up in the label map of the options.
    Without one, numbers in a column ``emotion`` beside ``pixels`` are FER2013's, as in its train.csv of Kaggle, and a
    note states that. Raises DataError with the number of a malformed row.
    """
    file = find_csv(path)
    if file is None:
        raise DataError(
            f"{path} must be or hold one CSV file with a column of labels ({', '.join(LABEL)}) "
            f"and one of files ({', '.join(PATH)}) or pixels"
        )
    require_room(file, options)
    table = read_table(file, dtype=str, keep_default_na=False)
    rows = range(2, len(table) + 2)
    names, column = table[_pick(table.columns, LABEL)], _pick(table.columns, PATH)
    label_map, notes = options.label_map, tuple[str, ...]()
    if not label_map and column is None and _is_fer2013(names):
        label_map = KNOWN_MAPS["fer2013"]
        meaning = ", ".join(f"{number} {emotion}" for number, emotion in label_map.items())
        named = f"{printable(file.name)}: its labels are taken for the numbers of FER2013"
        notes = (f"{named} ({meaning}); --label-map changes that",)
    labels = [emotion_of(name, f"{file}, row {row}", label_map) for row, name in zip(rows, names, strict=True)]
    splits = _splits(file, table)
    if column is None:
        data = _from_pixels(file, table[_pick(table.columns, (PIXELS,))], labels, splits, options)
        return replace(data, notes=(*notes, *data.notes))
    listed = zip(table[column], labels, splits, strict=True)
    pictures = [Picture(file.parent / name, emotion, split) for name, emotion, split in listed]
    return gather(printable(file.name), PUBLISHED, with_splits(pictures, file.parent, options.group_by), options)


def _is_fer2013(labels: Any) -> bool:
    """Whether a column of a pandas table is called ``emotion`` and holds numbers alone."""
    return str(labels.name).strip().lower() == "emotion" and all(map(str.isdecimal, labels.str.strip()))


def face_from_text(text: str, where: str, *, side: int | None = None) -> Pixels:
    """Parse grey pixels, written as numbers from 0 to 255, as a picture of side x side, or of any size if it is square.

    Raises DataError, beginning with ``where``, for anything else.
    """
    text = text.strip()
    if text.encode("ascii", "replace").translate(None, b"0123456789 "):  # NumPy would silently wrap -1 and stop at 1.5
        raise DataError(f"{where}: pixels must be whole numbers from 0 to 255 with spaces between them")
    values = np.fromstring(text, np.int64, sep=" ")
    length = math.isqrt(values.size) if side is None else side
    if not length or length * length != values.size:
        wanted = "are no square picture" if side is None else f"instead of {side * side}"
        raise DataError(f"{where}: {values.size} pixels {wanted}")
    if values.max() > 255:
        raise DataError(f"{where}: a pixel is {values.max()}, but they go from 0 to 255")
    return values.astype(np.uint8).reshape(length, length)


def faces_from_rows(
    file: Path,
    texts: Sequence[str],
    rows: npt.NDArray[np.int64],
    images: Pixels,
    bad: list[str],
    *,
    side: int | None = None,
    fit: Callable[[Pixels], Pixels] | None = None,
) -> npt.NDArray[np.bool_]:
    """Parse the faces in these rows of a table into ``images``; returns whether each could be read.

    texts: pixels of every row, as for ``face_from_text``. The faults of unreadable rows are added to ``bad``.
    """
    read = np.zeros(len(rows), np.bool_)
    for at, row in enumerate(rows.tolist()):
        try:
            face = face_from_text(str(texts[row]), f"{file}, row {row + 2}", side=side)
        except DataError as error:
            bad.append(str(error))
            continue
        images[at] = face if fit is None else fit(face)
        read[at] = True
    return read


def _from_pixels(
    file: Path, texts: Sequence[str], labels: list[str], splits: list[Split | None], options: Options
) -> DataSet:
    """Missing splits follow from the pixels themselves, so that equal pictures are in the same split."""
    if not labels:
        raise DataError(f"{file} holds no picture")
    options.refuse_finder(file)
    options.refuse_groups(file)
    require_memory(len(labels), options.spec.shape)
    images, bad = options.empty(len(labels)), list[str]()
    read = faces_from_rows(file, texts, np.arange(len(labels)), images, bad, fit=options.fit)
    notes = (report_bad(file.name, bad, len(labels), skip=options.skip_bad),) if bad else ()
    complete, classes = np.array(complete_splits(splits, texts)), classes_of(labels)
    faces = labelled(images, labels, classes)
    rows = {split: np.flatnonzero((complete == split) & read) for split in SPLITS}
    kept = {split: faces.take(chosen) for split, chosen in rows.items() if len(chosen)}
    require_classes(file.name, classes, kept)
    return DataSet(printable(file.name), PUBLISHED, classes, kept, notes)


def _splits(file: Path, table: Any) -> list[Split | None]:
    column = _pick(table.columns, SPLIT)
    if column is None:
        return [None] * len(table)
    names = [str(name).strip().lower() for name in table[column]]
    for row, name in enumerate(names, start=2):
        if name not in SPLIT_NAMES:
            raise DataError(f"{file}, row {row}: unknown split {name!r}; known are {', '.join(SPLIT_NAMES)}")
    return [SPLIT_NAMES[name] for name in names]


def _pick(columns: Sequence[str], wanted: Sequence[str]) -> str | None:
    """The column whose name comes first among the wanted ones; None if there is none."""
    names = {str(column).strip().lower(): str(column) for column in columns}
    return next((names[name] for name in wanted if name in names), None)
