"""The real daemon on one or more cameras, and what its own ``stats`` say of them."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.harness.daemon_process import NODE, Node, running
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
"""Seconds for all cameras to be read, and at most without stats."""
AGE = "age"
"""Of a frame; the daemon's stats call it latency."""

Stats = Mapping[str, Any]


def measure_cameras(
    cameras: Mapping[str, Mapping[str, Any]], settings: Mapping[str, Any], port: int, *, seconds: float, settle: float
) -> Run:
    """Run the daemon with the broker at ``port`` of this machine, and look at it for ``seconds`` after ``settle``.

    Raises EdgeEmotionError if it ends, or if a camera gives nothing.
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
        node = stack.enter_context(running(folder, {**settings, "cameras": dict(cameras), "mqtt": mqtt}))
        reports = _reports(link, node)
        _await_online(reports, node)
        settled, ended = time.monotonic() + settle, 0.0
        counted: list[Stats] = []
        while sum(one["interval"] for one in counted) < seconds:
            report, ended = next(reports), time.monotonic()
            if ended - report["interval"] >= settled:
                counted.append(report)
        rss = peak_rss(node.process.pid)
    waiting = all(camera.get("realtime") is False for camera in cameras.values())
    return summarise(counted, ended=ended, rss=rss, waiting=waiting)


def summarise(reports: Sequence[Stats], *, ended: float, rss: float, waiting: bool) -> Run:
    """A run from the stats of its seconds; ``rss`` is the peak in MiB, ``fps`` that of one camera.

    The age of a frame is that at the hand-over of its events. It and the stages are medians over the seconds of each
    second's quantiles. Recordings that are ``waiting`` for the daemon have none of these, and lose nothing: how long
    their stages take is measured on one core.
    Raises EdgeEmotionError if no frame was processed.
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
        said = [camera["stages_ms"] for _, camera in rows if camera["stages_ms"]]
        for stage in STAGES:
            name = AGE if stage == "latency" else stage
            stages[name] = {quantile: median(one[stage][quantile] for one in said) for quantile in ("p50", "p90")}
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
    """Of one report: seconds for each frame where frames wait for us, else the age of frames in ms."""
    cameras = [camera for camera in report["cameras"].values() if camera["stages_ms"]]
    if not cameras:
        return None
    if waiting:
        return 1 / float(sum(camera["processed_fps"] for camera in cameras))
    return float(median(camera["stages_ms"]["latency"]["p50"] for camera in cameras))


def _reports(link: SubscriberThread, node: Node) -> Iterator[Stats]:
    heard = time.monotonic()
    while True:
        message = link.get(1.0)
        node.check()
        if message is not None:
            heard = time.monotonic()
            yield read_object(message.payload)
        elif time.monotonic() - heard > PATIENCE:
            raise EdgeEmotionError(f"the daemon has said nothing for {PATIENCE:g} s: {node.last_words}")


def _await_online(reports: Iterator[Stats], node: Node) -> None:
    for report in reports:
        if all(camera["status"] == "online" for camera in report["cameras"].values()):
            return
        if time.monotonic() - node.started > PATIENCE:
            raise EdgeEmotionError(f"a camera is not online after {PATIENCE:g} s: {node.last_words}")
