from __future__ import annotations

import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.paths import ROOT

from edge_emotion.errors import SinkError
from edge_emotion.system.append_file import AppendedFile


@pytest.fixture
def path(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path / "events.csv"


def append(path: Path, *lines: str, header: str | None = None) -> None:
    file = AppendedFile(path, header)
    for line in lines:
        file.write(line)
    file.close()


def test_lines_are_appended_below_one_header(path: Path) -> None:
    append(path, "1,2", header="a,b")
    append(path, "3,4", header="a,b")
    assert path.read_text() == "a,b\n1,2\n3,4\n"


def test_each_line_can_be_read_at_once(path: Path) -> None:
    file = AppendedFile(path)
    file.write("one")
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
file.write("x" * 59)
for _ in range(2):
    try:
        file.write("y" * 59)
    except SinkError as error:
        print(error)
file.write("z" * 39)
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
