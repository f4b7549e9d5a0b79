"""Class-named folders of pictures, with or without split folders around them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from edge_emotion.labels import ALIASES, EMOTIONS
from train.data.faces import DataError, DataSet, Split
from train.data.layouts.images import Options, Picture, emotion_of, gather, with_splits
from train.data.layouts.splits import SPLIT_NAMES
from train.data.layouts.tables import PUBLISHED

SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".pgm"}
"""File types of pictures; other files in a class folder (notes, thumbnail databases) are ignored."""

NameOf = Callable[[str, Path], str]
"""(name of a class folder, its path) -> emotion."""


def subfolders(path: Path) -> list[Path]:
    """The folders in ``path``, by name, without hidden ones."""
    if not path.is_dir():
        return []
    return sorted(each for each in path.iterdir() if each.is_dir() and not _hidden(each.name))


def files_in(path: Path) -> list[Path]:
    """The picture files in ``path`` at any depth, by name, without hidden files and folders."""
    pictures = (each for each in path.rglob("*") if each.suffix.lower() in SUFFIXES)
    return sorted(each for each in pictures if not each.name.startswith(".") and not _inside_hidden(each, path))


def _inside_hidden(file: Path, root: Path) -> bool:
    return any(map(_hidden, file.relative_to(root).parts[:-1]))


def _hidden(name: str) -> bool:
    """Whether a folder was not made for data: ``.ipynb_checkpoints``, ``__MACOSX``."""
    return name.startswith((".", "__"))


def split_folders(path: Path) -> dict[Split, Path]:
    """Split -> folder with a name of that split. Raises DataError if two folders mean the same split."""
    found: dict[Split, Path] = {}
    for folder in subfolders(path):
        split = SPLIT_NAMES.get(folder.name.lower())
        if split in found:
            raise DataError(f"{path}: {found[split].name} and {folder.name} both mean {split}; keep one")
        if split is not None:
            found[split] = folder
    return found


def has_class_folders(path: Path) -> bool:
    """Whether a folder, or a split folder in it, contains a folder with the name of an emotion."""
    places = [path, *(folder for folder in subfolders(path) if folder.name.lower() in SPLIT_NAMES)]
    return any(folder.name.strip().lower() in {*EMOTIONS, *ALIASES} for place in places for folder in subfolders(place))


def load_folders(path: Path, options: Options) -> DataSet:
    """Load pictures from folders that are named by emotions (or their aliases, in any case).

    Split folders around them (train, training; val, valid, validation, dev; test, testing) are used; missing splits are
    made as in ``train.data.layouts.splits.complete_splits``. Raises DataError for a folder whose name is no emotion, an
    empty class folder, or if there is no class folder.
    """
    return gather(path.name, PUBLISHED, with_splits(list_folders(path, emotion_of), path, options.group_by), options)


def list_folders(path: Path, name_of: NameOf) -> list[Picture]:
    """Every picture with its label and, where there are split folders, its split."""
    places: list[tuple[Split | None, Path]] = [*split_folders(path).items()] or [(None, path)]
    pictures = [picture for split, place in places for picture in _labelled(place, split, name_of)]
    if not pictures:
        raise DataError(f"{path} holds no class folders; expected one per emotion: {', '.join(EMOTIONS)}")
    return pictures


def _labelled(place: Path, split: Split | None, name_of: NameOf) -> Iterator[Picture]:
    for folder in subfolders(place):
        emotion = name_of(folder.name, folder)
        files = files_in(folder)
        if not files:
            raise DataError(f"{folder} holds no picture; fill it or remove it")
        yield from (Picture(file, emotion, split) for file in files)
