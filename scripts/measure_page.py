#!/usr/bin/env python3
"""Measure the cost of the page: memory with and without it, processor time with viewers, frame rate under requests.

Usage: measure_page.py [SECONDS] [--only TEXT]    Seconds of each measurement (default: 10), only those runs whose names
contain a text. Prints a table in Markdown.

Each run is a daemon of its own on the demo clip; runs take turns, so that what else the machine does meets all of them.
"""

from __future__ import annotations

import argparse
import http.client
import os
import re
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parent.parent
CLIP = ROOT / "edge_emotion" / "demo.mp4"
TURNS = 3
PATHS = ("/api/v1/state", "/api/v1/events?limit=10", "/metrics", "/api/v1/info", "/static/live.js")


@dataclass
class Run:
    """One kind of run: with or without a page, viewers, requests a second, the clip at its speed or at full speed."""

    name: str
    page: bool = True
    viewers: int = 0
    requests: int = 0
    realtime: bool = True


RUNS = (
    Run("no page", page=False),
    Run("page, nobody looks"),
    Run("1 viewer", viewers=1),
    Run("10 viewers", viewers=10),
    Run("50 requests/s", requests=50),
    Run("full speed, no page", page=False, realtime=False),
    Run("full speed, nobody looks", realtime=False),
    Run("full speed, 50 requests/s", requests=50, realtime=False),
)


@dataclass
class Figures:
    """Of one run: MiB in memory, percent of a core, frames per second."""

    rss: float
    cpu: float
    fps: float


def measure(run: Run, seconds: float) -> Figures:
    """Start a daemon, let it settle, measure, and stop it."""
    with tempfile.TemporaryDirectory() as folder, socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
        free.close()
        tree = {
            "node": "measured",
            "cameras": {"desk": {"source": str(CLIP), "loop": True, "realtime": run.realtime}},
            "jsonl": {"path": str(Path(folder) / "events.jsonl")},
            "state_dir": folder,
            **({"web": {"listen": f"127.0.0.1:{port}"}} if run.page else {}),
        }
        settings = Path(folder) / "settings.yaml"
        settings.write_text(yaml.safe_dump(tree))
        command = [sys.executable, "-m", "edge_emotion", "run", "-c", str(settings)]
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, cwd=ROOT) as daemon:
            assert daemon.stderr is not None
            try:
                for line in daemon.stderr:
                    if "is online" in line:
                        break
                time.sleep(2)
                figures = _watch(daemon.pid, port, run, seconds)
            finally:
                daemon.send_signal(signal.SIGTERM)
            found = re.search(r"([0-9.]+) fps", daemon.stderr.read())
    figures.fps = float(found[1]) if found else 0.0
    return figures


def _watch(pid: int, port: int, run: Run, seconds: float) -> Figures:
    ended = threading.Event()
    with ExitStack() as stack:
        for _ in range(run.viewers):
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
            connection.request("GET", "/api/v1/stream")
            threading.Thread(target=_read, args=(connection.getresponse(), ended), daemon=True).start()
        for number in range(run.requests // 10):
            threading.Thread(target=_ask, args=(port, 0.1, number, ended), daemon=True).start()
        stack.callback(ended.set)
        before, begun = _cpu(pid), time.monotonic()
        time.sleep(seconds)
        share = 100 * (_cpu(pid) - before) / (time.monotonic() - begun)
        return Figures(_resident(pid), share, 0.0)


def _read(answer: http.client.HTTPResponse, ended: threading.Event) -> None:
    while not ended.is_set() and answer.read1(65_536):
        pass


def _ask(port: int, period: float, number: int, ended: threading.Event) -> None:
    """Requests of one client, evenly."""
    while not ended.wait(period):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        connection.request("GET", PATHS[number % len(PATHS)])
        connection.getresponse().read()
        connection.close()
        number += 1


def _cpu(pid: int) -> float:
    """Seconds of processor time of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _resident(pid: int) -> float:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


def main() -> None:
    """Measure every kind of run, taking turns, and print the medians."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("seconds", nargs="?", type=float, default=10.0)
    parser.add_argument("--only", default="")
    options = parser.parse_args()
    seconds, runs = options.seconds, [run for run in RUNS if options.only in run.name]
    found: dict[str, list[Figures]] = {run.name: [] for run in runs}
    for _ in range(TURNS):
        for run in runs:
            found[run.name].append(measure(run, seconds))
    print("| | memory, MiB | processor, % of a core | frames/s | processor, ms a frame |\n|---|---|---|---|---|")
    for name, figures in found.items():
        rss, cpu, fps = (statistics.median(getattr(one, key) for one in figures) for key in ("rss", "cpu", "fps"))
        per_frame = statistics.median(10 * one.cpu / one.fps for one in figures)
        print(f"| {name} | {rss:.1f} | {cpu:.1f} | {fps:.2f} | {per_frame:.2f} |")


if __name__ == "__main__":
    main()
