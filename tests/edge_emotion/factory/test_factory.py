"""The composition root: every setting reaches the part that it is for."""

from __future__ import annotations

import json
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.pipelines import ANY_QUALITY, settings_with
from support.values import face, frame

from edge_emotion.app import make_daemon
from edge_emotion.cli.demo import CLIP
from edge_emotion.config.loader import load
from edge_emotion.config.settings import CameraSettings
from edge_emotion.datatypes import Face, Image
from edge_emotion.detectors.scripted import ScriptedDetector
from edge_emotion.errors import ConfigError
from edge_emotion.factory.cameras import make_capture, make_source, pipeline_settings
from edge_emotion.factory.models import make_classifier, make_detector
from edge_emotion.pipeline.pipeline import Pipeline
from edge_emotion.sources.images import ImagesSource
from edge_emotion.sources.opencv import OpenCvSource


def test_detector_settings_are_obeyed(astronaut: Image) -> None:
    assert len(make_detector("blazeface_back", threshold=0.5).detect(astronaut)) == 1
    assert not make_detector("blazeface_back", threshold=0.99).detect(astronaut)
    assert not make_detector("blazeface_back", min_size=200).detect(astronaut)


def test_classifier_settings_are_obeyed(tmp_path: Path) -> None:
    settings = load(
        None,
        {
            "cameras": {"hall": {"source": str(CLIP), "realtime": False}},
            "classifier": {"classes": ["sadness", "anger"], "model": "tiny"},
            "jsonl": {"path": str(tmp_path / "events.jsonl")},
            # Which of the two is shown by a smile is chance: no other one lasts for longer than the clip.
            "policy": {"threshold": 0.0, "min_dwell": 9},
        },
    )
    make_daemon(settings).run()
    lines = (tmp_path / "events.jsonl").read_text().splitlines()
    assert [json.loads(line)["type"] for line in lines] == ["start", "end"]
    assert all('"name":"tiny"' in line for line in lines)
    assert all('"probabilities":{"sadness":' in line and "happiness" not in line for line in lines)


def scripted(script: Sequence[Sequence[Face]], **sections: Any) -> Pipeline:
    settings = settings_with(classifier={"interval": 0.0}, detector={"idle_interval": 0.0}, **sections)
    return Pipeline(
        pipeline_settings(settings, "desk"), ScriptedDetector(script), make_classifier("tiny"), next_seq=lambda: 1
    )


@pytest.mark.parametrize(
    ("tracking", "events"),
    [
        ({}, ["start"]),
        ({"confirm_hits": 9}, []),
        ({"confirm_hits": 1, "max_gap": 0.05}, ["start", "end"]),
    ],
)
def test_tracking_settings_are_obeyed(tracking: dict[str, float], events: list[str]) -> None:
    script = [[face()]] * 5 + [[]] * 2
    pipeline = scripted(script, tracking=tracking)
    noise = np.random.default_rng(0).integers(0, 256, (480, 640, 3), np.uint8)
    told = [event.type for n in range(7) for event in pipeline.process(frame(n / 10, noise))]
    assert told == events


@pytest.mark.parametrize(("threshold", "emotion"), [(0.0, False), (1.0, True)])
def test_policy_settings_are_obeyed(threshold: float, emotion: bool) -> None:
    policy = {"threshold": threshold, "hysteresis": 0.0}
    pipeline = scripted([[face()]], tracking={"confirm_hits": 1}, policy=policy, quality=ANY_QUALITY)
    (event,) = pipeline.process(frame(0))
    assert (event.emotion == "unknown") is emotion


def test_each_kind_of_source_has_its_adapter(tmp_path: Path) -> None:
    assert isinstance(make_source(CameraSettings(source="0")), OpenCvSource)
    assert isinstance(make_source(CameraSettings(source=str(tmp_path))), ImagesSource)
    assert not make_source(CameraSettings(source=str(CLIP))).live
    assert make_source(CameraSettings(source="rtsp://camera.local/1")).live


@pytest.mark.parametrize(
    ("source", "realtime", "lossless"),
    [(str(CLIP), False, True), (str(CLIP), True, False), ("rtsp://camera.local/1", False, False)],
)
def test_only_recordings_are_processed_without_loss(source: str, realtime: bool, lossless: bool) -> None:
    made = make_capture("desk", CameraSettings(source=source, realtime=realtime), threading.Condition())
    assert made.lossless is lossless


def test_one_node_cannot_run_twice_on_one_state_directory(tmp_path: Path) -> None:
    settings = load(
        None,
        {"node": "pi5", "cameras": {"a": {"source": "0"}}, "jsonl": {}, "state_dir": str(tmp_path)},
    )
    first = make_daemon(settings)
    with pytest.raises(ConfigError, match="another daemon runs as node 'pi5'"):
        make_daemon(settings)
    first._sequence.close()
