"""Several cameras at full speed for minutes or hours: whether the daemon's memory stays flat."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.harness.daemon_process import running
from benchmarks.harness.process import usage
from benchmarks.results.results import Measurement, Result, measured, this_machine
from edge_emotion.mqtt.local_broker import HOST, find_mosquitto, free_port, mosquitto

CAMERAS = 3
TITLE = f"{'minute':>7}{'RSS MiB':>9}{'CPU %':>7}{'threads':>9}{'files':>7}"


def soak(
    source: str,
    *,
    minutes: float,
    settle: float,
    every: float,
    show: Callable[[str], None],
) -> Result:
    """Run the daemon with three cameras on ``source``, each as fast as it can, and sample it ``every`` seconds.

    Events go to a mosquitto of our own where that is installed, and to /dev/null. Growth is that of the median RSS
    over the last fifth of the time against the same span after the first ``settle`` minutes. ``show`` gets each line.
    Raises EdgeEmotionError if the daemon ends.
    """
    machine = this_machine()
    camera = {"source": source, "loop": True, "realtime": False, "max_fps": 240}
    settings: dict[str, Any] = {
        "cameras": {f"camera{n}": camera for n in range(1, CAMERAS + 1)},
        "jsonl": {"path": "/dev/null"},
    }
    executable = find_mosquitto()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        if executable is not None:
            port = free_port()
            stack.enter_context(mosquitto(executable, port))
            settings["mqtt"] = {"host": HOST, "port": port}
        node = stack.enter_context(running(folder, settings))
        show(TITLE)
        rows: list[dict[str, float]] = []
        last_cpu, last_at = 0.0, node.started
        while (elapsed := time.monotonic() - node.started) < minutes * 60:
            time.sleep(min(every, minutes * 60 - elapsed))
            node.check()
            now, at = usage(node.process.pid), time.monotonic()
            rows.append(
                {
                    "minute": round((at - node.started) / 60, 2),
                    "rss_mib": round(now.rss, 1),
                    "cpu_percent": round(100 * (now.cpu - last_cpu) / (at - last_at), 1),
                    "threads": now.threads,
                    "files": now.files,
                }
            )
            last_cpu, last_at = now.cpu, at
            show(as_line(rows[-1]))
        node.stop()
        summary = node.log.strip().splitlines()[-1]
    grown = growth(rows, settle=settle, span=(minutes - settle) / 5)
    return measured(
        "soak",
        [_measurement(name, value, len(rows)) for name, value in grown.items()],
        machine=machine,
        settings={"cameras": CAMERAS, "minutes": minutes, "settle": settle, "mqtt": executable is not None},
        details={"samples": rows, "summary": summary},
    )


def _measurement(name: str, value: float, samples: int) -> Measurement:
    """One figure of ``growth``. Growth may be negative, and so has no ratio."""
    metric, _, unit = name.rpartition("_")
    if unit == "percent":
        return Measurement(subject="daemon", metric=metric, unit="%", runs=(value,), n=samples)
    return Measurement(subject="daemon", metric=metric, unit="MiB", better="lower", runs=(value,), n=samples)


def growth(rows: Sequence[dict[str, float]], *, settle: float, span: float) -> dict[str, float]:
    """Median RSS at the beginning and at the end of the settled time, ``span`` minutes each, and what it grew by."""
    settled = [row for row in rows if row["minute"] >= settle] or list(rows)
    begin, end = settled[0]["minute"] + span, settled[-1]["minute"] - span
    early = median(row["rss_mib"] for row in settled if row["minute"] <= begin)
    late = median(row["rss_mib"] for row in settled if row["minute"] >= end)
    return {
        "rss_settled_mib": round(early, 1),
        "rss_end_mib": round(late, 1),
        "rss_peak_mib": max(row["rss_mib"] for row in rows),
        "growth_percent": round(100 * (late - early) / early, 2),
    }


def as_line(row: dict[str, float]) -> str:
    """One sample as text, under TITLE."""
    return f"{row['minute']:7.2f}{row['rss_mib']:9.1f}{row['cpu_percent']:7.0f}{row['threads']:9.0f}{row['files']:7.0f}"
