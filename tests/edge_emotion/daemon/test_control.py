"""What can be asked of a node that runs: features, requests, stats."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.control_stage import Stage

from edge_emotion import __version__
from edge_emotion.daemon.control import MAX_PAYLOAD, MAX_PENDING
from edge_emotion.daemon.daemon import JOBS_PER_TURN
from edge_emotion.system import state_file
from edge_emotion.wire.payloads import MAX_DEPTH


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    made = Stage(tmp_path)
    yield made
    made.stop()


def tracks_are_whole(stage: Stage) -> None:
    """Exactly one start, then any changes, then exactly one end for each track."""
    for track in {event.track_id for event in stage.sink.events}:
        types = [event.type for event in stage.sink.events if event.track_id == track]
        assert (types[0], types[-1]) == ("start", "end") and set(types[1:-1]) <= {"change"}


def test_features_are_told_at_the_start(stage: Stage) -> None:
    assert stage.channel.features["desk", "enabled"] == b"ON"
    assert stage.channel.features["desk", "threshold"] == b"0.5"
    assert len(json.loads(stage.channel.features["desk", "classes"])) == 8


def test_a_camera_that_is_switched_off_ends_its_tracks_and_gives_its_device_back_and_comes_again(stage: Stage) -> None:
    stage.start()
    stage.wait(lambda: stage.sink.events)
    reader = stage.camera().capture
    stage.ask("desk/enabled/set", "OFF")
    stage.wait(lambda: stage.channel.features["desk", "enabled"] == b"OFF" and not reader._thread.is_alive())
    assert [event.type for event in stage.sink.events] == ["start", "end"]
    assert stage.sink.availability[-1] == ("desk", False) and stage.sink.states[-1][1].faces == 0
    count = len(stage.sink.states)
    stage.ask("desk/enabled/set", "OFF")
    stage.ask("desk/enabled/set", "ON")
    stage.wait(lambda: len(stage.sink.events) >= 3)
    assert stage.sink.availability == [("desk", True), ("desk", False), ("desk", True)]
    assert stage.sink.states[count:] and stage.channel.features["desk", "enabled"] == b"ON"
    stage.stop()
    tracks_are_whole(stage)


def test_off_and_on_in_one_breath_leaves_one_reader(stage: Stage) -> None:
    stage.start()
    stage.wait(lambda: stage.sink.events)
    for payload in ("OFF", "ON") * 5:
        stage.ask("desk/enabled/set", payload)
    stage.wait(lambda: sum(event.type == "start" for event in stage.sink.events) == 2)
    stage.wait(lambda: not [t for t in threading.enumerate() if t.name == "release-desk"])
    assert sum(thread.name == "capture-desk" for thread in threading.enumerate()) == 1


def test_what_was_set_survives_a_restart(stage: Stage) -> None:
    for topic, payload in (("enabled", "OFF"), ("threshold", "0.9"), ("classes", '["fear", "anger"]')):
        stage.control.handle(f"edge-emotion/pi5/desk/{topic}/set", payload.encode())
    stage.control.turn()  # as the main loop does after the commands of a turn
    stage.stop()
    stage.build()
    assert stage.channel.features["desk", "enabled"] == b"OFF"
    assert stage.channel.features["desk", "threshold"] == b"0.9"
    assert json.loads(stage.channel.features["desk", "classes"]) == ["anger", "fear"]
    stage.start()
    stage.ask("request/info", "")
    stage.wait(lambda: stage.channel.answers)
    assert stage.camera().capture._thread.ident is None, "it was never opened"
    stage.ask("desk/enabled/set", "ON")
    stage.wait(lambda: stage.sink.events)
    assert set(stage.sink.events[0].probabilities) == {"anger", "fear"}


def test_a_threshold_counts_at_once_and_the_track_goes_on(tmp_path: Path) -> None:
    stage = Stage(tmp_path, policy={"threshold": 1.0}).start()
    try:
        stage.wait(lambda: stage.sink.events)
        stage.ask("desk/threshold/set", "0.5")
        stage.wait(lambda: len(stage.sink.events) == 2)
    finally:
        stage.stop()
    assert [(event.type, event.emotion) for event in stage.sink.events[:2]] == [
        ("start", "unknown"),
        ("change", "happiness"),
    ]
    tracks_are_whole(stage)


def test_other_classes_end_the_tracks_and_begin_new_ones(stage: Stage) -> None:
    stage.start()
    stage.wait(lambda: stage.sink.events)
    stage.ask("desk/classes/set", '["sadness", "happiness"]')
    stage.wait(lambda: [event.type for event in stage.sink.events][:3] == ["start", "end", "start"])
    assert set(stage.sink.events[2].probabilities) == {"happiness", "sadness"}
    stage.stop()
    tracks_are_whole(stage)


@pytest.mark.parametrize(
    ("topic", "payload"),
    [
        ("desk/enabled/set", b"maybe"),
        ("desk/threshold/set", b"2"),
        ("desk/classes/set", b'["joy"]'),
        ("desk/classes/set", b'["joy", "\\ud800"]'),
    ],
)
def test_bad_input_is_answered_by_the_unchanged_state_and_a_line_in_the_log(
    topic: str, payload: bytes, stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    before = dict(stage.channel.features)
    stage.channel.features.clear()
    stage.control.handle(f"edge-emotion/pi5/{topic}", payload)
    feature = topic.split("/")[1]
    assert stage.channel.features["desk", feature] == before["desk", feature]
    assert sum("is refused" in message and topic in message for message in caplog.messages) == 1
    assert not (stage.state / "pi5.features.json").exists()


@pytest.mark.parametrize(
    "topic",
    ["nobody/enabled/set", "desk/volume/set", "desk/set", "request/a b", "request/x/y", "desk/enabled/state", ""],
)
def test_what_nobody_can_do_is_only_logged(topic: str, stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    before = dict(stage.channel.features)
    stage.control.handle(f"edge-emotion/pi5/{topic}", b"ON")
    assert stage.channel.features == before and not stage.channel.answers
    assert len(caplog.messages) == 1 and "is refused" in caplog.messages[0]


def test_what_is_too_long_or_too_much_is_refused(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    stage.ask("desk/threshold/set", b"0.123" + b"0" * MAX_PAYLOAD)
    assert "are the most" in caplog.text
    for n in range(MAX_PENDING + 3):
        stage.ask("request/info", json.dumps({"transaction": n}))
    assert caplog.text.count("are waiting already") == 3
    stage.start()
    stage.wait(lambda: len(stage.channel.answers) == MAX_PENDING)
    stage.ask("request/info", b"")
    stage.wait(lambda: len(stage.channel.answers) == MAX_PENDING + 1)
    assert stage.channel.features["desk", "threshold"] == b"0.5"


def test_commands_without_end_leave_time_for_the_cameras_and_write_the_disk_once_a_turn(
    stage: Stage, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved: list[int] = []
    monkeypatch.setattr(state_file, "save_json", lambda path, data: saved.append(len(data)))
    for n in range(MAX_PENDING):
        stage.ask("desk/threshold/set", f"0.{n + 100}")
    for _ in range(1000):
        stage.ask("desk/threshold/set", "0.5")
    turns = 0
    on_turn = stage.daemon.on_turn

    def counted() -> None:
        nonlocal turns
        turns += 1
        on_turn()

    stage.daemon.on_turn = counted
    stage.start()
    stage.wait(lambda: stage.channel.features["desk", "threshold"] == f"0.{MAX_PENDING + 99}".encode())
    stage.stop()
    assert turns >= MAX_PENDING / JOBS_PER_TURN
    assert 1 <= len(saved) <= turns
    assert len(caplog.records) < 30, "a flood of messages is no flood of log lines"


def test_a_disk_that_takes_long_does_not_stop_the_main_loop(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first write ends after the commands that follow have had their effect; then only the newest is written."""
    go_on, saved = threading.Event(), list[dict[str, Any]]()

    def slow(path: Path, content: dict[str, Any]) -> None:
        assert go_on.wait(20)
        saved.append(content)

    monkeypatch.setattr(state_file, "save_json", slow)
    stage.start()
    for n in range(100, 150):
        stage.ask("desk/threshold/set", f"0.{n}")
        stage.wait(lambda n=n: stage.channel.features["desk", "threshold"] == f"{float(f'0.{n}')}".encode())
    go_on.set()
    stage.stop()
    assert len(saved) == 2 and saved[-1]["desk"]["threshold"] == 0.149


