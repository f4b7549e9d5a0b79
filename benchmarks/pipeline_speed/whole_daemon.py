"""The real daemon on one or more cameras, measured by its own ``stats`` messages."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.harness.daemon_process import NODE, DaemonProcess, running_daemon
from benchmarks.harness.drift import drift
from benchmarks.harness.process import peak_rss
from benchmarks.pipeline_speed.runs import Run
from edge_emotion.client import Timing
from edge_emotion.client.network_thread import SubscriberThread
from edge_emotion.config.settings import MqttSettings
from edge_emotion.daemon.camera_stats import STAGES
from edge_emotion.errors import EdgeEmotionError
from edge_emotion.mqtt.local_broker import HOST
from edge_emotion.wire.payloads import read_object
from edge_emotion.wire.topics import Topics

PATIENCE = 60.0
"""Seconds until all cameras are open, and between two ``stats`` messages, at most."""
AGE = "age"
"""Name of a frame's age; the daemon's stats call it latency."""

Stats = Mapping[str, Any]


def measure_cameras(
    cameras: Mapping[str, Mapping[str, Any]], settings: Mapping[str, Any], port: int, *, seconds: float, settle: float
) -> Run:
    """Run the daemon with the local broker at ``port``, and collect its stats for ``seconds`` after ``settle`` seconds.

    Raises EdgeEmotionError if the daemon ends, or if a camera delivers nothing.
    """
    mqtt = {"host": HOST, "port": port, "stats_interval": 1}
    broker = MqttSettings.model_validate(mqtt)
    link = SubscriberThread(
        broker, "edge-emotion-benchmark", [Topics(broker.prefix, NODE).stats], keep=0, timing=Timing()
    )
    with ExitStack() as stack:
        link.open()
        stack.callback(link.close)
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        daemon = stack.enter_context(running_daemon(folder, {**settings, "cameras": dict(cameras), "mqtt": mqtt}))
        reports = _reports(link, daemon)
        _await_online(reports, daemon)
        settled, ended = time.monotonic() + settle, 0.0
        counted: list[Stats] = []
        while sum(one["interval"] for one in counted) < seconds:
            report, ended = next(reports), time.monotonic()
            if ended - report["interval"] >= settled:
                counted.append(report)
        rss = peak_rss(daemon.process.pid)
    waiting = all(camera.get("realtime") is False for camera in cameras.values())
    return run_from_stats(counted, ended=ended, rss=rss, waiting=waiting)


def run_from_stats(reports: Sequence[Stats], *, ended: float, rss: float, waiting: bool) -> Run:
    """A run from the stats messages of one daemon; ``rss``: peak in MiB; ``fps``: per camera.

    A frame's age is measured when its events are handed over. Age and stages are medians of each message's quantiles.
    ``waiting``: recordings that wait for the daemon; they have no age and lose no frame, and their stages are measured
    on one core instead. Raises EdgeEmotionError if no frame was processed.
    """
    rows = [(report["interval"], camera) for report in reports for camera in report["cameras"].values()]
    seconds = sum(report["interval"] for report in reports)
    frames, captured, dropped = (
        sum(interval * camera[f"{name}_fps"] for interval, camera in rows)
        for name in ("processed", "capture", "dropped")
    )
    if frames < 1 or captured < 1:
        raise EdgeEmotionError("the daemon has processed no frame")
    cpu = sum(report["interval"] * report["machine"]["cpu_percent"] / 100 for report in reports)
    figures = {
        "fps": frames / sum(interval for interval, _ in rows),
        "CPU": 100 * cpu / seconds,
        "CPU/frame": 1000 * cpu / frames,
        "peak RSS": rss,
    }
    stages = {}
    if not waiting:
        known = [camera["stages_ms"] for _, camera in rows if camera["stages_ms"]]
        for stage in STAGES:
            name = AGE if stage == "latency" else stage
            stages[name] = {quantile: median(one[stage][quantile] for one in known) for quantile in ("p50", "p90")}
        figures["dropped"] = 100 * dropped / captured
    return Run(
        stages=stages,
        figures=figures,
        n=round(frames),
        began=ended - seconds,
        ended=ended,
        drift=drift([slow for report in reports if (slow := _slowness(report, waiting))]),
    )


def _slowness(report: Stats, waiting: bool) -> float | None:
    """Slowness of one message: seconds per frame if frames wait for the daemon, else the age of frames in ms."""
    cameras = [camera for camera in report["cameras"].values() if camera["stages_ms"]]
    if not cameras:
        return None
    if waiting:
        return 1 / float(sum(camera["processed_fps"] for camera in cameras))
    return float(median(camera["stages_ms"]["latency"]["p50"] for camera in cameras))


def _reports(link: SubscriberThread, daemon: DaemonProcess) -> Iterator[Stats]:
    received = time.monotonic()
    while True:
        message = link.get(1.0)
        daemon.check()
        if message is not None:
            received = time.monotonic()
            yield read_object(message.payload)
        elif time.monotonic() - received > PATIENCE:
            raise EdgeEmotionError(f"no stats from the daemon for {PATIENCE:g} s: {daemon.last_log_line}")


def _await_online(reports: Iterator[Stats], daemon: DaemonProcess) -> None:
    for report in reports:
        if all(camera["status"] == "online" for camera in report["cameras"].values()):
            return
        if time.monotonic() - daemon.started > PATIENCE:
            raise EdgeEmotionError(f"a camera is not online after {PATIENCE:g} s: {daemon.last_log_line}")
