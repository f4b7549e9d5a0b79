"""Reading and writing picture files; OpenCV's own functions give no reasons and fail on unusual file names."""

from __future__ import annotations

import stat
from pathlib import Path

import cv2
import numpy as np

from edge_emotion.datatypes import Image
from edge_emotion.errors import SinkError, SourceError
from edge_emotion.system.atomic_file import write_bytes
from edge_emotion.system.image_header import (
    MAX_PIXELS,
    MAX_SCANS,
    other_kind,
    picture_kind,
    picture_size,
    too_many_scans,
)
from edge_emotion.system.opencv_build import reads_pictures

MAX_BYTES = 256 * 2**20
"""Largest file that is read as a picture."""


def read_picture(file: Path, max_pixels: int = MAX_PIXELS) -> Image:
    """One picture: H x W x 3 uint8 BGR, turned upright by its EXIF data.

    Raises SourceError naming the file, before decoding if it has more than ``max_pixels``.
    """
    return decode_picture(_read(file), str(file), max_pixels)


def decode_picture(data: bytes, name: str, max_pixels: int = MAX_PIXELS) -> Image:
    """As ``read_picture``, for the content of a file; ``name`` is for errors. The first one of an animation."""
    kind, size = picture_kind(data), picture_size(data)
    if kind is None:
        raise SourceError(_no_picture(data, name))
    if size is not None and size[0] * size[1] > max_pixels:
        raise SourceError(
            f"{name} has {size[0]} x {size[1]} pixels, more than {max_pixels / 1e6:g} million: make it smaller"
        )
    if too_many_scans(data):
        raise SourceError(f"{name} is a JPEG of more than {MAX_SCANS} scans, which takes too long: save it anew")
    try:
        # Without a size its header is damaged, and nobody knows how large it would become.
        image = None if size is None else cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    except cv2.error:
        image = None
    if image is None and not reads_pictures(kind):
        raise SourceError(f"{name} is {kind}, which is not read: give JPEG or PNG")
    if image is None:
        raise SourceError(f"{name} is not a readable image, but begins as {kind}: is it whole? else convert it to JPEG")
    return np.asarray(image, np.uint8)


def _no_picture(data: bytes, name: str) -> str:
    """Why the content of a file is not decoded."""
    if not data:
        return f"{name} is empty (0 bytes): give a JPEG, PNG, BMP or WebP"
    if other := other_kind(data):
        return f"{name} is {other}, which is not read: give JPEG or PNG"
    return f"{name} is not a readable image: give a JPEG, PNG, BMP or WebP"


def _read(file: Path) -> bytes:
    """The content of a regular file of bounded size: a pipe or a device would never end."""
    try:
        status = file.stat()
        if not stat.S_ISREG(status.st_mode):
            raise SourceError(f"cannot read image {file}: it is no file")
        if status.st_size > MAX_BYTES:
            raise SourceError(f"cannot read image {file}: it has more than {MAX_BYTES // 2**20} MiB")
        return file.read_bytes()
    except OSError as error:
        if isinstance(error, SourceError):
            raise
        raise SourceError(f"cannot read image {file}: {error.strerror}") from error


def write_png(file: Path, image: Image) -> None:
    """Write an H x W x 3 BGR picture. Raises SinkError naming the file."""
    try:
        write_bytes(file, cv2.imencode(".png", image)[1].tobytes())
    except OSError as error:
        raise SinkError(f"cannot write {file}: {error.strerror}") from error
