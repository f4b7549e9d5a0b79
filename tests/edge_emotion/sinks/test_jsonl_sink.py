from __future__ import annotations

import logging
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.broker import wait_until
from support.paths import ROOT
from support.samples import event, state

from edge_emotion.errors import ReaderGone, SinkError
from edge_emotion.sinks.jsonl import BACKLOG, JsonlSink
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
        "from edge_emotion.sinks.jsonl import BACKLOG, JsonlSink\n"
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


def seqs(data: bytes) -> list[int]:
    return [event_from_json(line).seq for line in data.splitlines()]


def test_a_rotated_file_keeps_its_lines_and_the_next_ones_go_to_the_new_file(tmp_path: Path) -> None:
    path, rotated = tmp_path / "events.jsonl", tmp_path / "events.jsonl.1"
    sink = JsonlSink(str(path), look=0.02)
    sink.open()
    sink.publish(event(1))
    path.rename(rotated)
    wait_until(path.exists)  # also while no event comes
    sink.publish(event(2))
    path.unlink()
    wait_until(path.exists)
    sink.publish(event(3))
    sink.close()
    assert (seqs(rotated.read_bytes()), seqs(path.read_bytes())) == ([1], [3])


def test_a_second_writer_of_the_file_is_refused(tmp_path: Path) -> None:
    path = str(tmp_path / "events.jsonl")
    first = JsonlSink(path)
    first.open()
    with pytest.raises(SinkError, match="another process writes"):
        JsonlSink(path).open()
    first.close()


def test_a_line_without_room_on_the_disk_leaves_no_half_of_it(tmp_path: Path) -> None:
    program = """
import resource, sys
from support.samples import event
from edge_emotion.sinks.jsonl import JsonlSink
sink = JsonlSink(sys.argv[1]); sink.open(); sink.publish(event(1))
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, resource.RLIM_INFINITY))
sink.publish(event(2)); sink.publish(event(3))
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
sink.publish(event(4)); sink.close(); print(sink.dropped)
"""
    path = tmp_path / "events.jsonl"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests")])}
    done = subprocess.run(
        [sys.executable, "-c", program, str(path)], env=environment, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0 and done.stdout == "2\n", done.stderr
    assert seqs(path.read_bytes()) == [1, 4]


@pytest.fixture
def fifo(tmp_path: Path) -> Path:
    os.mkfifo(tmp_path / "pipe")
    return tmp_path / "pipe"


@pytest.fixture
def open_reader(fifo: Path) -> Iterator[Callable[[], int]]:
    opened: list[int] = []

    def open_it() -> int:
        opened.append(os.open(fifo, os.O_RDONLY | os.O_NONBLOCK))
        return opened[-1]

    yield open_it
    for reader in opened:
        os.close(reader)


def read_until(reader: int, done: Callable[[bytes], bool]) -> bytes:
    data = b""

    def more() -> bool:
        nonlocal data
        try:
            data += os.read(reader, 1 << 20)
        except BlockingIOError:
            return done(data)
        return done(data)

    wait_until(more)
    return data


def test_a_fifo_without_a_reader_is_no_fault_and_later_events_reach_one(
    fifo: Path, open_reader: Callable[[], int], caplog: pytest.LogCaptureFixture
) -> None:
    sink = JsonlSink(str(fifo))
    sink.open()
    sink.publish(event(1))
    sink.publish(event(2))
    assert sink.dropped == 2 and len(caplog.records) == 1 and sink.ended is None
    reader = open_reader()
    sink.publish(event(3))
    sink.close()
    assert seqs(os.read(reader, 65_536)) == [3]


def test_a_reader_that_stands_still_gets_all_when_it_goes_on_and_delays_nobody(
    fifo: Path, open_reader: Callable[[], int], caplog: pytest.LogCaptureFixture
) -> None:
    reader = open_reader()
    sink = JsonlSink(str(fifo), look=0.05)
    sink.open()
    for seq in range(500):  # a pipe holds some hundred lines
        sink.publish(event(seq))
    assert sink.dropped == 0 and caplog.text.count("does not keep up") == 1
    data = read_until(reader, lambda data: data.count(b"\n") == 500)
    assert seqs(data) == list(range(500))
    sink.close()
    assert sink.dropped == 0


def test_what_a_reader_leaves_is_counted_at_a_stop_and_of_too_many_lines_the_oldest(
    fifo: Path, open_reader: Callable[[], int], caplog: pytest.LogCaptureFixture
) -> None:
    reader = open_reader()
    sink = JsonlSink(str(fifo))
    sink.open()
    for seq in range(BACKLOG + 500):
        sink.publish(event(seq))
    assert 0 < sink.dropped < 500 and caplog.text.count(f"more than {BACKLOG}") == 1
    sink.close()
    data = read_until(reader, lambda data: data.endswith(b"\n"))
    assert sink.dropped == BACKLOG + 500 - len(seqs(data))
    assert len(caplog.records) == 3 and "stopped while" in caplog.text


def test_a_reader_of_standard_output_that_has_gone_ends_the_sink_also_while_no_event_comes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    reader, writer = os.pipe()
    with os.fdopen(writer, "w") as output:
        monkeypatch.setattr(sys, "stdout", output)
        sink = JsonlSink("-", look=0.02)
        sink.open()
        sink.publish(event(1))
        assert seqs(os.read(reader, 65_536)) == [1] and sink.ended is None
        os.close(reader)
        wait_until(lambda: sink.ended is not None)
        sink.close()
        assert isinstance(sink.ended, ReaderGone) and sink.dropped == 0
