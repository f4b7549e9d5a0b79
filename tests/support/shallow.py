"""A shallow form of the recipe ``tiny``, for tests of runs."""

from __future__ import annotations

import pytest

BLOCKS = ((1, 8, 1, 1), (4, 16, 1, 2))
"""In place of ``train.networks.mobilenet_v2.TINY_BLOCKS``."""


@pytest.fixture
def shallow_tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    """The recipe ``tiny`` with two blocks: what is tested is the run, and most of its time is the graph's building."""
    monkeypatch.setattr("train.networks.mobilenet_v2.TINY_BLOCKS", BLOCKS)
