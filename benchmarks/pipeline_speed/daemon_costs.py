"""Costs of the daemon on this machine: start, publishing, outbox, an idle scene, its own work."""

from __future__ import annotations

import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Literal

import numpy as np

from benchmarks.harness.daemon_process import DaemonProcess, running_daemon
from benchmarks.harness.defaults import default_detector, default_pipeline
from benchmarks.harness.process import usage
from benchmarks.harness.wait import wait_until
from benchmarks.pipeline_speed.publisher import Publisher
from benchmarks.pipeline_speed.scenes import read_video, write_video
from benchmarks.results.results import Measurement, Result, measured, this_machine
from edge_emotion.cli.demo import CLIP
from edge_emotion.config.settings import CameraSettings, ClassifierSettings, DetectorSettings
from edge_emotion.daemon.camera import Camera
from edge_emotion.daemon.daemon import Daemon
from edge_emotion.datatypes import EmotionEvent, Image
from edge_emotion.errors import BackendUnavailable, EdgeEmotionError
from edge_emotion.factory.cameras import make_capture
from edge_emotion.factory.models import models_of
from edge_emotion.mqtt.local_broker import HOST, find_mosquitto, free_port, mosquitto
from edge_emotion.outbox.event_counter import EventCounter
from edge_emotion.protocols import FloatArray, InferenceBackend, ModelInput
from edge_emotion.sinks.memory import MemorySink

PATIENCE = 60.0
"""Seconds that the daemon may take to its first event, or to open its camera."""
WARM_UP = 5.0
"""Seconds that a scene runs before its CPU time counts."""
UNITS = {"_per_s": "1/s", "_ms": "ms", "_s": "s", "_percent": "%"}
"""End of a cost's name -> its unit."""


def measure_daemon_costs(*, seconds: float, show: Callable[[str], None]) -> Result:
    """Measure every cost, one after the other, continuous ones for ``seconds`` each. ``show`` gets a line per cost.

    Raises BackendUnavailable without mosquitto, EdgeEmotionError if the daemon ends or no event comes.
    """
    executable = find_mosquitto()
    if executable is None:
        raise BackendUnavailable("marks needs a broker: apt install mosquitto")
    machine, costs = this_machine(), dict[str, float]()

    def record(measured: dict[str, float]) -> None:
        costs.update(measured)
        for name, value in measured.items():
            show(f"{name:34}{value:12.3f}")

    with ExitStack() as stack:
        folder, port = Path(stack.enter_context(tempfile.TemporaryDirectory())), free_port()
        stack.enter_context(mosquitto(executable, port))
        record({"start_to_first_event_s": first_event(folder / "start")})
        event = own_work(record)
        record(publishing(event, folder / "publish", port, seconds=seconds))
        record(outbox(event, folder / "outbox", port, seconds=seconds))
        record(scenes(folder, port, seconds=seconds))
    counts = {name: count for name, count in costs.items() if name.endswith("_n")}
    return measured(
        "marks",
        [_measurement(name, value) for name, value in costs.items() if name not in counts],
        machine=machine,
        settings={"seconds": seconds},
        details=counts,
    )


def _measurement(name: str, value: float) -> Measurement:
    """One cost as a measurement; its name ends with its unit, or has none if it is a share."""
    unit = next((unit for ending, unit in UNITS.items() if name.endswith(ending)), "1")
    better: Literal["lower", "higher"] = "higher" if unit == "1/s" else "lower"
    return Measurement(subject=name, metric="mark", unit=unit, better=better, runs=(value,))


def first_event(folder: Path) -> float:
    """Seconds from the start of the process to the first event of the demo clip, played as fast as possible."""
    folder.mkdir()
    lines = folder / "events.jsonl"
    camera = {"source": str(CLIP), "realtime": False, "max_fps": 240}
    with running_daemon(folder, {"cameras": {"clip": camera}, "jsonl": {"path": str(lines)}}) as daemon:

        def event_written() -> bool:
            daemon.check()
            return lines.exists() and lines.stat().st_size > 0

        wait_until(event_written, "no event", patience=PATIENCE, pause=0.002)
        return time.monotonic() - daemon.started


class TimedBackend:
    """Backend that adds up the CPU seconds that the wrapped backend uses in the calling thread."""

    def __init__(self, inner: InferenceBackend) -> None:
        self._inner = inner
        self.name, self.input_shape, self.output_shapes = inner.name, inner.input_shape, inner.output_shapes
        self.seconds = 0.0

    def run(self, batch: ModelInput) -> tuple[FloatArray, ...]:
        """As the wrapped backend."""
        begin = time.thread_time()
        outputs = self._inner.run(batch)
        self.seconds += time.thread_time() - begin
        return outputs

    def close(self) -> None:
        """As the wrapped backend."""
        self._inner.close()


