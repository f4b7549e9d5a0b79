"""The boot of the machine, and whether its clock is right."""

from __future__ import annotations

import ctypes
import time
from collections.abc import Callable
from functools import cache, lru_cache
from pathlib import Path
from typing import cast

UNKNOWN = "-"
"""Boot id of a system that has none."""

_TIME_ERROR = 5


def boot_id() -> str:
    """Differs after each start of the machine; ``UNKNOWN`` if that cannot be known."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip() or UNKNOWN
    except (OSError, ValueError):
        return UNKNOWN


def is_synchronised() -> bool:
    """True if the kernel's clock is synchronised, by NTP for example (man adjtimex). Up to 10 s old."""
    return _was_synchronised(int(time.monotonic() / 10))


@lru_cache(maxsize=1)
def _was_synchronised(_interval: int) -> bool:
    adjtimex = _adjtimex()
    # struct timex is smaller; its first field, modes, is 0: only look
    return adjtimex is not None and 0 <= adjtimex(ctypes.create_string_buffer(512)) < _TIME_ERROR


@cache
def _adjtimex() -> Callable[[object], int] | None:
    try:
        return cast("Callable[[object], int]", ctypes.CDLL(None).adjtimex)
    except (AttributeError, OSError):
        return None
