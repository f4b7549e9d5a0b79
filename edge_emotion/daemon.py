"""Threads, signals, watchdog and the order of shutdown around the pipelines."""

from __future__ import annotations

import logging
import os
import queue
import signal
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from collections.abc import Sequence as SequenceOf
from dataclasses import dataclass, field, replace
from types import FrameType

import numpy as np

from edge_emotion.capture import Capture, Status
from edge_emotion.datatypes import CameraState, EmotionEvent, Frame
from edge_emotion.pipeline import Pipeline
from edge_emotion.protocols import EventSink
from edge_emotion.sequence import Sequence
from edge_emotion.stats import CameraMeter
from edge_emotion.systemd import notify

log = logging.getLogger(__name__)

TICK = 0.2
"""Seconds after which the main loop looks for signals and heartbeats although nothing came."""

STOP_TIMEOUT = 5.0
"""Seconds for all cameras together to give up their devices at a stop."""

KEPT_LATENCIES = 10_000


@dataclass
class Camera:
    """One camera in the main loop: its capture thread, its pipeline, what was last published of it.

    A ``disabled`` one is not opened and not looked at.
    """

    capture: Capture
    pipeline: Pipeline
    status: Status = "opening"
    losses: int = 0
    captured: float = 0.0
    """Monotonic seconds of the last processed frame."""
    state: CameraState | None = None
    state_at: float = 0.0
    meter: CameraMeter = field(default_factory=CameraMeter)

    @property
    def name(self) -> str:
        """The camera's name in topics."""
        return self.capture.name

    @property
    def has_news(self) -> bool:
        """True if the main loop should look at it."""
        return self.status != "disabled" and (self.capture.slot.full or self.capture.status != self.status)


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

    ``heartbeat`` is the time in seconds after which an unchanged state is published again. ``cameras`` and
    ``heartbeat`` may change while it runs, in its own thread: out of a ``post``ed job, ``on_turn`` or ``on_hangup``.
    """

    def __init__(
        self,
        cameras: SequenceOf[Camera],
        sinks: SequenceOf[EventSink],
        changed: threading.Condition,
        sequence: Sequence,
        *,
        heartbeat: float = 60.0,
    ) -> None:
        self.cameras, self._sinks = list(cameras), list(sinks)
        self._changed, self._sequence, self.heartbeat = changed, sequence, heartbeat
        self._stopped = threading.Event()
        self._jobs: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._leaving: list[threading.Thread] = []
        self._terminal = sys.stderr is not None and sys.stderr.isatty()
        self.on_turn: Callable[[], None] = lambda: None
        """Called in each turn of the main loop, several times a second."""
        self.on_hangup: Callable[[], None] = self.stop
        """What SIGHUP asks for."""
        self.summary = Summary()

    def stop(self) -> None:
        """End the run soon; may be called from any thread or signal handler."""
        self._stopped.set()

    def post(self, job: Callable[[], None]) -> None:
        """Have the main loop do something soon; from any thread."""
        self._jobs.put(job)
        with self._changed:
            self._changed.notify_all()

    def add(self, camera: Camera) -> None:
        """Serve one more camera; it is opened when a predecessor with its name has released the device."""
        self.cameras.append(camera)
        if camera.status != "disabled":
            self._start(camera)

    def remove(self, camera: Camera) -> None:
        """End its tracks, say that it is offline, give its device back."""
        self.disable(camera)
        self.cameras.remove(camera)

    def disable(self, camera: Camera) -> None:
        """The same, but keep it: ``enable`` brings it back."""
        if camera.status != "disabled":
            self._change_status(camera, "disabled")
            self._leaving = [*(thread for thread in self._leaving if thread.is_alive()), camera.capture.release()]

    def enable(self, camera: Camera, capture: Capture) -> None:
        """Read a disabled camera with a new ``capture``."""
        camera.capture, camera.losses, camera.status = capture, 0, "opening"
        self._start(camera)

    def replace_pipeline(self, camera: Camera, pipeline: Pipeline) -> None:
        """End the camera's tracks and go on with another pipeline."""
        self._end_tracks(camera)
        camera.pipeline = pipeline

    def _end_tracks(self, camera: Camera) -> None:
        self._publish(camera, camera.pipeline.finish())
        self._publish_state(camera)

    def _start(self, camera: Camera) -> None:
        """After the last thread that releases a device for this name; that one waits for those before it."""
        threads = [thread for thread in self._leaving if thread.name == f"release-{camera.name}"]
        camera.capture.start(threads[-1] if threads else None)

    def run(self) -> Summary:
        """The whole life: start sinks and cameras, process, end every track, deliver, release.

        Raises the error of a camera that failed for good, after the orderly shutdown.
        """
        opened: list[EventSink] = []
        try:
            for sink in self._sinks:
                sink.open()
                opened.append(sink)
            for camera in self.cameras:
                if camera.status != "disabled":
                    camera.capture.start()
            notify("READY=1")
            self._loop()
        finally:
            notify("STOPPING=1")
            self._shut_down(opened)
        for camera in self.cameras:
            if camera.capture.error is not None:
                raise camera.capture.error
        return self.summary

    def handle_signals(self) -> None:
        """SIGTERM and SIGINT stop in order; a second Ctrl-C, from somebody impatient, at once.

        SIGHUP does ``on_hangup``; it stops if it means what its name says: the terminal is gone.
        """
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self._on_signal)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if number == signal.SIGINT and self._stopped.is_set():
            signal.default_int_handler(number, frame)
        if number == signal.SIGHUP and not (self._terminal and not os.isatty(2)):
            self._jobs.put(self.on_hangup)  # without a lock: the main loop may hold it; it looks after a TICK
        else:
            self._stopped.set()

    def _loop(self) -> None:
        while not self._stopped.is_set():
            while not self._jobs.empty():
                self._jobs.get()()
            self.on_turn()
            worked = [self._serve(camera) for camera in self.cameras]
            if all(camera.status in ("ended", "failed") for camera in self.cameras):
                return
            # Every frame that waited has been processed. A camera that gives none is no hang of ours: its reads are
            # bounded, and it is opened again.
            notify("WATCHDOG=1")
            if not any(worked):
                with self._changed:
                    self._changed.wait_for(self._has_news, TICK)

    def _has_news(self) -> bool:
        return not self._jobs.empty() or any(camera.has_news for camera in self.cameras)

    def _serve(self, camera: Camera) -> bool:
        """One look at one camera; True if it had a frame."""
        if camera.status == "disabled":
            return False
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
            self._change_status(camera, status)
        self._publish_state(camera)
        return frame is not None

    def _process(self, camera: Camera, frame: Frame) -> None:
        # A recording that is played faster than real time has stamps from the future: then count from now.
        camera.captured = min(frame.timestamp, time.monotonic())
        self._publish(camera, camera.pipeline.process(frame))
        now = time.monotonic()
        if not self.summary.frames:
            self._began = now
        self.summary.frames += 1
        self.summary.seconds = now - self._began
        self.summary.latencies.append((now - camera.captured) * 1000)
        camera.meter.took(camera.pipeline.times, now - camera.captured)

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
            self._end_tracks(camera)
        if status == "failed" and len(self.cameras) > 1:  # the run goes on without it; alone, it ends the run
            log.error("camera %s has failed: %s", camera.name, camera.capture.error)
        for sink in self._sinks:
            sink.camera_available(camera.name, status == "online")

    def _publish_state(self, camera: Camera) -> None:
        """On change, and after each heartbeat."""
        state, now = camera.pipeline.state(), time.monotonic()
        if state is None:
            return
        changed = camera.state is None or _gist(state) != _gist(camera.state)
        if changed or now - camera.state_at >= self.heartbeat:
            camera.state, camera.state_at = state, now
            for sink in self._sinks:
                sink.camera_state(camera.name, state)

    def _shut_down(self, opened: SequenceOf[EventSink]) -> None:
        """Cameras first, so that nothing new comes; then the last events; then the sinks, which deliver them."""
        for camera in self.cameras:
            camera.capture.ask_to_stop()
        deadline = time.monotonic() + STOP_TIMEOUT
        for camera in self.cameras:
            camera.capture.join(deadline - time.monotonic())
        for thread in self._leaving:
            thread.join(max(0.0, deadline - time.monotonic()))
        self._sinks = list(opened)
        for camera in self.cameras:
            self._end_tracks(camera)
        for sink in opened:
            sink.close()
        self._sequence.close()


def _gist(state: CameraState) -> tuple[object, ...]:
    """What of a state is worth a message when it changes."""
    return state.faces, state.emotion, dict(state.counts)
