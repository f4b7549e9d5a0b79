"""Paths as people write them."""

from __future__ import annotations

import os
from pathlib import Path


def expand(path: str | Path) -> Path:
    """``~`` becomes the home directory; left as it is where there is none (pathlib would raise RuntimeError)."""
    return Path(os.path.expanduser(path))  # noqa: PTH111
