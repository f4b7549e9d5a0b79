"""Class-named folders of pictures, with or without split folders around them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from edge_emotion.config.source_spec import may_be_picture
from edge_emotion.labels import ALIASES, EMOTIONS
from edge_emotion.system.image_header import files_below
from edge_emotion.system.paths import printable
from train.data.faces import DataError, DataSet, Split
from train.data.layouts.images import Options, Picture, emotion_of, gather, left_out, with_splits
from train.data.layouts.splits import SPLIT_NAMES
from train.data.layouts.tables import PUBLISHED

NameOf = Callable[[str, Path], str]
"""(name of a class folder, its path) -> emotion."""


def subfolders(path: Path) -> list[Path]:
    """The folders in ``path``, by name, without hidden ones."""
    if not path.is_dir():
        return []
    return sorted(each for each in path.iterdir() if each.is_dir() and not is_hidden(each.name))


def files_in(path: Path, others: list[Path]) -> list[Path]:
    """The pictures in ``path`` at any depth, by name, decided by their content; files that are none go to ``others``.

    Links are followed, each folder once; hidden files and folders are passed over.
    """
    inside = (each for each in files_below(path) if not any(map(is_hidden, each.relative_to(path).parts[:-1])))
    pictures: list[Path] = []
    for each in sorted(inside):
        (pictures if may_be_picture(each) else others).append(each)
    return pictures


def is_hidden(name: str) -> bool:
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
    """Whether a folder, or a split folder in it, contains a folder named like an emotion, or numbered ones alone."""
    places = [path, *(folder for folder in subfolders(path) if folder.name.lower() in SPLIT_NAMES)]
    names = [[folder.name.strip().lower() for folder in subfolders(place)] for place in places]
    return any(set(each) & {*EMOTIONS, *ALIASES} or (each and all(map(str.isdecimal, each))) for each in names)


def load_folders(path: Path, options: Options) -> DataSet:
    """Load pictures from folders that are named by emotions (or their aliases, in any case).

    Split folders around them (train, training; val, valid, validation, dev; test, testing) are used; missing splits are
    made as in ``train.data.layouts.splits.complete_splits``. Raises DataError for a folder whose name is no emotion
    (nor in the label map of the options), an empty class folder, or if there is no class folder.
    """
    others: list[Path] = []
    pictures = list_folders(path, partial(emotion_of, names=options.label_map), others)
    pictures = with_splits(pictures, path, options.group_by)
    return gather(printable(path.name), PUBLISHED, pictures, options, notes=left_out(others, path))


def list_folders(path: Path, name_of: NameOf, others: list[Path]) -> list[Picture]:
    """Pictures with their label and, in split folders, their split; other files go to ``others``. DataError if none."""
    places: list[tuple[Split | None, Path]] = [*split_folders(path).items()] or [(None, path)]
    pictures = [picture for split, place in places for picture in _labelled(place, split, name_of, others)]
    if not pictures:
        raise DataError(f"{path} holds no class folders; expected one per emotion: {', '.join(EMOTIONS)}")
    return pictures


def _labelled(place: Path, split: Split | None, name_of: NameOf, others: list[Path]) -> Iterator[Picture]:
    for folder in subfolders(place):
        emotion = name_of(folder.name, folder)
        files = files_in(folder, others)
        if not files:
            found = "".join(left_out([each for each in others if folder in each.parents], folder))
            raise DataError(f"{folder} holds no picture; fill it or remove it" + (f" ({found})" if found else ""))
        yield from (Picture(file, emotion, split) for file in files)
