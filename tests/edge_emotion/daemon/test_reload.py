"""What a daemon that runs takes over from changed settings, and what it leaves as it was."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.control_stage import CAMERA, Stage

from edge_emotion.config.diff import compare_settings
from edge_emotion.config.loader import load
from edge_emotion.config.settings import Settings
from edge_emotion.errors import ConfigError


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    made = Stage(tmp_path)
    yield made
    made.stop()


def settings(**changes: Any) -> Settings:
    tree = {"node": "pi5", "cameras": {"a": {"source": "0"}}, "mqtt": {"username": "u", "password": "one"}, **changes}
    return load(None, tree, environment=False)


@pytest.mark.parametrize(
    ("changes", "applied", "restart"),
    [
        ({}, (), ()),
        ({"policy": {"threshold": 0.7, "min_dwell": 1}}, ("policy.min_dwell", "policy.threshold"), ()),
        ({"cameras": {"a": {"source": "1"}, "b": {"source": "0"}}}, ("cameras.a", "cameras.b"), ()),
        ({"cameras": {"b": {"source": "0"}}}, ("cameras.a", "cameras.b"), ()),
        ({"log_level": "debug", "tracking": {"iou": 0.3}}, ("log_level", "tracking.iou"), ()),
        ({"classifier": {"classes": ["fear", "anger"]}}, ("classifier.classes",), ()),
        ({"classifier": {"model": "tiny", "interval": 1}}, ("classifier.interval",), ("classifier.model",)),
        ({"node": "pi4", "detector": {"max_faces": 1}}, (), ("detector.max_faces", "node")),
        ({"mqtt": {"username": "u", "password": "two"}}, (), ("mqtt.password",)),
        ({"mqtt": {"username": "u", "password": "one", "tls": {}}}, (), ("mqtt.tls",)),
        (
            {
                "mqtt": {
                    "username": "u",
                    "password": "one",
                    "heartbeat": 9,
                    "discovery": {"enabled": False, "prefix": "x"},
                }
            },
            ("mqtt.discovery.enabled", "mqtt.heartbeat"),
            ("mqtt.discovery.prefix",),
        ),
        ({"jsonl": {}}, (), ("jsonl",)),
    ],
)
def test_each_change_is_applied_or_waits_for_a_restart(
    changes: dict[str, Any], applied: tuple[str, ...], restart: tuple[str, ...]
) -> None:
    old, new = settings(), settings(**changes)
    found = compare_settings(old, new)
    assert (found.applied, found.restart) == (applied, restart)
    assert compare_settings(found.settings, new).applied == (), "what was applied is not found again"
    assert compare_settings(found.settings, new).restart == restart, "what waits for a restart goes on waiting"
    assert compare_settings(old, found.settings).restart == ()


def test_cameras_come_go_and_change_while_the_others_run(stage: Stage) -> None:
    stage.write(cameras={"desk": CAMERA, "hall": CAMERA})
    stage.stop()
    stage.build()
    stage.start()
    stage.wait(lambda: {event.camera for event in stage.sink.events} == {"desk", "hall"})
    kept = stage.camera("desk").capture
    stage.write(cameras={"desk": CAMERA, "door": {**CAMERA, "max_fps": 5}})
    stage.ask("request/reload", '{"transaction": 1}')
    stage.wait(lambda: stage.channel.answers)
    assert stage.channel.answers[0][1] == {
        "status": "ok",
        "data": {"applied": ["cameras.door", "cameras.hall"], "restart": []},
        "error": None,
        "transaction": 1,
    }
    assert stage.channel.cameras == ["desk", "door"] and stage.channel.info["cameras"] == ["desk", "door"]
    assert stage.channel.device is not None and "door_emotion" in stage.channel.device["components"]
    stage.wait(lambda: any(event.camera == "door" for event in stage.sink.events))
    assert [event.type for event in stage.sink.events if event.camera == "hall"] == ["start", "end"]
    assert ("hall", False) in stage.sink.availability
    assert stage.camera("desk").capture is kept and kept.losses == 0
    assert ("desk", False) not in stage.sink.availability


def test_a_camera_with_other_settings_is_opened_anew(stage: Stage) -> None:
    stage.start()
    stage.wait(lambda: stage.sink.events)
    old = stage.camera().capture
    stage.write(cameras={"desk": {**CAMERA, "max_fps": 7}})
    stage.daemon.post(stage.control.on_sighup)
    stage.wait(lambda: stage.sink.availability == [("desk", True), ("desk", False), ("desk", True)])
    assert stage.camera().capture is not old and not old._thread.is_alive()
    stage.wait(lambda: len(stage.sink.events) >= 3)
    assert [event.type for event in stage.sink.events[:3]] == ["start", "end", "start"]


def test_rules_change_while_it_runs_and_a_threshold_alone_ends_no_track(stage: Stage) -> None:
    stage.write(policy={"threshold": 1.0})
    stage.control.reload()
    stage.start()
    stage.wait(lambda: stage.sink.events)
    assert stage.sink.events[0].emotion == "unknown"
    stage.write(policy={"threshold": 0.5}, log_level="warning")
    stage.daemon.post(stage.control.on_sighup)
    stage.wait(lambda: [event.type for event in stage.sink.events] == ["start", "change"])
    assert stage.sink.events[-1].emotion == "happiness" and logging.getLogger().level == logging.WARNING
    assert stage.channel.features["desk", "threshold"] == b"0.5"
    stage.write(
        policy={"threshold": 0.4, "time_constant": 0.1}, classifier={"model": "tiny", "classes": ["fear", "anger"]}
    )
    stage.daemon.post(stage.control.on_sighup)
    stage.wait(lambda: len(stage.sink.events) >= 4)
    assert [event.type for event in stage.sink.events[2:4]] == ["end", "start"]
    assert set(stage.sink.events[3].probabilities) == {"fear", "anger"}


@pytest.mark.parametrize("text", ["node: {{ hostname }}", "[" * 5000, "a: !!binary x", "{", "- 1", "\x00"])
def test_a_file_that_cannot_be_read_leaves_the_old_settings(
    text: str, stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    before = stage.control.settings
    stage.file.write_text(text)
    stage.control.on_sighup()
    stage.control.handle("edge-emotion/pi5/request/reload", b"")
    assert stage.control.settings is before
    assert stage.channel.answers[0][1]["status"] == "error"
    assert len(caplog.messages) == 2 and all("the old settings stay" in message for message in caplog.messages)


def test_a_reload_that_fails_in_any_way_leaves_the_old_settings(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    before = stage.control.settings
    stage.file = Path("/dev/null/there is none")
    stage.control.on_sighup()
    assert stage.control.settings is before and "the old settings stay" in caplog.text


def test_what_was_set_from_outside_outlives_a_reload(stage: Stage) -> None:
    stage.control.handle("edge-emotion/pi5/desk/threshold/set", b"0.8")
    stage.control.handle("edge-emotion/pi5/desk/enabled/set", b"OFF")
    stage.write(policy={"threshold": 0.1}, cameras={"desk": {**CAMERA, "max_fps": 3}})
    stage.control.reload()
    assert stage.channel.features["desk", "threshold"] == b"0.8"
    assert stage.camera().status == "disabled" and stage.camera().pipeline._policy.threshold == 0.8
    stage.control.handle("edge-emotion/pi5/desk/threshold/set", b"null")
    assert stage.channel.features["desk", "threshold"] == b"0.1"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"cameras": {"desk": {"sorce": "0"}}}, "did you mean 'source'"),
        ({"policy": {"threshold": 2}}, "policy.threshold"),
        ({"cameras": {"desk": CAMERA, "new": {"source": "videotestsrc ! appsink"}}}, "GStreamer"),
        (
            {"policy": {"threshold": 0.9}, "classifier": {"model": "tiny", "operating_point": "nowhere"}},
            "operating point",
        ),
    ],
)
def test_a_file_that_cannot_be_used_leaves_everything_as_it_was(
    change: dict[str, Any], reason: str, stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    before, cameras, features = stage.control.settings, list(stage.daemon.cameras), dict(stage.channel.features)
    stage.write(**change)
    stage.control.handle("edge-emotion/pi5/request/reload", b"")
    ((_, answer),) = stage.channel.answers
    assert answer["status"] == "error" and reason in answer["error"] and "\n" not in answer["error"]
    stage.control.on_sighup()
    assert sum(reason in message and "the old settings stay" in message for message in caplog.messages) == 2
    assert stage.control.settings is before and stage.daemon.cameras == cameras
    assert stage.channel.features == features and cameras[0].status == "opening"


def test_a_file_that_is_no_yaml_any_more_is_a_plain_error(stage: Stage) -> None:
    stage.file.write_text("cameras: [")
    with pytest.raises(ConfigError, match="is not YAML"):
        stage.control.reload()
