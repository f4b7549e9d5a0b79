"""Faces from a folder of unlabelled pictures: cropped as in the runtime, or the pictures themselves."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from edge_emotion.datatypes import Image
from edge_emotion.errors import SourceError
from edge_emotion.system.image_files import read_picture
from edge_emotion.system.paths import printable
from train.data.faces import DataError
from train.data.layouts.finder import FaceFinder
from train.data.layouts.folders import files_in
from train.data.layouts.images import left_out

THREADS = 2
CHUNK = 512

SQUARE = 128
"""Side in pixels of the pictures that ``read_squares`` returns."""


class Cut(NamedTuple):
    """Grey faces uint8 N x S x S, and the numbers of pictures, of those without a face and of unreadable ones."""

    images: npt.NDArray[np.uint8]
    pictures: int
    without_face: int
    unreadable: int


def cut_faces(folder: Path, finder: FaceFinder, detail: int) -> Cut:
    """Crop the main face of every picture below ``folder``, in the order of their paths.

    Raises DataError for a folder without pictures, and if no face is found in any of them.
    """
    others: list[Path] = []
    files = files_in(folder, others)
    if not files:
        raise DataError(f"{folder} holds no pictures; unpack archives first")
    _tell(left_out(others, folder))

    def cut(file: Path) -> npt.NDArray[np.uint8] | str | None:
        try:
            face = finder.cut(read_picture(file), None, detail)
        except SourceError as error:
            return str(error)
        return None if face is None else np.asarray(cv2.cvtColor(face, cv2.COLOR_BGR2GRAY), np.uint8)

    found: list[npt.NDArray[np.uint8]] = []
    unreadable: list[str] = []
    with ThreadPoolExecutor(THREADS) as pool:
        for first in range(0, len(files), CHUNK):
            for result in pool.map(cut, files[first : first + CHUNK]):
                if isinstance(result, str):
                    unreadable.append(result)
                elif result is not None:
                    found.append(result)
    _tell(unreadable)
    if not found:
        raise DataError(f"{folder}: no face found in {len(files)} pictures")
    return Cut(np.stack(found), len(files), len(files) - len(found) - len(unreadable), len(unreadable))


def read_squares(folder: Path, count: int, seed: int) -> npt.NDArray[np.uint8]:
    """The middle squares of ``count`` pictures below ``folder``, or of all, BGR, N x SQUARE x SQUARE x 3.

    Raises DataError for a folder without pictures that can be read.
    """
    return np.stack([_middle(picture) for picture in _read(folder, count, seed)])


def read_reduced(folder: Path, longest: int) -> list[Image]:
    """All pictures below ``folder``, BGR, those with a side of more than ``longest`` pixels reduced to it.

    Raises DataError for a folder without pictures that can be read.
    """
    return [_reduced(picture, longest) for picture in _read(folder)]


def _read(folder: Path, count: int | None = None, seed: int = 0) -> Iterator[Image]:
    """``count`` pictures below a folder, chosen by the seed, or all; the others are named on standard error."""
    others: list[Path] = []
    files = files_in(folder, others)
    _tell(left_out(others, folder))
    unreadable: list[str] = []
    chosen = np.sort(np.random.default_rng(seed).permutation(len(files))[:count])
    for row in chosen:
        try:
            yield read_picture(files[row])
        except SourceError as error:
            unreadable.append(str(error))
    _tell(unreadable)
    if len(unreadable) == len(chosen):
        raise DataError(f"{folder} holds no pictures that can be read; unpack archives first")


def _reduced(picture: Image, longest: int) -> Image:
    share = longest / max(picture.shape[:2])
    if share >= 1:
        return picture
    return np.asarray(cv2.resize(picture, None, fx=share, fy=share, interpolation=cv2.INTER_AREA), np.uint8)


def _middle(picture: Image) -> Image:
    height, width = picture.shape[:2]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    square = cv2.resize(picture[top : top + side, left : left + side], (SQUARE, SQUARE), interpolation=cv2.INTER_AREA)
    return np.asarray(square, np.uint8)


def _tell(lines: Sequence[str]) -> None:
    for line in lines:
        print(printable(line), file=sys.stderr)
