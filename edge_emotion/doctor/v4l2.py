"""The modes of a V4L2 camera, read from its driver; the camera is not claimed, so another program may be using it.

Numbers and layouts: linux/videodev2.h, https://docs.kernel.org/userspace-api/media/v4l/user-func.html.
"""

from __future__ import annotations

import errno
import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from fcntl import ioctl

QUERYCAP, ENUM_FMT, ENUM_FRAMESIZES, ENUM_FRAMEINTERVALS = 0x80685600, 0xC0405602, 0xC02C564A, 0xC034564B
CAPTURE, CAPTURE_MPLANE = 0x1, 0x1000
DEVICE_CAPS = 0x80000000
_BUFFER_TYPES = {CAPTURE: 1, CAPTURE_MPLANE: 9}
_DISCRETE = 1
_SIZES = {QUERYCAP: 104, ENUM_FMT: 64, ENUM_FRAMESIZES: 44, ENUM_FRAMEINTERVALS: 52}
_MOST = 64
"""Entries of one list that are read at most: a driver whose list never ends must not block the check."""


@dataclass(frozen=True, slots=True)
class Mode:
    """One format and size in pixels, and its highest rate in frames a second (0 if the driver gives none).

    With ``any_size`` every size up to this one is possible; 0 x 0 if the driver gives no sizes.
    """

    pixels: str
    width: int
    height: int
    fps: float
    any_size: bool = False


@dataclass(frozen=True, slots=True)
class Offer:
    """A camera: what it is called, its driver, and its modes; no modes if it is no camera."""

    card: str
    driver: str
    modes: tuple[Mode, ...]


def ask(path: str) -> Offer:
    """Name, driver and modes of the device at ``path``. Raises OSError; with ENOTTY it is no V4L2 device at all."""
    device = os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        answer = _call(device, QUERYCAP, "")
        driver, card = (_text(bytes(answer[start:end])) for start, end in ((0, 16), (16, 48)))
        everything, own = struct.unpack_from("2I", answer, 84)
        able = own if everything & DEVICE_CAPS else everything
        kinds = [kind for bit, kind in _BUFFER_TYPES.items() if able & bit]
        return Offer(card, driver, tuple(mode for kind in kinds for mode in _modes(device, kind)))
    finally:
        os.close(device)


def _modes(device: int, kind: int) -> Iterator[Mode]:
    for description in _entries(device, ENUM_FMT, "I", kind):
        (code,) = struct.unpack_from("I", description, 44)
        pixels = struct.pack("<I", code & 0x7FFFFFFF).decode("ascii", "replace").strip("\0 ")
        sizes = list(_entries(device, ENUM_FRAMESIZES, "I", code))
        if not sizes:  # a driver may leave that out
            yield Mode(pixels, 0, 0, 0.0, any_size=True)
        for answer in sizes:
            shape, *numbers = struct.unpack_from("7I", answer, 8)
            # Discrete: width, height. Otherwise least, most, step of the width, then of the height.
            width, height = (numbers[0], numbers[1]) if shape == _DISCRETE else (numbers[1], numbers[4])
            rate = max(_rates(device, code, width, height), default=0.0)
            yield Mode(pixels, width, height, rate, any_size=shape != _DISCRETE)
            if shape != _DISCRETE:
                break


def _rates(device: int, code: int, width: int, height: int) -> Iterator[float]:
    for answer in _entries(device, ENUM_FRAMEINTERVALS, "3I", code, width, height):
        # A range begins with its shortest interval.
        shape, numerator, denominator = struct.unpack_from("3I", answer, 16)
        if numerator:
            yield denominator / numerator
        if shape != _DISCRETE:
            return


def _entries(device: int, request: int, form: str, *values: int) -> Iterator[bytearray]:
    """The entries of one of the driver's lists; an error ends a list as its end does."""
    for index in range(_MOST):
        try:
            yield _call(device, request, "I" + form, index, *values)
        except OSError as error:
            if error.errno in (errno.EINVAL, errno.ENOTTY):
                return
            raise


def _call(device: int, request: int, form: str, *values: int) -> bytearray:
    buffer = bytearray(_SIZES[request])
    struct.pack_into(form, buffer, 0, *values)
    ioctl(device, request, buffer, True)
    return buffer


def _text(raw: bytes) -> str:
    return raw.split(b"\0")[0].decode("utf-8", "replace")
