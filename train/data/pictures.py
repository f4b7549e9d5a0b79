"""Face crops from a folder of unlabelled pictures, cropped as in the runtime."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from edge_emotion.errors import SourceError
from edge_emotion.system.image_files import read_picture
from edge_emotion.system.paths import printable
from train.data.faces import DataError
from train.data.layouts.finder import FaceFinder
from train.data.layouts.folders import files_in
from train.data.layouts.images import left_out

THREADS = 2
CHUNK = 512


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


def _tell(lines: Sequence[str]) -> None:
    for line in lines:
        print(printable(line), file=sys.stderr)
