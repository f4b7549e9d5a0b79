"""Frames of a Raspberry Pi camera, through picamera2 and libcamera."""

from __future__ import annotations

import importlib
import logging
import time
from concurrent.futures import CancelledError
from concurrent.futures import TimeoutError as FutureTimeoutError
from datetime import datetime, timezone
from typing import Any

import numpy as np

from edge_emotion.datatypes import Frame
from edge_emotion.errors import BackendUnavailable, SourceError, SourceStalled

_log = logging.getLogger(__name__)

_DEFAULT_SIZE = (1280, 720)
_BUFFERS = 4
_FAULTS = (RuntimeError, OSError, ValueError, IndexError)
"""Errors of picamera2 and libcamera for a camera that is busy, disconnected or lacks a feature."""


class Picamera2Source:
    """A FrameSource over a CSI camera.

    ``index`` counts the cameras as ``rpicam-hello --list-cameras`` does. ``width`` and ``height`` are pixels, by
    default 1280 x 720; ``fps`` by default 30. Time-outs are seconds.
    Raises BackendUnavailable where picamera2 cannot be imported.
    """

    def __init__(
        self,
        index: int = 0,
        *,
        width: int | None = None,
        height: int | None = None,
        fps: float | None = None,
        open_timeout: float = 10.0,
        read_timeout: float = 4.0,
    ) -> None:
        self._library = _import_picamera2()
        self._index = index
        self._size = (width or _DEFAULT_SIZE[0], height or _DEFAULT_SIZE[1])
        self._fps = fps
        self._open_timeout = open_timeout
        self._read_timeout = read_timeout
        self._camera: Any = None
        self._pending: Frame | None = None
        self._sequence = 0

    def __repr__(self) -> str:
        return f"Picamera2Source({self._index})"

    @property
    def live(self) -> bool:
        """Always True."""
        return True

    def open(self) -> None:
        """Configure the camera, start it and wait for its first frame."""
        deadline = time.monotonic() + self._open_timeout
        self.close()
        try:
            self._check_present()
            camera = self._camera = self._library(self._index)
            camera.configure(camera.create_video_configuration(**self._configuration()))
            camera.start()
        except SourceError:
            raise
        except _FAULTS as error:
            self.close()
            raise SourceError(f"cannot open picamera2:{self._index}: {error}; is another program using it?") from error
        self._sequence = 0
        self._pending = self._capture(camera, max(0.1, deadline - time.monotonic()))

    def read(self) -> Frame:
        """Give the next frame that the camera completes."""
        camera = self._camera
        if camera is None:
            raise SourceError(f"picamera2:{self._index} is not open: call open() before read()")
        frame, self._pending = self._pending or self._capture(camera, self._read_timeout), None
        return frame

    def close(self) -> None:
        """Stop the camera and give it back; a ``read`` that waits in another thread fails."""
        camera, self._camera, self._pending = self._camera, None, None
        if camera is None:
            return
        try:
            # First of all: a capture that will never be answered would keep everything behind it waiting.
            camera.cancel_all_and_flush()
            camera.stop()
        except _FAULTS as error:
            _log.warning("picamera2:%d did not stop: %s", self._index, error)
        try:
            camera.close()
        except _FAULTS as error:
            _log.warning("picamera2:%d did not close: %s", self._index, error)

    def _check_present(self) -> None:
        found = len(self._library.global_camera_info())
        if not 0 <= self._index < found:
            raise SourceError(f"no camera picamera2:{self._index} ({found} found): switch off and check its cable")

    def _configuration(self) -> dict[str, Any]:
        # queue=False: the next frame, not one that has been waiting since before it was asked for.
        configuration: dict[str, Any] = {
            "main": {"size": self._size, "format": "RGB888"},
            "buffer_count": _BUFFERS,
            "queue": False,
        }
        if self._fps is not None:
            microseconds = round(1_000_000 / self._fps)
            configuration["controls"] = {"FrameDurationLimits": (microseconds, microseconds)}
        return configuration

    def _capture(self, camera: Any, timeout: float) -> Frame:
        try:
            # Not wait=timeout: older releases take any number for True, and wait for ever.
            job = camera.capture_array("main", wait=False)
            array = camera.wait(job, timeout=timeout)
        except FutureTimeoutError:
            self.close()
            raise SourceStalled(
                f"picamera2:{self._index} gave no frame in {timeout:.1f} s: check the cable, then restart the Pi"
            ) from None
        except CancelledError:
            raise SourceError(f"picamera2:{self._index} was closed while reading") from None
        except _FAULTS as error:
            self.close()
            raise SourceError(f"picamera2:{self._index} is lost: {error}; open it again") from error
        return self._frame(array)

    def _frame(self, array: Any) -> Frame:
        # libcamera names formats by their order in a little-endian word: its RGB888 is B, G, R in memory.
        image = np.ascontiguousarray(array, np.uint8)
        frame = Frame(image, time.monotonic(), datetime.now(timezone.utc), self._sequence)
        self._sequence += 1
        return frame


def _import_picamera2() -> Any:
    """The class picamera2.Picamera2. Raises BackendUnavailable if it cannot be imported."""
    try:
        return importlib.import_module("picamera2").Picamera2
    except ValueError as error:  # what extension modules raise that were built for another numpy
        raise BackendUnavailable(
            f"picamera2 is installed but not with this numpy ({error}): pip install --upgrade simplejpeg"
        ) from error
    except ImportError as error:
        raise BackendUnavailable(
            f"picamera2 cannot be imported ({error}): sudo apt install python3-picamera2, "
            "and make the virtual environment with --system-site-packages"
        ) from error