@pytest.mark.parametrize("depth", [*range(1, 60), 500, 984, 2000])
@pytest.mark.parametrize("brackets", ["[]", '{"a":}'])
def test_a_transaction_of_any_depth_is_answered(depth: int, brackets: str, stage: Stage) -> None:
    opening, closing = brackets[:-1], brackets[-1]
    inner = opening * depth + "1" + closing * depth
    stage.control.receive("edge-emotion/pi5/request/info", b'{"transaction": %s}' % inner.encode())
    stage.control.handle("edge-emotion/pi5/request/info", b'{"transaction": %s}' % inner.encode())
    stage.control.handle("edge-emotion/pi5/desk/threshold/set", inner.encode())
    ((command, answer),) = stage.channel.answers
    assert command == "info" and answer["status"] == ("ok" if depth < MAX_DEPTH else "error")
    assert stage.channel.features["desk", "threshold"] == b"0.5"


@pytest.mark.parametrize("transaction", ["abc", 7, None, {"a": [1]}])
def test_a_request_is_answered_with_its_transaction(transaction: Any, stage: Stage) -> None:
    stage.control.handle("edge-emotion/pi5/request/info", json.dumps({"transaction": transaction}).encode())
    ((command, answer),) = stage.channel.answers
    assert (command, answer["status"], answer["error"], answer["transaction"]) == ("info", "ok", None, transaction)
    assert answer["data"]["version"] == __version__ and answer["data"]["cameras"] == ["desk"]


