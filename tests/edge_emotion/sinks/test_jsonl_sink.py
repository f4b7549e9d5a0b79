from __future__ import annotations

import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest
from support.paths import ROOT
from support.samples import event, state

from edge_emotion.errors import SinkError
from edge_emotion.sinks.jsonl import JsonlSink
from edge_emotion.wire.payloads import event_from_json, event_to_json

full_disk = pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full, the disk that is always full")


def test_each_event_is_a_line_that_can_be_read_at_once(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    sink = JsonlSink(str(path))
    sink.open()
    sink.publish(event(1))
    assert path.read_bytes() == event_to_json(event(1)) + b"\n"
    sink.publish(event(2))
    sink.close()
    assert [event_from_json(line).seq for line in path.read_bytes().splitlines()] == [1, 2]


def test_a_file_is_continued_not_replaced(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    for seq in (1, 2):
        sink = JsonlSink(str(path))
        sink.open()
        sink.publish(event(seq))
        sink.close()
    assert [event_from_json(line).seq for line in path.read_bytes().splitlines()] == [1, 2]


def test_a_line_that_was_cut_off_does_not_swallow_the_next_one(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    path.write_bytes(b'{"schema":1,"ty')
    sink = JsonlSink(str(path))
    sink.open()
    sink.publish(event(1))
    sink.close()
    cut, line = path.read_bytes().splitlines()
    assert (cut, event_from_json(line).seq) == (b'{"schema":1,"ty', 1)


def test_states_and_availability_are_not_written(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    sink = JsonlSink(str(path))
    sink.open()
    sink.camera_state("desk", state())
    sink.camera_available("desk", True)
    sink.close()
    assert path.read_bytes() == b""


def test_a_dash_is_standard_output_and_leaves_it_open(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    sink = JsonlSink("-")
    sink.open()
    sink.publish(event(1))
    sink.close()
    print("still open", flush=True)
    assert capfdbinary.readouterr().out == event_to_json(event(1)) + b"\nstill open\n"


@pytest.mark.parametrize("name", [".", "missing/events.jsonl"])
def test_a_path_that_cannot_be_written_is_refused_by_name(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    with pytest.raises(SinkError, match=r"jsonl\.path") as caught:
        JsonlSink(str(path)).open()
    assert str(path) in str(caught.value)


@full_disk
def test_a_full_disk_is_logged_once_and_counted(caplog: pytest.LogCaptureFixture) -> None:
    sink = JsonlSink("/dev/full")
    sink.open()
    with caplog.at_level(logging.INFO):
        for seq in range(3):
            sink.publish(event(seq))
    sink.close()
    assert sink.dropped == 3
    assert len(caplog.records) == 1 and "/dev/full" in caplog.text


def test_a_reader_that_went_away_is_logged_once_and_counted(caplog: pytest.LogCaptureFixture, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    sink = JsonlSink(str(pipe))
    sink.open()
    sink.publish(event(1))
    assert event_from_json(os.read(reader, 65536)).seq == 1
    os.close(reader)
    sink.publish(event(2))
    sink.publish(event(3))
    sink.close()
    assert sink.dropped == 2 and len(caplog.records) == 1


def test_a_closed_pipe_on_standard_output_does_not_disturb_the_end_of_the_program() -> None:
    program = (
        "from support.samples import event\n"
        "from edge_emotion.sinks.jsonl import JsonlSink\n"
        "sink = JsonlSink('-'); sink.open(); input()\n"
        "sink.publish(event(1)); sink.close(); print(sink.dropped, file=__import__('sys').stderr)\n"
    )
    search = os.pathsep.join([str(ROOT), str(ROOT / "tests")])
    environment = {**os.environ, "PYTHONPATH": search}
    process = subprocess.Popen(
        [sys.executable, "-c", program],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment,
    )
    assert process.stdout is not None
    process.stdout.close()
    process.stdout = None
    _, errors = process.communicate(b"\n", timeout=60)
    assert process.returncode == 0
    assert errors.splitlines()[-1] == b"1"


def test_an_event_without_json_form_is_dropped_and_the_next_one_is_written(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    sink = JsonlSink(str(path))
    sink.open()
    sink.publish(event(1, quality=float("nan")))
    sink.publish(event(2))
    sink.close()
    assert sink.dropped == 1
    assert event_from_json(path.read_bytes()).seq == 2


def test_an_event_outside_of_open_and_close_is_counted_as_dropped(tmp_path: Path) -> None:
    sink = JsonlSink(str(tmp_path / "events.jsonl"))
    sink.publish(event(1))
    sink.open()
    sink.close()
    sink.publish(event(2))
    assert sink.dropped == 2
