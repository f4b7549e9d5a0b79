"""RAF-DB and AffectNet in the layouts of their authors, and in those in which others redistribute them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from train.data.faces import DataError, DataSet, Split
from train.data.layouts.folders import files_in, list_folders, split_folders, subfolders
from train.data.layouts.images import Options, Picture, gather, left_out, with_splits
from train.data.layouts.label_maps import AFFECTNET, RAFDB
from train.data.layouts.tables import PUBLISHED, read_table

RAFDB_LIST = "EmoLabel/list_patition_label.txt"
RAFDB_FACES = "Image/aligned"

NO_EMOTION = 8, 9, 10
AFFECTNET_PROTOCOL = "published labels; test is the published validation set, validation a tenth of training"
AFFECTNET_COLUMNS = (
    "subDirectory_filePath", "face_x", "face_y", "face_width", "face_height",
    "facial_landmarks", "expression", "valence", "arousal",
)  # fmt: skip
AFFECTNET_LISTS: dict[str, Split] = {"training.csv": "train", "validation.csv": "test"}
AFFECTNET_SETS: dict[str, Split] = {"train_set": "train", "val_set": "test"}


def find_rafdb(path: Path) -> Path | None:
    """The folder with RAF-DB's list and aligned faces; None if there is none."""
    return next((root for root in (path, path / "basic") if (root / RAFDB_LIST).is_file()), None)


def load_rafdb(path: Path, options: Options) -> DataSet:
    """Load the seven basic emotions of RAF-DB, aligned faces.

    As published (``basic/EmoLabel``, ``basic/Image/aligned``) or as ``DATASET/{train,test}/{1..7}``, which is never
    recognised: folders of other data sets have the same names. RAF-DB has train and test; validation is a tenth of
    train (``complete_splits``). Raises DataError for a malformed list, an unknown
    label or an empty class folder.
    """
    published = find_rafdb(path)
    root = published or next((each for each in (path, path / "DATASET") if _numbered(each)), None)
    if root is None:
        raise DataError(f"{path} holds neither basic/{RAFDB_LIST} nor DATASET/train/1 to 7 (RAF-DB)")
    others: list[Path] = []
    pictures = list(_rafdb_list(root)) if published else list_folders(root, _rafdb_label, others)
    pictures = with_splits(pictures, root, options.group_by)
    return gather("RAF-DB", PUBLISHED, pictures, options, notes=left_out(others, root))


def find_affectnet(path: Path) -> Path | None:
    """The folder with AffectNet's lists, or with its two sets; None if there is none."""
    for root in (path, path / "Manually_Annotated_file_lists"):
        if any((root / name).is_file() for name in AFFECTNET_LISTS):
            return root
    return path if any((path / name / "annotations").is_dir() for name in AFFECTNET_SETS) else None


def load_affectnet(path: Path, options: Options) -> DataSet:
    """Load the manually annotated part of AffectNet: eight emotions.

    Either ``training.csv`` and ``validation.csv`` with ``Manually_Annotated_Images`` (cropped to the face box in the
    list), or ``train_set`` and ``val_set`` with ``images`` and ``annotations/ID_exp.npy``. Its test set is not
    published and papers report the validation set, so that is ``test`` here; ``validation`` is a tenth of the training
    set, by hash of the path. Raises DataError for a malformed list or annotation, or an unknown label.
    """
    root = find_affectnet(path)
    if root is None:
        raise DataError(f"{path} holds neither training.csv nor train_set/annotations (AffectNet)")
    others: list[Path] = []
    if any((root / name).is_file() for name in AFFECTNET_LISTS):
        rows = list(_affectnet_lists(path, root))
    else:
        rows = list(_affectnet_sets(path, others))
    pictures = [picture for picture in rows if picture is not None]
    dropped = len(rows) - len(pictures)
    notes: tuple[str, ...] = (f"left out {dropped} pictures labelled none, uncertain or no face",) if dropped else ()
    notes += left_out(others, path)
    return gather("AffectNet", AFFECTNET_PROTOCOL, with_splits(pictures, path, options.group_by), options, notes=notes)


def _numbered(root: Path) -> bool:
    """Whether the split folders contain class folders named 1, 2, ..."""
    folders = [each for place in split_folders(root).values() for each in subfolders(place)]
    return bool(folders) and all(folder.name.isdecimal() for folder in folders)


