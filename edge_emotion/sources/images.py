"""Frames from picture files: a folder, a pattern, or a list."""

from __future__ import annotations

import logging
import re
import threading
import time
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta, timezone
from itertools import takewhile
from pathlib import Path

from edge_emotion.config.source_spec import IMAGE_SUFFIXES, may_be_picture
from edge_emotion.datatypes import Frame, Image
from edge_emotion.errors import SourceEnded, SourceError
from edge_emotion.system.image_files import read_picture
from edge_emotion.system.paths import expand

log = logging.getLogger(__name__)


class ImagesSource:
    """A finite FrameSource over JPEG, PNG, BMP and WebP files.

    ``images``: a folder, a file, a pattern (``shots/*.png``, ``**`` for subfolders), or a list of files. A folder
    and a pattern are read in the order of their names, numbers inside by value; a list in its own order.
    Frames are stamped ``1 / fps`` seconds apart from the moment of ``open``; with ``realtime`` each one is also
    given when it is due, otherwise at once. ``loop`` starts again at the end.
    """

    def __init__(
        self,
        images: str | Path | Sequence[str | Path],
        *,
        fps: float = 5.0,
        loop: bool = False,
        realtime: bool = True,
    ) -> None:
        if fps <= 0:
            raise ValueError(f"fps must be more than 0, not {fps}")
        self._images = images
        self._fps = fps
        self._loop = loop
        self._realtime = realtime
        self._files: tuple[Path, ...] = ()
        self._sequence = 0
        self._start = 0.0
        self._started_at = datetime.now(timezone.utc)
        self._closed = threading.Event()
        self._closed.set()

    def __repr__(self) -> str:
        return f"ImagesSource({self._images!r})"

    @property
    def live(self) -> bool:
        """Always False."""
        return False

    def open(self) -> None:
        """Find the files. Raises SourceError if there are none."""
        self.close()
        self._files = _find(self._images)
        if not self._files:
            raise SourceError(
                f"no images in {self._images}: expected a picture, or a folder or pattern with "
                f"{', '.join(IMAGE_SUFFIXES)} files; this process runs in {Path.cwd()}"
            )
        if len(self._files) == 1 and not self._loop:
            log.warning(
                "%s is one picture, and events need a face in several: edge-emotion classify %s prints its emotions",
                *2 * (self._files[0],),
            )
        self._sequence = 0
        self._start, self._started_at = time.monotonic(), datetime.now(timezone.utc)
        self._closed = threading.Event()

    def read(self) -> Frame:
        """Give the next picture, decoded, when it is due. Raises SourceError naming a file that is not a picture."""
        closed = self._closed
        if closed.is_set():
            raise SourceError(f"{self!r} is not open: call open() before read()")
        lap, position = divmod(self._sequence, len(self._files))
        if lap and not self._loop:
            self.close()
            raise SourceEnded(f"{self!r} has given its last image")
        image = self._decode(self._files[position])
        elapsed = self._sequence / self._fps
        if self._realtime and closed.wait(max(0.0, self._start + elapsed - time.monotonic())):
            raise SourceError(f"{self!r} was closed while reading")
        captured_at = self._started_at + timedelta(seconds=elapsed)
        frame = Frame(image, self._start + elapsed, captured_at, self._sequence)
        self._sequence += 1
        return frame

    def close(self) -> None:
        """End a ``read`` that waits for its time."""
        self._closed.set()

    def _decode(self, file: Path) -> Image:
        try:
            return read_picture(file)
        except SourceError:
            self.close()
            raise


def _find(images: str | Path | Sequence[str | Path]) -> tuple[Path, ...]:
    if not isinstance(images, (str, Path)):
        return tuple(expand(file) for file in images)
    path = expand(images)
    if path.is_file():
        return (path,)
    files = [file for file in (path.glob("*") if path.is_dir() else _expand(path)) if not file.name.startswith(".")]
    pictures = [file for file in files if may_be_picture(file)]
    others = [file.name for file in files if file.is_file() and file not in set(pictures)]
    if others:
        log.info("%s: %d files are no pictures and are left out: %s", path, len(others), ", ".join(sorted(others)[:3]))
    return tuple(sorted(pictures, key=_natural))


def _expand(pattern: Path) -> Iterator[Path]:
    """The paths that match a pattern. It may be absolute, which Path.glob alone refuses."""
    fixed = list(takewhile(lambda part: not re.search(r"[*?[]", part), pattern.parts))
    wild = pattern.parts[len(fixed) :]
    return Path(*fixed).glob(str(Path(*wild))) if wild else iter(())


def _natural(file: Path) -> list[tuple[str, int]]:
    """Sorts shot2 before shot10."""
    return [(text, int(digits or -1)) for text, digits in re.findall(r"([^0-9]*)([0-9]*)", str(file))]