def own_work(record: Callable[[dict[str, float]], None]) -> EmotionEvent:
    """CPU time per frame of the demo clip: decoding, models, and the daemon's own work. Returns the first event.

    Own work is the main thread's time without the models. CPU time, so that other programs on the machine do not count.
    """
    models = models_of(DetectorSettings(), ClassifierSettings())
    finding = [TimedBackend(finder.backend) for finder in models.finders]
    for finder, backend in zip(models.finders, finding, strict=True):
        finder.backend = backend
    classifying = models.classifier.backend = TimedBackend(models.classifier.backend)
    changed, sink, numbers = threading.Condition(), MemorySink(), EventCounter(None)
    pipeline = default_pipeline(models, idle_interval=0, next_seq=numbers)
    settings = CameraSettings(source=str(CLIP), realtime=False, max_fps=240)
    daemon = Daemon([Camera(make_capture("clip", settings, changed), pipeline)], [sink], changed, numbers)
    all_began, main_began = time.process_time(), time.thread_time()
    frames = daemon.run().frames
    all_threads, main = time.process_time() - all_began, time.thread_time() - main_began
    in_models = sum(one.seconds for one in (*finding, classifying))
    record(
        {
            "frame_cpu_ms": 1000 * all_threads / frames,
            "decode_cpu_ms": 1000 * (all_threads - main) / frames,
            "models_cpu_ms": 1000 * in_models / frames,
            "own_work_cpu_ms": 1000 * (main - in_models) / frames,
            "own_work_share": (main - in_models) / all_threads,
        }
    )
    return sink.events[0]


def publishing(
    event: EmotionEvent, folder: Path, port: int, *, seconds: float, rate: float = 100.0
) -> dict[str, float]:
    """Milliseconds that publishing an event blocks the main loop, at ``rate`` events per second to a running broker."""
    with Publisher(event, folder, port) as publisher:
        taken = []
        due = time.monotonic()
        end = due + seconds
        while due < end:
            taken.append(publisher.publish())
            due += 1 / rate
            time.sleep(max(0.0, due - time.monotonic()))
    p50, p99 = np.quantile(taken, (0.5, 0.99)) * 1000
    return {"publish_p50_ms": float(p50), "publish_p99_ms": float(p99), "publish_n": len(taken)}


def outbox(event: EmotionEvent, folder: Path, port: int, *, seconds: float, waiting: int = 500) -> dict[str, float]:
    """Events per second through the outbox, from creation to acknowledgement, at most ``waiting`` of them unsent."""
    with Publisher(event, folder, port) as publisher:
        count, begin = 0, time.monotonic()
        while time.monotonic() - begin < seconds:
            publisher.drain(waiting - 1, pause=0.001)
            publisher.publish()
            count += 1
        publisher.drain(pause=0.001)
        took = time.monotonic() - begin
        if publisher.sink.dropped:
            raise EdgeEmotionError(f"{publisher.sink.dropped} events were dropped")
    return {"outbox_events_per_s": count / took, "outbox_n": count}


def scenes(folder: Path, port: int, *, seconds: float) -> dict[str, float]:
    """CPU of the daemon in % of one core at 15 frames per second, with and without a face in view."""
    cpu = {}
    for name, images in zip(("busy", "idle"), _busy_and_idle(), strict=True):
        place = folder / name
        place.mkdir()
        write_video((images[n % len(images)] for n in range(max(150, len(images)))), place / "scene.mp4", 15)
        cameras = {name: {"source": str(place / "scene.mp4"), "loop": True}}
        with running_daemon(place, {"cameras": cameras, "mqtt": {"host": HOST, "port": port}}) as daemon:
            await_online(daemon)
            time.sleep(WARM_UP)
            before, began = usage(daemon.process.pid).cpu, time.monotonic()
            time.sleep(seconds)
            cpu[name] = 100 * (usage(daemon.process.pid).cpu - before) / (time.monotonic() - began)
            daemon.check()
    return {
        "busy_cpu_percent": cpu["busy"],
        "idle_cpu_percent": cpu["idle"],
        "idle_to_busy": cpu["idle"] / cpu["busy"],
    }


def await_online(daemon: DaemonProcess) -> None:
    """Wait until the camera is open. Raises EdgeEmotionError if the daemon ends, or after PATIENCE seconds."""

    def online() -> bool:
        daemon.check()
        return "is online" in daemon.log

    try:
        wait_until(online, "the camera is not online", patience=PATIENCE, pause=0.05)
    except EdgeEmotionError as error:
        raise EdgeEmotionError(f"{error}: {daemon.last_log_line}") from error


def _busy_and_idle() -> tuple[list[Image], list[Image]]:
    """The frames of the demo clip with a face, and those without."""
    detector = default_detector()
    busy: list[Image] = []
    idle: list[Image] = []
    for image in read_video(CLIP):
        (busy if detector.detect(image) else idle).append(image)
    return busy, idle
