"""One browser for each file of these tests."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from support.browser import chromium


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Debian's Chromium, without a window. Not for the whole session: Playwright leaves an event loop running."""
    with chromium() as started:
        yield started
