"""Making a data set from a list of labelled picture files: splits, decoding, report of unreadable pictures."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from types import MappingProxyType
from typing import Literal

import numpy as np
import numpy.typing as npt

from edge_emotion.datatypes import Box
from edge_emotion.errors import ConfigError, SourceError
from edge_emotion.labels import ALIASES, EMOTIONS, canonical
from edge_emotion.models.manifest import InputSpec
from edge_emotion.models.preprocess import to_input
from edge_emotion.system.image_files import read_picture
from edge_emotion.system.paths import printable
from train.data.faces import SPLITS, DataError, DataSet, Faces, Split
from train.data.layouts.finder import FaceFinder
from train.data.layouts.grouping import grouped_splits
from train.data.layouts.label_maps import KNOWN_MAPS
from train.data.layouts.memory_limit import require_memory
from train.data.layouts.splits import complete_splits

Pixels = npt.NDArray[np.uint8]
Colour = Literal["gray", "bgr"]

CHUNK = 256
"""Pictures that are decoded between two updates of the progress."""

NAMED, LISTED = 3, 100
"""Unreadable pictures that a message names, and those that are listed on stderr; the others are counted."""


@dataclass(frozen=True)
class Options:
    """Options of loading: pictures become ``size`` pixels square, grey or BGR; unreadable ones are skipped or an error.

    With a ``finder`` only the detected face is used, and a picture without a detected face counts as unreadable.
    ``label_map``: label in lower case -> emotion, for labels that are no names of emotions.
    ``group_by``: rule of train.data.layouts.grouping for pictures that must lie in the same split.
    """

    size: int = 48
    colour: Colour = "gray"
    label_votes: Mapping[str, float] = field(default_factory=dict)
    skip_bad: bool = False
    finder: FaceFinder | None = None
    label_map: Mapping[str, str] = field(default_factory=dict)
    group_by: str | None = None
    spec: InputSpec = field(init=False, repr=False)

    def __post_init__(self) -> None:
        try:
            spec = InputSpec(
                height=self.size, width=self.size, channels=1 if self.colour == "gray" else 3, colour=self.colour,
                scale=1.0, offset=0.0,
            )  # fmt: skip
        except ValueError as error:
            raise DataError(f"faces of {self.size} pixels in {self.colour!r}: give 16 to 1024, gray or bgr") from error
        object.__setattr__(self, "spec", spec)

    def fit(self, image: Pixels) -> Pixels:
        """The centre square of a grey or BGR picture in this size and colour: S x S or S x S x 3."""
        side = min(image.shape[:2])
        top, left = (image.shape[0] - side) // 2, (image.shape[1] - side) // 2
        square = to_input(image[top : top + side, left : left + side], self.spec)
        return square[..., 0] if self.colour == "gray" else square

    def refuse_finder(self, where: Path | str) -> None:
        """Raises DataError if there is a ``finder``, for data sets whose pictures are face crops already."""
        if self.finder is not None:
            raise DataError(f"{where}: its faces are cut out already; leave out --detect")

    def refuse_groups(self, where: Path | str) -> None:
        """Raises DataError if there is ``group_by``, for data sets whose pictures have no paths."""
        if self.group_by is not None:
            raise DataError(f"{where}: its pictures are not files, so they have no groups; leave out --group-by")

    def empty(self, count: int) -> Pixels:
        """An uninitialised array for ``count`` pictures."""
        return np.empty((count, *self.spec.shape[: 2 if self.colour == "gray" else 3]), np.uint8)


@dataclass(frozen=True)
class Picture:
    """A picture file with its canonical label; ``box`` (left, top, width, height): the face, if only a part of it."""

    path: Path
    label: str
    split: Split | None = None
    box: tuple[int, int, int, int] | None = None


def emotion_of(name: str, where: Path | str, names: Mapping[str, str] = MappingProxyType({})) -> str:
    """The canonical name of a label, by a label map or by itself.

    Raises DataError with ``where`` and the known labels for an unknown one; data sets number emotions differently, so
    a number without a map is one.
    """
    mapped = names.get(name.strip().lower())
    if mapped is not None:
        return mapped
    if name.strip().isdecimal() and not names:
        raise DataError(
            f"{where}: the label {name!r} is a number, and data sets number emotions differently: give --label-map "
            f"NUMBER=EMOTION,NUMBER=EMOTION,..., or --label-map with one of {', '.join(KNOWN_MAPS)}"
        )
    try:
        return canonical(name)
    except ConfigError as error:
        known = ", ".join((*names, *EMOTIONS, *ALIASES))
        raise DataError(
            f"{where}: unknown label {name!r}; known are {known}; --label-map {name}=EMOTION,... adds others"
        ) from error


def left_out(others: Sequence[Path], root: Path) -> tuple[str, ...]:
    """A note with the number and the first ones of files that are no pictures; none if there are none."""
    if not others:
        return ()
    names = ", ".join(printable(os.path.relpath(each, root)) for each in others[:NAMED])
    files = "1 file that is no picture" if len(others) == 1 else f"{len(others)} files that are no pictures"
    return (f"left out {files}: {names}" + (", ..." if len(others) > NAMED else ""),)


def with_splits(pictures: Sequence[Picture], root: Path, group_by: str | None) -> list[Picture]:
    """The pictures with every missing split filled in, by their paths relative to ``root``, and by groups if asked for.

    The number of groups is reported on stderr.
    """
    keys = [Path(os.path.relpath(picture.path, root)).as_posix() for picture in pictures]
    given = [picture.split for picture in pictures]
    if group_by is None:
        splits = complete_splits(given, keys)
    else:
        splits, note = grouped_splits(given, keys, [picture.label for picture in pictures], group_by)
        print(note, file=sys.stderr)
    return [replace(picture, split=split) for picture, split in zip(pictures, splits, strict=True)]


def gather(
    name: str, protocol: str, pictures: Sequence[Picture], options: Options, *, notes: tuple[str, ...] = ()
) -> DataSet:
    """Decode pictures with known splits in a few threads (OpenCV releases the GIL) and make a data set of them.

    Raises DataError if there are no pictures, if they would not fit into memory, or if some cannot be read; with
    ``options.skip_bad`` the latter are left out and counted in the notes. Each is listed on stderr with the reason.
    """
    if not pictures:
        raise DataError(f"{name} holds no picture")
    classes = classes_of(picture.label for picture in pictures)
    require_memory(len(pictures), options.spec.shape)
    splits: dict[Split, Faces] = {}
    bad: list[str] = []
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        for split in SPLITS:
            chosen = [picture for picture in pictures if picture.split == split]
            images, read = _decode(chosen, options, pool, bad)
            if read.any():
                faces = labelled(images, [picture.label for picture in chosen], classes)
                splits[split] = faces if read.all() else faces.take(np.flatnonzero(read))
    if bad:
        notes = (*notes, report_bad(name, sorted(bad), len(pictures), skip=options.skip_bad))
    require_classes(name, classes, splits)
    return DataSet(name, protocol, classes, splits, notes)


def classes_of(labels: Iterable[str]) -> tuple[str, ...]:
    """The emotions that occur, in canonical order."""
    found = set(labels)
    return tuple(emotion for emotion in EMOTIONS if emotion in found)


def labelled(images: Pixels, labels: Sequence[str], classes: tuple[str, ...]) -> Faces:
    """Faces with a single label each."""
    columns = np.array([classes.index(name) for name in labels], np.int64)
    return Faces(images, np.eye(len(classes), dtype=np.float32)[columns], np.ones(len(images), np.bool_))


def _decode(
    pictures: Sequence[Picture], options: Options, pool: ThreadPoolExecutor, bad: list[str]
) -> tuple[Pixels, npt.NDArray[np.bool_]]:
    """All pictures, and whether each could be read; the faults of the others are added to ``bad``."""
    images, read = options.empty(len(pictures)), np.zeros(len(pictures), np.bool_)

    def decode(row: int) -> str | None:
        try:
            images[row] = options.fit(_face(pictures[row], options))
        except SourceError as error:
            return str(error)
        read[row] = True
        return None

    rows = iter(range(len(pictures)))
    while chunk := list(islice(rows, CHUNK)):
        bad.extend(printable(reason) for reason in pool.map(decode, chunk) if reason)
        _show(chunk[-1] + 1, len(pictures))
    return images, read


def _face(picture: Picture, options: Options) -> Pixels:
    image = read_picture(picture.path)
    if options.finder is not None:
        box = None if picture.box is None else Box(*picture.box)
        found = options.finder.cut(image, box, options.size)
        if found is None:
            raise SourceError(f"{picture.path}: no face found" + (f" at {picture.box}" if box else ""))
        return found
    if picture.box is None:
        return image
    left, top, width, height = picture.box
    part = image[max(top, 0) : max(top + height, 0), max(left, 0) : max(left + width, 0)]
    if not part.size:
        raise SourceError(f"{picture.path}: its face box {picture.box} lies outside of the picture")
    return part


def _show(done: int, total: int) -> None:
    if sys.stderr.isatty() and total > CHUNK:
        print(f"\rread {done} of {total} pictures", end="\n" if done == total else "", file=sys.stderr)


def report_bad(name: str, bad: Sequence[str], count: int, *, skip: bool) -> str:
    """List the faults of LISTED pictures on stderr; returns a note with their number and the first ones.

    Raises DataError with the same content unless ``skip``.
    """
    for reason in bad[:LISTED]:
        print(reason, file=sys.stderr)
    if len(bad) > LISTED:
        print(f"and {len(bad) - LISTED} more", file=sys.stderr)
    first = "; ".join(bad[:NAMED]) + (" ..." if len(bad) > NAMED else "")
    if not skip:
        raise DataError(
            f"{name}: {len(bad)} of {count} pictures cannot be read ({first}); mend or skip them (--skip-bad)"
        )
    return f"skipped {len(bad)} of {count} pictures that cannot be read: {first}"


def require_classes(name: str, classes: tuple[str, ...], splits: Mapping[Split, Faces]) -> None:
    """Raises DataError for a class without a readable picture."""
    seen = {column for faces in splits.values() for column in np.unique(faces.labels).tolist()}
    empty = [emotion for column, emotion in enumerate(classes) if column not in seen]
    if empty:
        raise DataError(f"{name}: no readable picture of {', '.join(empty)} is left")
