from __future__ import annotations

import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from support.paths import ROOT

from edge_emotion.errors import SinkError
from edge_emotion.system.append_file import AppendedFile, LineOutput


@pytest.fixture
def path(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path / "events.csv"


def append(path: Path, *lines: str, header: str | None = None) -> None:
    file = AppendedFile(path, header)
    for line in lines:
        file.write(line.encode())
    file.close()


def test_lines_are_appended_below_one_header(path: Path) -> None:
    append(path, "1,2", header="a,b")
    append(path, "3,4", header="a,b")
    assert path.read_text() == "a,b\n1,2\n3,4\n"


def test_each_line_can_be_read_at_once(path: Path) -> None:
    file = AppendedFile(path)
    file.write(b"one")
    assert path.read_text() == "one\n"
    file.close()


def test_a_torn_last_line_does_not_swallow_the_next_one(path: Path) -> None:
    path.write_text('{"seq":1}\n{"se')
    append(path, '{"seq":3}')
    assert path.read_text() == '{"seq":1}\n{"se\n{"seq":3}\n'


def test_a_table_with_other_columns_is_left_alone(path: Path) -> None:
    path.write_text("x,y,z\n")
    with pytest.raises(SinkError, match="other columns"):
        append(path, "1,2", header="a,b")
    assert path.read_text() == "x,y,z\n"


def test_a_second_writer_is_refused(path: Path) -> None:
    first = AppendedFile(path)
    with pytest.raises(SinkError, match="another process writes"):
        AppendedFile(path)
    first.close()
    append(path, "free again")


@pytest.mark.parametrize("place", ["absent/events.csv", "."])
def test_a_place_that_cannot_be_written_is_refused(tmp_path: Path, place: str) -> None:
    with pytest.raises(SinkError, match="cannot write to"):
        AppendedFile(tmp_path / place)


def test_a_line_for_which_there_is_no_room_is_undone(path: Path) -> None:
    program = f"""
import resource, signal
from pathlib import Path
from edge_emotion.errors import SinkError
from edge_emotion.system.append_file import AppendedFile
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (100, {resource.RLIM_INFINITY}))
file = AppendedFile(Path({str(path)!r}))
file.write(b"x" * 59)
for _ in range(2):
    try:
        file.write(b"y" * 59)
    except SinkError as error:
        print(error)
file.write(b"z" * 39)
"""
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("no room for a whole line") == 2
    assert path.read_text() == "x" * 59 + "\n" + "z" * 39 + "\n"


def test_a_pipe_gets_its_header_and_lines(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    append(pipe, "1,2", header="a,b")
    assert os.read(reader, 100) == b"a,b\n1,2\n"
    os.close(reader)


def test_a_renamed_file_is_left_and_a_new_one_begun_with_its_header(path: Path) -> None:
    file = AppendedFile(path, "a,b")
    file.write(b"1,2")
    path.rename(path.with_name("events.csv.1"))
    file.follow()
    file.write(b"3,4")
    path.rename(path.with_name("events.csv.2"))
    path.touch()
    file.follow()
    file.write(b"5,6")
    path.unlink()
    file.follow()
    file.close()
    assert path.with_name("events.csv.1").read_text() == "a,b\n1,2\n"
    assert path.with_name("events.csv.2").read_text() == "a,b\n3,4\n"
    assert path.read_text() == "a,b\n"


def test_while_the_new_file_cannot_be_opened_lines_go_to_the_renamed_one(path: Path) -> None:
    file = AppendedFile(path)
    path.rename(path.with_name("events.csv.1"))
    path.mkdir()
    file.write(b"one")
    with pytest.raises(SinkError, match="cannot write to"):
        file.follow()
    path.rmdir()
    file.follow()
    file.write(b"two")
    file.close()
    assert (path.with_name("events.csv.1").read_text(), path.read_text()) == ("one\n", "two\n")


def test_a_file_emptied_by_copytruncate_is_continued_at_its_new_end(path: Path) -> None:
    file = AppendedFile(path)
    file.write(b"one")
    os.truncate(path, 0)
    file.write(b"two")
    file.close()
    assert path.read_text() == "two\n"


def test_a_new_file_can_be_written_by_its_owner_only_whatever_the_umask(path: Path) -> None:
    before = os.umask(0)
    try:
        append(path, "one")
    finally:
        os.umask(before)
    assert path.stat().st_mode & 0o777 == 0o644


def test_a_fifo_without_a_reader_does_not_block_and_takes_lines_when_there_is_one(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    file = AppendedFile(pipe, "a,b")
    with pytest.raises(BrokenPipeError):
        file.write(b"1,2")
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    file.write(b"3,4")
    assert os.read(reader, 100) == b"a,b\n3,4\n"
    os.close(reader)
    with pytest.raises(BrokenPipeError):
        file.write(b"5,6")
    file.close()


def drained(reader: int) -> bytes:
    """All that is in a pipe now."""
    read = b""
    with suppress(BlockingIOError):
        while data := os.read(reader, 65_536):
            read += data
    return read


@pytest.mark.parametrize("length", [10, 5000, 100_000])
def test_a_full_pipe_takes_no_line_and_no_half_of_one_and_nothing_blocks(length: int) -> None:
    reader, writer = os.pipe()  # both block, as standard output does
    lines, taken, read = LineOutput(writer, "the pipe"), 0, b""
    os.set_blocking(reader, False)
    for _ in range(3):
        with pytest.raises(BlockingIOError):
            while True:
                lines.write(b"%d" % (taken % 10) * length)
                taken += 1
        read += drained(reader)
    while lines.has_reader():
        try:
            lines.flush()
            break
        except BlockingIOError:
            read += drained(reader)
    read += drained(reader)
    assert read == b"".join(b"%d" % (number % 10) * length + b"\n" for number in range(taken))
    os.close(reader)
    os.close(writer)


def test_a_reader_that_has_gone_is_noticed_without_writing() -> None:
    reader, writer = os.pipe()
    lines = LineOutput(writer, "the pipe")
    assert lines.has_reader()
    os.close(reader)
    assert not lines.has_reader()
    with pytest.raises(BrokenPipeError):
        lines.write(b"one")
    os.close(writer)
