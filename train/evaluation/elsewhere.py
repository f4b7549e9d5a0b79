"""Other data sets, for measuring only: labelled pictures in a folder or .zip, one folder per emotion.

Faces of one person are not independent, so intervals are drawn over persons, not over faces.
"""

from __future__ import annotations

import re
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath

import numpy as np
import numpy.typing as npt

from edge_emotion.config.settings import DetectorSettings
from edge_emotion.config.source_spec import IMAGE_SUFFIXES
from edge_emotion.datatypes import Image
from edge_emotion.errors import SourceError
from edge_emotion.factory.models import make_detector
from edge_emotion.labels import EMOTIONS
from edge_emotion.models.manifest import CropSpec
from edge_emotion.protocols import FaceDetector
from edge_emotion.system.image_files import decode_picture
from edge_emotion.system.image_header import picture_kind
from edge_emotion.system.paths import printable
from train.data.faces import DataError, Faces
from train.data.layouts.finder import FaceFinder
from train.data.layouts.folders import files_in, is_hidden
from train.data.layouts.images import Options, emotion_of, labelled

NUMBERS = re.compile(r"(_\d+)+$")
"""End of a file's name after the person: numbers of sequence and frame."""


@dataclass(frozen=True)
class Elsewhere:
    """Faces labelled with EMOTIONS, and the person of each; in the rest of the ``pictures`` no face was found.

    ``cropped``: the pictures were face crops already.
    """

    name: str
    faces: Faces
    persons: npt.NDArray[np.str_]
    pictures: int
    cropped: bool


def daemon_finder(crop: CropSpec) -> FaceFinder:
    """Finds faces as the daemon does with its default settings."""
    settings = DetectorSettings()

    def make() -> FaceDetector:
        return make_detector(
            settings.model, threshold=settings.threshold, min_size=settings.min_size, max_faces=settings.max_faces
        )

    return FaceFinder(settings.model, make, crop)


def load_elsewhere(name: str, path: Path, finder: FaceFinder | None, detail: int = 48) -> Elsewhere:
    """Load the data set at ``path``; without a ``finder`` its pictures are face crops, which become grey and resized.

    Raises DataError for a path without labelled pictures, an unreadable picture, and a set without faces.
    """
    options = Options(detail, "gray")
    images, labels, persons, pictures = [], [], [], 0
    for file, image in _pictures(path):
        pictures += 1
        face = image if finder is None else finder.cut(image, None, detail)
        if face is None:
            continue
        images.append(options.fit(face))
        labels.append(emotion_of(file.parent.name, f"{path}: {file}"))
        persons.append(NUMBERS.sub("", file.stem))
    if not images:
        raise DataError(f"{path}: no face in {pictures} pictures; give a folder or .zip of folders named like emotions")
    faces = labelled(np.stack(images), labels, EMOTIONS)
    return Elsewhere(name, faces, np.array(persons), pictures, finder is None)


def _pictures(path: Path) -> Iterator[tuple[PurePosixPath, Image]]:
    """(path within the set, pixels) of each picture, in the order of the paths."""
    read = _zip(path) if path.suffix.lower() == ".zip" else _folder(path)
    for file, content in read:
        try:
            yield file, decode_picture(content(), printable(f"{path}: {file}"))
        except SourceError as error:
            raise DataError(f"{error}; repair or remove it") from error


def _folder(path: Path) -> Iterator[tuple[PurePosixPath, Callable[[], bytes]]]:
    for file in files_in(path, []):
        yield PurePosixPath(file.relative_to(path).as_posix()), file.read_bytes


def _zip(path: Path) -> Iterator[tuple[PurePosixPath, Callable[[], bytes]]]:
    try:
        with zipfile.ZipFile(path) as archive:
            for name in sorted(archive.namelist()):
                with archive.open(name) as member:
                    kind = picture_kind(member.read(32))
                if (kind or PurePosixPath(name).suffix.lower() in IMAGE_SUFFIXES) and not _hidden(name):
                    yield PurePosixPath(name), partial(archive.read, name)
    except (OSError, zipfile.BadZipFile) as error:
        raise DataError(f"cannot read {path}: {error}") from error


def _hidden(name: str) -> bool:
    *folders, file = PurePosixPath(name).parts
    return file.startswith(".") or any(map(is_hidden, folders))
