"""Threads, signals, watchdog and the order of shutdown around the pipelines."""

from __future__ import annotations

import logging
import signal
import threading
import time
from collections import deque
from collections.abc import Sequence as SequenceOf
from dataclasses import dataclass, field, replace
from types import FrameType

import numpy as np

from edge_emotion.capture import Capture, Status
from edge_emotion.datatypes import CameraState, EmotionEvent, Frame
from edge_emotion.pipeline import Pipeline
from edge_emotion.protocols import EventSink
from edge_emotion.resident import check_resident
from edge_emotion.sequence import Sequence
from edge_emotion.systemd import Watchdog, notify

log = logging.getLogger(__name__)

TICK = 0.2
"""Seconds after which the main loop looks for signals and heartbeats although nothing came."""

STOP_TIMEOUT = 5.0
"""Seconds for all cameras together to give up their devices at a stop."""

KEPT_LATENCIES, KEPT_AGES = 10_000, 1_000


@dataclass
class Camera:
    """One camera in the main loop: its capture thread, its pipeline, what was last published of it."""

    capture: Capture
    pipeline: Pipeline
    status: Status = "opening"
    losses: int = 0
    captured: float = 0.0
    """Monotonic seconds of the last processed frame."""
    state: CameraState | None = None
    state_at: float = 0.0
    ages: deque[float] = field(default_factory=lambda: deque(maxlen=KEPT_AGES))
    """Age of each of the newest frames when its events were handed over, in ms."""

    @property
    def name(self) -> str:
        """The camera's name in topics."""
        return self.capture.name


@dataclass
class Summary:
    """What a run did; ``latencies`` are the newest ones, capture to hand-over of a frame's events, in ms."""

    frames: int = 0
    events: int = 0
    seconds: float = 0.0
    latencies: deque[float] = field(default_factory=lambda: deque(maxlen=KEPT_LATENCIES))

    def __str__(self) -> str:
        if not self.frames:
            return "no frame was processed"
        p50, p90 = np.quantile(self.latencies, (0.5, 0.9))
        fps = self.frames / self.seconds if self.seconds else 0.0
        return (
            f"{self.frames} frames in {self.seconds:.1f} s ({fps:.1f} fps), "
            f"latency p50 {p50:.1f} ms, p90 {p90:.1f} ms, {self.events} events"
        )


