"""The boot of the machine, and whether its clock is right."""

from __future__ import annotations

import ctypes
from pathlib import Path

UNKNOWN = "-"
"""Boot id of a system that does not tell it."""

_TIME_ERROR = 5


def boot_id() -> str:
    """Differs after each start of the machine; ``UNKNOWN`` if that cannot be known."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip() or UNKNOWN
    except (OSError, ValueError):
        return UNKNOWN


def is_synchronised() -> bool:
    """True if NTP or the like keeps the clock right, as far as the kernel knows (man adjtimex)."""
    buffer = ctypes.create_string_buffer(512)  # struct timex; its first field, modes, is 0: only look
    try:
        state: int = ctypes.CDLL(None).adjtimex(buffer)
    except (AttributeError, OSError):
        return False
    return 0 <= state < _TIME_ERROR
