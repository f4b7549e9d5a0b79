from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from support.broker import Broker, needs_mosquitto, password_access, wait_until
from support.mqtt_stage import MakeSink, publish
from support.paths import ROOT as CHECKOUT
from support.samples import CAPTURED, EVENT, event
from support.subscribers import finish, publish_events, publish_raw, start_python

from edge_emotion.cli.demo import CLIP
from edge_emotion.cli.event_formats import CSV_HEADER, item_as_csv, item_as_json, item_as_text
from edge_emotion.client.gaps import Arrival
from edge_emotion.client.items import AvailabilityReceived, EventReceived
from edge_emotion.datatypes import EmotionEvent
from edge_emotion.wire.payloads import event_from_json, event_to_json


def received(event: EmotionEvent, arrival: Arrival = "next", missed: int = 0) -> EventReceived:
    return EventReceived(event, arrival, missed, CAPTURED, event_to_json(event))


def start(broker: Broker, *options: str, **environment: str) -> subprocess.Popen[str]:
    return start_python(broker, "-m", "edge_emotion", "subscribe", *options, **environment)


def test_the_text_marks_what_is_odd() -> None:
    missing = item_as_text(received(EVENT, "gap", 3))[0].strip()
    assert missing == "pi5                  -- 3 events missing before the next --"
    for arrival, mark in (("late", "seq 4711, late)"), ("duplicate", "seq 4711, duplicate)"), ("next", "seq 4711)")):
        assert item_as_text(received(EVENT, arrival))[-1].endswith(mark)  # type: ignore[arg-type]
    assert item_as_text(received(replace(EVENT, replayed=True)))[-1].endswith("seq 4711, replayed)")
    assert "counts anew from 4711" in item_as_text(received(EVENT, "restart"))[0]
    dark = replace(EVENT, emotion="unknown", reason="dark", previous="fear")
    assert "unknown    93%, dark, was fear" in item_as_text(received(dark))[-1]


def test_what_comes_from_outside_does_not_steer_the_terminal_or_a_spreadsheet() -> None:
    rude = replace(EVENT, emotion="\x1b[2Jfear\n", previous="=1+1", model_name='@a,"b"')
    assert not any(ord(character) < 32 for line in item_as_text(received(rude)) for character in line)
    cells = next(csv.DictReader([CSV_HEADER, *item_as_csv(received(rude))]))
    assert (cells["emotion"], cells["previous"], cells["model"]) == ("?[2Jfear?", "'=1+1", '\'@a,"b"')


def test_json_lines_keep_unknown_fields_and_say_how_the_event_came() -> None:
    payload = json.dumps({**json.loads(event_to_json(EVENT)), "gaze": "\ud800"}, indent=2).encode()
    (line,) = item_as_json(replace(received(EVENT, "gap", 2), payload=payload))
    data = json.loads(line)
    assert data["gaze"] == "\ud800"
    assert data["received"] == {"at": "2026-11-20T04:31:07.123Z", "arrival": "gap", "missed": 2}
    assert event_from_json(line.encode("utf-8", "backslashreplace")) == event_from_json(event_to_json(EVENT))


def test_a_csv_line_has_a_cell_for_each_column() -> None:
    row = next(csv.DictReader([CSV_HEADER, *item_as_csv(received(replace(EVENT, replayed=True), "late"))]))
    assert None not in row and None not in row.values()
    expected = {"ts": "2026-11-20T04:31:07.123Z", "node": "pi5", "camera": "desk", "seq": "4711", "box_x": "0.31",
                "confidence": "0.93", "p_happiness": "0.93", "p_fear": "", "replayed": "true", "arrival": "late",
                "previous": "", "missed": "0", "track_duration": "0.2", "model": "mobilenet_v2"}  # fmt: skip
    assert {key: row[key] for key in expected} == expected


def test_only_events_are_written_for_programs() -> None:
    gone = AvailabilityReceived("pi5", None, None, CAPTURED)
    assert item_as_json(gone) == item_as_csv(gone) == []
    assert item_as_text(gone)[0].split() == ["pi5", "is", "forgotten"]


@needs_mosquitto
def test_a_gap_among_the_sink_s_events_is_shown_and_ctrl_c_sums_up(broker: Broker, make_sink: MakeSink) -> None:
    process = start(broker)
    sink = make_sink(broker.port)
    sink.open()
    wait_until(lambda: sink.connected)
    publish(sink, range(1, 3))
    wait_until(lambda: not sink.waiting)
    publish_events(broker, [event(5), event(5), event(4, replayed=True)])
    assert process.stdout is not None
    lines = [process.stdout.readline()]
    while "seq 4" not in lines[-1]:
        lines.append(process.stdout.readline())
    code, _, err = finish(process)
    told = [line for line in lines if "seq" in line or "missing" in line]
    assert [line.split("seq ")[-1].strip() for line in told] == [
        "1)", "2)", "pi5                  -- 2 events missing before the next --", "5)", "5, duplicate)",
        "4, replayed, late)",
    ]  # fmt: skip
    assert any("pi5/desk             is offline" in line for line in lines)
    assert code == 0
    assert err.splitlines()[-1] == "4 events (1 replayed, 1 late), 1 gap (1 missed), 1 duplicate"


