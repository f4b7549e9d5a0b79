"""Small JSON files in the state directory, with a checksum; a damaged one is moved aside."""

from __future__ import annotations

import json
import logging
import os
import threading
import zlib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from edge_emotion.system.atomic_file import PRIVATE, write_bytes

log = logging.getLogger(__name__)

LARGEST = 1 << 20
"""Bytes of a state file at most; ours have some kilobytes."""

_WRAPPER = {"format", "crc32", "content"}


def load_json(path: Path, check: Callable[[dict[str, Any]], object] = lambda _content: None) -> dict[str, Any]:
    """Content of ``path``; empty if the file is absent or, which is logged, cannot be read.

    ``check`` raises an exception of any kind if the content is not what its owner writes. Such a file, one whose
    checksum differs and a symbolic link are moved to ``<name>.damaged``. Files without a checksum are those of
    version 1.0.
    """
    try:
        content = _content(json.loads(_read(path)))
        check(content)
    except FileNotFoundError:
        return {}
    except MemoryError:
        raise
    except Exception as error:  # noqa: BLE001 - damage may lead to any kind
        _move_aside(path, error)
        return {}
    return content


def save_json(path: Path, content: dict[str, Any]) -> None:
    """Replace ``path``, mode 0600, on the disk when this returns. A disk that cannot be written is only logged."""
    whole = {"format": 1, "crc32": _checksum(content), "content": content}
    try:
        write_bytes(path, json.dumps(whole, indent=1).encode() + b"\n", PRIVATE)
    except OSError as error:
        log.error("cannot save %s (%s): these settings will be lost at restart", path, error.strerror)


class BackgroundWriter:
    """Writes one state file in a thread of its own: a disk may take a second for it, in which frames go on.

    Of contents that arrive faster than the disk takes them, only the newest is written. The thread ends when nothing is
    left; the end of the process waits for it.
    """

    def __init__(self, path: Path) -> None:
        self._path, self._lock = path, threading.Lock()
        self._waiting: dict[str, Any] | None = None
        self._thread: threading.Thread | None = None

    def save(self, content: dict[str, Any]) -> None:
        """Write ``content`` soon, as ``save_json`` does."""
        with self._lock:
            self._waiting = content
            if self._thread is None:
                self._thread = threading.Thread(target=self._write, name=f"write {self._path.name}", daemon=False)
                self._thread.start()

    def wait(self) -> None:
        """Return when the newest content has been written."""
        thread = self._thread
        if thread is not None:
            thread.join()

    def _write(self) -> None:
        while True:
            with self._lock:
                content, self._waiting = self._waiting, None
                if content is None:
                    self._thread = None
                    return
            save_json(self._path, content)


def _read(path: Path) -> bytes:
    """At most ``LARGEST`` bytes of a regular file. Raises OSError, ValueError."""
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)  # a FIFO must not block
    with os.fdopen(handle, "rb") as file:
        content = file.read(LARGEST + 1)
    if content is None or len(content) > LARGEST:
        raise ValueError(f"it is larger than {LARGEST} bytes")
    return content


def _content(data: Any) -> dict[str, Any]:
    if not isinstance(data, dict):
        raise ValueError("it holds no JSON object")
    if len(data.keys() & _WRAPPER) < 2:
        return data
    if data.keys() != _WRAPPER or not isinstance(data["content"], dict) or data["crc32"] != _checksum(data["content"]):
        raise ValueError("its checksum differs")
    return data["content"]


def _checksum(content: dict[str, Any]) -> str:
    return f"{zlib.crc32(json.dumps(content, sort_keys=True).encode()):08x}"


def _move_aside(path: Path, error: Exception) -> None:
    aside = path.with_name(path.name + ".damaged")
    with suppress(OSError):
        path.replace(aside)
    reason = str(error)[:200] if isinstance(error, (OSError, ValueError)) else type(error).__name__
    log.warning("%s cannot be used (%s): moved to %s, a new one will be written", path, reason, aside.name)
