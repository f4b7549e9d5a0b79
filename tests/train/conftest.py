from __future__ import annotations

import pytest
from support.shallow import BLOCKS


@pytest.fixture
def shallow_tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    """The recipe ``tiny`` with two blocks: what is tested is the run, and most of its time is the graph's building."""
    monkeypatch.setattr("train.networks.mobilenet_v2.TINY_BLOCKS", BLOCKS)
