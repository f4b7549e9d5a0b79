"""Reading and writing picture files. OpenCV's own functions print warnings, give no reasons and crash on odd names."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from edge_emotion.datatypes import Image
from edge_emotion.errors import SinkError, SourceError


def read_picture(file: Path) -> Image:
    """One picture: H x W x 3 uint8 BGR, turned upright by its EXIF data. Raises SourceError naming the file."""
    try:
        data = np.frombuffer(file.read_bytes(), np.uint8)
    except OSError as error:
        raise SourceError(f"cannot read image {file}: {error.strerror}") from error
    try:
        image = cv2.imdecode(data, cv2.IMREAD_COLOR)
    except cv2.error:  # an empty file, or one that claims more pixels than OpenCV allows
        image = None
    if image is None:
        raise SourceError(f"{file} is not a readable image: give a JPEG, PNG, BMP or WebP")
    return np.asarray(image, np.uint8)


def write_png(file: Path, image: Image) -> None:
    """Write an H x W x 3 BGR picture. Raises SinkError naming the file."""
    try:
        file.write_bytes(cv2.imencode(".png", image)[1].tobytes())
    except OSError as error:
        raise SinkError(f"cannot write {file}: {error.strerror}") from error
