"""Waiting for what must happen soon, and never for ever."""

from __future__ import annotations

import time
from collections.abc import Callable

from edge_emotion.errors import EdgeEmotionError


def wait_until(reached: Callable[[], bool], what: str, *, patience: float, pause: float = 0.01) -> None:
    """Look every ``pause`` seconds. Raises EdgeEmotionError with ``what`` has not happened in ``patience`` seconds."""
    begin = time.monotonic()
    while not reached():
        if time.monotonic() - begin > patience:
            raise EdgeEmotionError(f"{what} within {patience:g} s")
        time.sleep(pause)
