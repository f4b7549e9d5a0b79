"""Which layout a data set has, and loading any of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from train.data.faces import DataError, DataSet, Faces
from train.data.layouts.fer import SIZE, find_pixels, load_fer2013, load_fer_plus
from train.data.layouts.finder import FaceFinder
from train.data.layouts.folders import has_class_folders, load_folders
from train.data.layouts.images import Colour, Options
from train.data.layouts.published import find_affectnet, find_rafdb, load_affectnet, load_rafdb
from train.data.layouts.tables import find_csv, load_csv, read_table, require_room

FER2013_ROW = 8000
"""Bytes of text per face of fer2013.csv, rather too few: it has 8391."""


@dataclass(frozen=True)
class Layout:
    """How to recognise a data set (``found(path)`` is truthy), what it looks like, and how to load it."""

    found: Callable[[Path], Any]
    looks_like: str
    load: Callable[[Path, Options], DataSet]


def load(
    path: Path,
    *,
    layout: str = "auto",
    size: int = SIZE,
    colour: Colour = "gray",
    label_votes: Mapping[str, float] = MappingProxyType({}),
    skip_bad: bool = False,
    finder: FaceFinder | None = None,
) -> DataSet:
    """A data set in any layout of LAYOUTS, pictures as ``size`` x ``size`` grey or BGR (FER2013: at most 48, grey).

    Pictures that are not square lose what is beside their middle square; they are then resized as for the models
    (area average down, linear up). ``label_votes`` counts for FER+ only (``load_fer_plus``). Where a data set has no
    validation or no splits at all, ``train.data.layouts.splits.complete_splits`` makes them, the same on every machine.
    With a ``finder`` pictures are no faces yet: the face that it finds in each is cut out, and the name of the data
    set says so.
    Raises DataError for a data set that is missing, malformed, of no known layout or too large for the free memory,
    and for pictures that cannot be read (or show no face), unless ``skip_bad``: then the notes of the data set count
    them. With a ``finder`` also for data that is nothing but faces (FER2013, pixels in a CSV file).
    """
    options = Options(size, colour, label_votes, skip_bad, finder)
    name = detect_layout(path) if layout == "auto" else layout
    if name not in LAYOUTS:
        raise DataError(f"no layout {name!r}; there are: auto, {', '.join(LAYOUTS)}")
    _require(path)
    data = LAYOUTS[name].load(path, options)
    return data if finder is None else replace(data, name=f"{data.name}, faces found by {finder.name}")


def detect_layout(path: Path) -> str:
    """The name of the first layout in LAYOUTS that fits. Raises DataError saying what was looked for."""
    _require(path)
    for name, layout in LAYOUTS.items():
        if layout.found(path):
            return name
    wanted = "; ".join(f"{name}: {layout.looks_like}" for name, layout in LAYOUTS.items())
    raise DataError(f"{path} has no layout that is known. Looked for {wanted}")


def _require(path: Path) -> None:
    if not path.exists():
        raise DataError(f"{path} does not exist: give the folder or CSV file of a data set")


def _is_fer_plus(path: Path) -> bool:
    return find_pixels(path) is not None and (path / "fer2013new.csv").is_file()


def _is_fer2013(path: Path) -> bool:
    """A folder with FER2013, or a file with its columns and numbers for labels."""
    if path.is_dir():
        return find_pixels(path) is not None
    if ".csv" not in path.suffixes:
        return False
    rows = read_table(path, nrows=1, dtype=str)
    return {"emotion", "pixels", "Usage"} <= set(rows.columns) and all(
        str(each).isdecimal() for each in rows["emotion"]
    )


def _fer_plus(path: Path, options: Options) -> DataSet:
    _require_fer(find_pixels(path), options)
    return _fit(load_fer_plus(path, label_votes=options.label_votes, skip_bad=options.skip_bad), options)


def _fer2013(path: Path, options: Options) -> DataSet:
    _require_fer(find_pixels(path) if path.is_dir() else path, options)
    return _fit(load_fer2013(path, skip_bad=options.skip_bad), options)


def _require_fer(file: Path | None, options: Options) -> None:
    if file is not None:  # else the loader says what is missing
        options.refuse_finder(file)
        # Whatever is asked for, it is the faces as published that are held.
        require_room(file, replace(options, size=SIZE, colour="gray"), row=FER2013_ROW)


def _fit(data: DataSet, options: Options) -> DataSet:
    """FER2013's 48 x 48 grey faces, smaller where that is asked for, but neither larger nor coloured.

    The preprocessing of the models does that, and memory need not hold the same thing thrice.
    """
    if options.size >= SIZE:
        return data
    grey = replace(options, colour="gray")
    return replace(data, splits={split: _fit_faces(faces, grey) for split, faces in data.splits.items()})


def _fit_faces(faces: Faces, options: Options) -> Faces:
    images = options.empty(len(faces))
    for row, image in enumerate(faces.images):
        images[row] = options.fit(image)
    return replace(faces, images=images)


LAYOUTS: dict[str, Layout] = {
    "fer_plus": Layout(_is_fer_plus, "fer2013.csv(.gz) and fer2013new.csv", _fer_plus),
    "fer2013": Layout(
        _is_fer2013, "fer2013.csv(.gz), icml_face_data.csv, or a CSV file with emotion, pixels and Usage", _fer2013
    ),
    "rafdb": Layout(find_rafdb, "basic/EmoLabel/list_patition_label.txt or DATASET/train/1 to 7", load_rafdb),
    "affectnet": Layout(find_affectnet, "training.csv or train_set/annotations", load_affectnet),
    "folders": Layout(has_class_folders, "folders named like emotions, also inside train, val or test", load_folders),
    "csv": Layout(find_csv, "one CSV file with columns for label and path, or label and pixels", load_csv),
}
"""Name -> layout, in the order in which they are tried."""
