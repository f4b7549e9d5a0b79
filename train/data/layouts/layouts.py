"""Recognition of the layout of a data set, and loading of any layout."""

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

MAPPED = "folders", "csv"
"""Layouts that take a label map."""

FER2013_ROW = 8000
"""Bytes of text per face of fer2013.csv, estimated low: it has 8391."""


@dataclass(frozen=True)
class Layout:
    """A layout: test for it (``found(path)`` is truthy), its description for messages, and its loader."""

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
    label_map: Mapping[str, str] = MappingProxyType({}),
    group_by: str | None = None,
) -> DataSet:
    """Load a data set in any layout of LAYOUTS, as ``size`` x ``size``, grey or BGR (FER2013: grey, 48 at most).

    Pictures are cropped to their centre square and resized as for the models (area average down, linear up).
    ``label_votes`` is for FER+ only (see ``load_fer_plus``). Missing splits are made by
    ``train.data.layouts.splits.complete_splits``, the same on every machine. With a ``finder`` the pictures are no face
    crops: the detected face is cropped, and the data set's name states that. ``label_map`` (label in lower case ->
    emotion) is for folders and CSV files whose labels are no names of emotions. ``group_by``: missing splits are
    made by ``train.data.layouts.grouping.grouped_splits`` instead.

    Raises DataError for a data set that is missing, malformed, of unknown layout or too large for the free memory, and
    for unreadable pictures (or pictures without a face), unless ``skip_bad``: then the notes count them. With a
    ``finder`` also for data that are face crops already (FER2013, pixels in a CSV file).
    """
    options = Options(size, colour, label_votes, skip_bad, finder, label_map, group_by)
    _require(path)
    name = detect_layout(path) if layout == "auto" else layout
    if name not in LAYOUTS:
        raise DataError(f"no layout {name!r}; there are: auto, {', '.join(LAYOUTS)}")
    if label_map and name not in MAPPED:
        raise DataError(f"--label-map is for {' and '.join(MAPPED)}, the labels of {name} are known")
    data = LAYOUTS[name].load(path, options)
    return data if finder is None else replace(data, name=f"{data.name}, faces found by {finder.name}")


def detect_layout(path: Path) -> str:
    """The name of the first layout in LAYOUTS that fits. Raises DataError with all layouts if none does."""
    _require(path)
    for name, layout in LAYOUTS.items():
        if layout.found(path):
            return name
    wanted = "; ".join(f"{name}: {layout.looks_like}" for name, layout in LAYOUTS.items())
    raise DataError(f"{path} has no known layout. Looked for {wanted}")


def _require(path: Path) -> None:
    if not path.exists():
        raise DataError(f"{path} does not exist: give the folder or CSV file of a data set")


def _is_fer_plus(path: Path) -> bool:
    return find_pixels(path) is not None and (path / "fer2013new.csv").is_file()


def _is_fer2013(path: Path) -> bool:
    """Whether it is a folder with FER2013, or a file with FER2013's columns and numeric labels."""
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
    file = find_pixels(path) if path.is_dir() else path
    if file is not None and ".csv" in file.suffixes and "Usage" not in read_table(file, nrows=0).columns:
        return load_csv(file, options)  # Kaggle's train.csv
    _require_fer(file, options)
    return _fit(load_fer2013(path, skip_bad=options.skip_bad), options)


def _require_fer(file: Path | None, options: Options) -> None:
    if file is not None:  # otherwise the loader reports what is missing
        options.refuse_finder(file)
        options.refuse_groups(file)
        # The faces are held as published, whatever size and colour were asked for.
        require_room(file, replace(options, size=SIZE, colour="gray"), row=FER2013_ROW)


def _fit(data: DataSet, options: Options) -> DataSet:
    """Shrink FER2013's 48 x 48 grey faces if a smaller size was asked for, but never enlarge or colour them.

    The models' preprocessing enlarges and colours them; to hold the result would triple the memory.
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
    "rafdb": Layout(
        find_rafdb, "basic/EmoLabel/list_patition_label.txt (DATASET/train/1 to 7 only with --layout rafdb)", load_rafdb
    ),
    "affectnet": Layout(find_affectnet, "training.csv or train_set/annotations", load_affectnet),
    "folders": Layout(
        has_class_folders, "folders named like emotions or numbered, also inside train, val or test", load_folders
    ),
    "csv": Layout(find_csv, "one CSV file with columns for label and path, or label and pixels", load_csv),
}
"""Name -> layout, in the order of the tests."""
