"""Paths as people write them."""

from __future__ import annotations

import os
from pathlib import Path


def expand(path: str | Path) -> Path:
    """``~`` becomes the home directory; left as it is where there is none (pathlib would raise RuntimeError)."""
    return Path(os.path.expanduser(path))  # noqa: PTH111


def cache_dir() -> Path:
    """Where is kept what can be made again: systemd's $CACHE_DIRECTORY, else ``~/.cache/edge-emotion``."""
    if systemd := os.environ.get("CACHE_DIRECTORY"):
        return Path(systemd.split(":")[0])
    return expand(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "edge-emotion"


def printable(text: str) -> str:
    """A text with file names in it as one line of UTF-8: what cannot be printed is escaped."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