class Daemon:
    """Runs until every camera has ended, a signal comes or ``stop`` is called.

    ``heartbeat`` is the time in seconds after which an unchanged state is published again. ``max_rss`` is the memory
    in bytes that the process may hold; None is no limit.
    """

    def __init__(
        self,
        cameras: SequenceOf[Camera],
        sinks: SequenceOf[EventSink],
        changed: threading.Condition,
        sequence: Sequence,
        *,
        heartbeat: float = 60.0,
        max_rss: int | None = None,
    ) -> None:
        self._cameras, self._sinks, self._max_rss = list(cameras), list(sinks), max_rss
        self._changed, self._sequence, self._heartbeat = changed, sequence, heartbeat
        self._stopped = threading.Event()
        self.summary = Summary()

    def stop(self) -> None:
        """End the run soon; may be called from any thread or signal handler."""
        self._stopped.set()

    def run(self) -> Summary:
        """The whole life: start sinks and cameras, process, end every track, deliver, release.

        Raises, after the orderly shutdown, the error of a camera that failed for good, and MemoryLimitReached.
        """
        opened: list[EventSink] = []
        try:
            for sink in self._sinks:
                sink.open()
                opened.append(sink)
            for camera in self._cameras:
                camera.capture.start()
            notify("READY=1")
            self._loop()
        finally:
            notify("STOPPING=1")
            self._shut_down(opened)
        for camera in self._cameras:
            if camera.capture.error is not None:
                raise camera.capture.error
        return self.summary

    def handle_signals(self) -> None:
        """SIGTERM, SIGHUP and SIGINT stop in order; a second Ctrl-C, from somebody impatient, at once."""
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self._on_signal)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if number == signal.SIGINT and self._stopped.is_set():
            signal.default_int_handler(number, frame)
        self._stopped.set()

    def _loop(self) -> None:
        watchdog = Watchdog()
        while not self._stopped.is_set():
            worked = [self._serve(camera) for camera in self._cameras]
            if all(camera.status in ("ended", "failed") for camera in self._cameras):
                return
            # Every frame that waited has been processed. A camera that gives none is no hang of ours as long as it is
            # asked again; a driver that never answers is one that only a new process gets rid of.
            if not any(camera.capture.stuck for camera in self._cameras):
                watchdog.feed()
            if self._max_rss is not None:
                check_resident(self._max_rss)
            if not any(worked):
                with self._changed:
                    self._changed.wait_for(self._has_news, TICK)

    def _has_news(self) -> bool:
        return any(camera.capture.slot.full or camera.capture.status != camera.status for camera in self._cameras)

    def _serve(self, camera: Camera) -> bool:
        """One look at one camera; True if it had a frame."""
        status = camera.capture.status
        if camera.capture.losses != camera.losses:  # lost, and perhaps back already
            camera.losses = camera.capture.losses
            if camera.status == "online":
                self._change_status(camera, "offline")
        frame = camera.capture.slot.take()
        if frame is not None:
            if camera.status != "online":
                self._change_status(camera, "online")
            self._process(camera, frame)
        elif status != camera.status:
            if camera.capture.stuck:
                log.error("camera %s hangs in its driver; if that lasts, systemd's watchdog restarts us", camera.name)
            self._change_status(camera, status)
        self._publish_state(camera)
        return frame is not None

    def _process(self, camera: Camera, frame: Frame) -> None:
        # A recording that is played at the speed of processing has stamps of its own time: there, count from now.
        taken_up = time.monotonic()
        camera.captured = taken_up if camera.capture.lossless else min(frame.timestamp, taken_up)
        self._publish(camera, camera.pipeline.process(frame))
        now = time.monotonic()
        if not self.summary.frames:
            self._began = now
        self.summary.frames += 1
        self.summary.seconds = now - self._began
        age = (now - camera.captured) * 1000
        self.summary.latencies.append(age)
        camera.ages.append(age)

    def _publish(self, camera: Camera, events: SequenceOf[EmotionEvent]) -> None:
        self._sequence.save()  # before: a number that was sent is never given to another event
        for event in events:
            waited = (time.monotonic() - camera.captured) * 1000
            for sink in self._sinks:
                sink.publish(replace(event, latency_ms=waited))
        self.summary.events += len(events)

    def _change_status(self, camera: Camera, status: Status) -> None:
        """Online is said after the first frame; any other status ends what was seen before."""
        camera.status = status
        if status == "online":
            log.info("camera %s is online", camera.name)
        else:
            self._publish(camera, camera.pipeline.finish())
            self._publish_state(camera)
        if status == "failed" and len(self._cameras) > 1:  # the run goes on without it; alone, it ends the run
            log.error("camera %s has failed: %s", camera.name, camera.capture.error)
        for sink in self._sinks:
            sink.camera_available(camera.name, status == "online")

    def _publish_state(self, camera: Camera) -> None:
        """On change, and after each heartbeat."""
        state, now = camera.pipeline.state(), time.monotonic()
        if state is None:
            return
        changed = camera.state is None or _gist(state) != _gist(camera.state)
        if changed or now - camera.state_at >= self._heartbeat:
            camera.state, camera.state_at = state, now
            for sink in self._sinks:
                sink.camera_state(camera.name, state)

    def _shut_down(self, opened: SequenceOf[EventSink]) -> None:
        """Cameras first, so that nothing new comes; then the last events; then the sinks, which deliver them."""
        for camera in self._cameras:
            camera.capture.ask_to_stop()
        deadline = time.monotonic() + STOP_TIMEOUT
        for camera in self._cameras:
            camera.capture.join(deadline - time.monotonic())
        self._sinks = list(opened)
        for camera in self._cameras:
            self._publish(camera, camera.pipeline.finish())
            self._publish_state(camera)
        for sink in opened:
            sink.close()
        self._sequence.close()


def _gist(state: CameraState) -> tuple[object, ...]:
    """What of a state is worth a message when it changes."""
    return state.faces, state.emotion, dict(state.counts)