@pytest.mark.parametrize(
    ("command", "payload", "reason"),
    [
        ("info", b"hello", "expected nothing or a JSON object"),
        ("info", b"[]", "expected nothing or a JSON object"),
        ("info", b'{"transaction": "\\ud800"}', "expected nothing or a JSON object"),
        ("reboot", b"", "there are info, doctor, reload"),
    ],
)
def test_a_request_that_cannot_be_is_answered_with_an_error(
    command: str, payload: bytes, reason: str, stage: Stage
) -> None:
    stage.control.handle(f"edge-emotion/pi5/request/{command}", payload)
    assert stage.channel.answers[0][0] == command
    answer = stage.channel.answers[0][1]
    assert answer["status"] == "error" and reason in answer["error"] and answer["data"] is None
    assert "transaction" not in answer


def test_an_examination_does_not_stop_the_cameras_and_only_one_runs(stage: Stage) -> None:
    go = threading.Event()

    def examine(settings: Any) -> Any:
        assert go.wait(30)
        return {"node": settings.node}

    stage.examine = examine
    stage.start()
    stage.ask("request/doctor", '{"transaction": 1}')
    stage.ask("request/doctor", '{"transaction": 2}')
    stage.wait(lambda: stage.channel.answers)
    assert stage.channel.answers[0][1]["transaction"] == 2 and "under way" in stage.channel.answers[0][1]["error"]
    frames = stage.daemon.summary.frames
    stage.wait(lambda: stage.daemon.summary.frames > frames + 3)
    go.set()
    stage.wait(lambda: len(stage.channel.answers) == 2)
    assert stage.channel.answers[1][1] == {"status": "ok", "data": {"node": "pi5"}, "error": None, "transaction": 1}


def test_a_doctor_that_fails_is_answered_with_an_error(stage: Stage) -> None:
    stage.examine = lambda settings: {"status": 1 / 0}
    stage.control.handle("edge-emotion/pi5/request/doctor", b"")
    stage.wait(lambda: len(stage.channel.answers) == 1)
    assert "division by zero" in stage.channel.answers[0][1]["error"]


def test_stats_tell_of_cameras_stages_machine_and_outbox(tmp_path: Path) -> None:
    stage = Stage(tmp_path, mqtt={"stats_interval": 1}).start()
    try:
        stage.wait(lambda: len(stage.channel.reports) >= 3)
        stage.ask("desk/enabled/set", "OFF")
        stage.wait(lambda: stage.channel.reports[-1]["cameras"]["desk"]["status"] == "disabled")
        count = len(stage.channel.reports)
        stage.wait(lambda: len(stage.channel.reports) > count)
    finally:
        stage.stop()
    second, last = stage.channel.reports[1], stage.channel.reports[-1]
    desk = second["cameras"]["desk"]
    # A frame may be captured in one interval and processed in the next.
    assert (
        desk["status"] == "online" and 0 < desk["processed_fps"] <= desk["capture_fps"] + 1 / second["interval"] + 0.01
    )
    assert (desk["reconnects"], desk["stalls"]) == (0, 0)
    for quantiles in desk["stages_ms"].values():
        assert 0 <= quantiles["p50"] <= quantiles["p90"] <= quantiles["p99"]
    assert list(desk["stages_ms"]) == ["detect", "track", "classify", "decide", "latency"]
    assert second["outbox"] == {"depth": 0, "dropped": 0, "refused": 0} and second["uptime"] >= second["interval"] >= 1
    assert second["mqtt"] == {"connections": 0, "last_failure": None}
    assert second["machine"]["rss_mb"] > 20 and second["machine"]["cpu_percent"] > 0
    assert last["cameras"]["desk"]["processed_fps"] == 0 and last["cameras"]["desk"]["stages_ms"] == {}
    json.dumps(stage.channel.reports, allow_nan=False)
