"""The daemon writes JSON lines for a program that leaves, stands still, or never comes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.broker import wait_until
from support.paths import ROOT

from edge_emotion.cli.demo import CLIP
from edge_emotion.errors import ReaderGone

Run = Callable[..., "subprocess.Popen[bytes]"]


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Run]:
    """Start a daemon on the clip, again and again as fast as it can."""
    started: list[subprocess.Popen[bytes]] = []

    def start(jsonl: str, umask: int = -1) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "edge_emotion", "run", "--source", str(CLIP), "--jsonl", jsonl]
        for key, value in {"loop": "true", "realtime": "false"}.items():
            command += ["--set", f"cameras.camera.{key}={value}"]
        command += ["--set", f"state_dir={tmp_path / 'above' / 'state'}", "--set", "node=pi5"]
        with (tmp_path / "log").open("wb") as log:
            process = subprocess.Popen(
                command, cwd=ROOT, stdout=subprocess.PIPE, stderr=log, umask=umask, pipesize=4096
            )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.wait(10)
        if process.stdout is not None:
            process.stdout.close()


def log(folder: Path) -> str:
    return (folder / "log").read_text(errors="replace")


def test_when_the_reader_of_standard_output_has_gone_the_run_ends_with_its_own_code(run: Run, tmp_path: Path) -> None:
    process = run("-")
    assert process.stdout is not None
    assert json.loads(process.stdout.readline())["seq"] == 1
    process.stdout.close()
    assert process.wait(60) == ReaderGone.exit_code == 11
    assert log(tmp_path).count("error:") == 1 and "Traceback" not in log(tmp_path)


def test_a_reader_that_stands_still_stops_neither_the_cameras_nor_sigterm(run: Run, tmp_path: Path) -> None:
    process = run("-")
    wait_until(lambda: "does not keep up" in log(tmp_path) or process.poll() is not None, 120)
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 0
    assert "stopped while" in log(tmp_path) and " frames in " in log(tmp_path)


def test_a_fifo_that_nobody_reads_does_not_keep_the_daemon_from_starting_and_stopping(run: Run, tmp_path: Path) -> None:
    fifo = tmp_path / "events"
    os.mkfifo(fifo)
    process = run(str(fifo))
    wait_until(lambda: "is online" in log(tmp_path), 60)
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    read: list[bytes] = []

    def some() -> bool:
        try:
            read.append(os.read(reader, 65_536))
        except BlockingIOError:
            return False
        return bool(read[-1])

    wait_until(some, 60)
    os.close(reader)
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 0
    assert json.loads(read[-1].splitlines()[0])["node"] == "pi5"


def test_nothing_that_it_makes_can_be_written_by_others_whatever_the_umask(run: Run, tmp_path: Path) -> None:
    process = run(str(tmp_path / "events.jsonl"), umask=0)
    wait_until(lambda: (tmp_path / "events.jsonl").exists() and (tmp_path / "events.jsonl").stat().st_size > 0, 60)
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 0
    made = [tmp_path / "events.jsonl", tmp_path / "above", *(tmp_path / "above").rglob("*")]
    assert len(made) >= 4
    assert [path for path in made if path.stat().st_mode & 0o022] == []