def _rafdb_label(name: str, where: Path | str) -> str:
    if name not in RAFDB:
        known = ", ".join(f"{number} {emotion}" for number, emotion in RAFDB.items())
        raise DataError(f"{where}: unknown label {name!r}; RAF-DB has {known}")
    return RAFDB[name]


def _rafdb_list(root: Path) -> Iterator[Picture]:
    list_file, faces = root / RAFDB_LIST, root / RAFDB_FACES
    if not faces.is_dir():
        raise DataError(f"{faces} is missing: unpack RAF-DB's aligned faces there")
    splits: dict[str, Split] = {"train": "train", "test": "test"}
    for row, line in enumerate(_lines(list_file), start=1):
        parts = line.split()
        if not parts:
            continue
        split = splits.get(parts[0].partition("_")[0])
        if len(parts) != 2 or split is None:
            raise DataError(f"{list_file}, line {row}: expected a line like 'train_00001.jpg 5', found {line!r}")
        name = Path(parts[0])
        aligned = faces / f"{name.stem}_aligned{name.suffix}"
        yield Picture(aligned, _rafdb_label(parts[1], f"{list_file}, line {row}"), split)


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, ValueError) as error:
        raise DataError(f"cannot read {path}: {error}; it must be a text file in UTF-8") from error


def _affectnet_label(value: Any, where: str) -> str | None:
    """The emotion of a label; None for a label without emotion."""
    try:
        number = int(float(value))
    except (ValueError, TypeError, OverflowError):  # text, several values, infinity
        number = -1
    if number in NO_EMOTION:
        return None
    if not 0 <= number < len(AFFECTNET):
        raise DataError(f"{where}: unknown label {str(value)!r}; AffectNet has 0 to {NO_EMOTION[-1]}")
    return AFFECTNET[number]


def _affectnet_lists(path: Path, root: Path) -> Iterator[Picture | None]:
    """Every row of the lists as a picture; None for one without an emotion."""
    images = path / "Manually_Annotated_Images"
    if not images.is_dir():
        raise DataError(f"{images} is missing: unpack AffectNet's manually annotated images there")
    for name, split in AFFECTNET_LISTS.items():
        if not (root / name).is_file():
            continue
        table = _affectnet_table(root / name)
        boxes = table[list(AFFECTNET_COLUMNS[1:5])].to_numpy(str)
        for file, value, box in zip(table[AFFECTNET_COLUMNS[0]], table["expression"], boxes, strict=True):
            where = f"{root / name}, {file}"
            emotion = _affectnet_label(value, where)
            yield None if emotion is None else Picture(images / file, emotion, split, _box(box, where))


def _affectnet_table(path: Path) -> Any:
    """One list as a table; its first row may name the columns or not, since both variants are in circulation."""
    import csv

    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            first = next(csv.reader(file), [])
    except (OSError, ValueError, csv.Error) as error:
        raise DataError(f"cannot read {path}: {error}") from error
    if AFFECTNET_COLUMNS[0] not in first and len(first) == len(AFFECTNET_COLUMNS):
        return read_table(path, dtype=str, keep_default_na=False, names=list(AFFECTNET_COLUMNS))
    return read_table(path, *AFFECTNET_COLUMNS[:5], "expression", dtype=str, keep_default_na=False)


def _box(values: Any, where: str) -> tuple[int, int, int, int]:
    try:
        left, top, width, height = (int(float(value)) for value in values)
    except (ValueError, OverflowError) as error:
        raise DataError(f"{where}: {' '.join(values)!r} is no face box") from error
    return left, top, width, height


def _affectnet_sets(path: Path, others: list[Path]) -> Iterator[Picture | None]:
    """Every picture of the two sets, None for one without an emotion; other files are added to ``others``."""
    for name, split in AFFECTNET_SETS.items():
        for file in files_in(path / name / "images", others):
            annotation = path / name / "annotations" / f"{file.stem}_exp.npy"
            try:
                value = np.load(annotation, allow_pickle=False).item()
            except (OSError, ValueError, EOFError) as error:
                raise DataError(f"{annotation}, the label of {file.name}, cannot be read: {error}") from error
            emotion = _affectnet_label(value, str(annotation))
            yield None if emotion is None else Picture(file, emotion, split)