@needs_mosquitto
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_waiting_subscriber_ends_quietly(broker: Broker, number: signal.Signals) -> None:
    code, out, err = finish(start(broker), number)
    assert (code, out, err) == (0, "", "0 events (0 replayed, 0 late), 0 gaps (0 missed), 0 duplicates\n")


@needs_mosquitto
def test_a_table_grows_over_two_runs(broker: Broker, tmp_path: Path) -> None:
    table = tmp_path / "events.csv"
    for run in range(2):
        process = start(broker, "--format", "csv", "--output", str(table), "--count", "2")
        publish_events(broker, [event(2 * run), event(2 * run + 1)])
        code, out, _ = finish(process, None)
        assert (code, out) == (0, "")
    rows = list(csv.DictReader(table.read_text().splitlines()))
    assert [row["seq"] for row in rows] == ["0", "1", "2", "3"]
    assert [row["arrival"] for row in rows] == ["first", "next", "first", "next"]


@needs_mosquitto
def test_json_lines_go_to_standard_output_for_the_duration(broker: Broker) -> None:
    process = start(broker, "--json", "--camera", "desk", "--node", "pi5", "--duration", "2")
    publish_raw(broker, ("desk/events", b"not json"), ("hall/events", event_to_json(event(1, camera="hall"))))
    publish_events(broker, [event(2), event(4)])
    code, out, err = finish(process, None)
    assert code == 0
    lines = [json.loads(line) for line in out.splitlines()]
    assert [(line["seq"], line["received"]["missed"]) for line in lines] == [(2, 0), (4, 1)]
    assert "skipped" in err and err.splitlines()[-1].endswith("1 message not understood")


@needs_mosquitto
@pytest.mark.parametrize("more", [True, False])
def test_a_reader_who_leaves_ends_it_quietly_also_when_nothing_more_comes(broker: Broker, more: bool) -> None:
    process = start(broker)
    publish_events(broker, [event(1)])
    assert process.stdout is not None
    process.stdout.readline()
    process.stdout.close()
    if more:
        publish_events(broker, map(event, range(2, 10)))
    assert process.wait(20) == 0
    assert process.stderr is not None and process.stderr.read() == ""
    process.stderr.close()


@needs_mosquitto
def test_a_lost_broker_is_said_and_found_again(broker: Broker) -> None:
    process = start(broker, "--count", "1")
    broker.kill()
    before = broker.log.count("Sending SUBACK")
    broker.start()
    wait_until(lambda: broker.log.count("Sending SUBACK") > before)
    publish_events(broker, [event(1)])
    code, out, err = finish(process, None)
    assert code == 0 and "seq 1)" in out
    assert err.count("lost broker") == 1 and err.count("connected to broker") == 1


@needs_mosquitto
def test_a_session_goes_on_where_the_last_run_ended(broker: Broker) -> None:
    assert finish(start(broker, "--session", "night"))[0] == 0
    publish_events(broker, map(event, range(1, 4)))
    for expected in ("1", "2", "3"):
        _, out, _ = finish(start(broker, "--session", "night", "--count", "1", "--format", "csv"), None)
        assert [row["seq"] for row in csv.DictReader(out.splitlines())] == [expected]


@needs_mosquitto
def test_a_group_says_that_gaps_are_not_looked_for(broker: Broker) -> None:
    process = start(broker, "--group", "workers", "--count", "2")
    publish_events(broker, [event(1), event(5)])
    code, out, err = finish(process, None)
    assert code == 0 and "missing" not in out
    assert "gap detection is off" in err
    assert err.splitlines()[-1] == "2 events (0 replayed), gaps and duplicates not looked for"


@needs_mosquitto
def test_the_events_of_a_daemon_are_printed_and_a_refusal_says_why(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("s3cret")
    broker = Broker(tmp_path, password_access(tmp_path, "me", "s3cret")).start()
    try:
        code, _, err = finish(start(broker), None)
        assert code == 6 and "Not authorized" in err and len(err.splitlines()) == 1
        readers = [
            start(broker, "--username", "me", "--password-file", str(secret), "--count", "2"),
            start(broker, "--username", "me", "--count", "2", EDGE_EMOTION_MQTT__PASSWORD="s3cret"),
        ]
        done = subprocess.run(
            [sys.executable, "-m", "edge_emotion", "run", "--source", str(CLIP), "--mqtt", f"127.0.0.1:{broker.port}",
             "--set", "node=pi5", "--set", "cameras.camera.realtime=false", "--set", "mqtt.username=me",
             "--set", f"mqtt.password_file={secret}", "--set", f"state_dir={tmp_path / 'state'}"],
            cwd=CHECKOUT, capture_output=True, text=True, timeout=60, env={**os.environ},
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        for reader in readers:
            code, out, err = finish(reader, None)
            assert code == 0, err
            assert "pi5/camera           start   happiness" in out
            assert "end     happiness" in out
    finally:
        broker.stop()
