"""The main loop: frames to pipelines, events to sinks; signals, watchdog, and the order of the shutdown."""

from __future__ import annotations

import logging
import math
import os
import queue
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from types import FrameType

import cv2

from edge_emotion.config.settings import HEARTBEAT
from edge_emotion.daemon.camera import Camera, Summary
from edge_emotion.daemon.capture import Capture, Status
from edge_emotion.daemon.interrupted import interrupted_ends
from edge_emotion.datatypes import CameraState, EmotionEvent, Frame
from edge_emotion.outbox.event_counter import EventCounter
from edge_emotion.pipeline.pipeline import Pipeline
from edge_emotion.protocols import EndingSink, EventSink, WatchedSink
from edge_emotion.system.sd_notify import Watchdog, notify
from edge_emotion.system.telemetry import check_resident

log = logging.getLogger(__name__)

TICK = 0.2
"""Longest wait of the main loop in seconds, after which it checks signals and heartbeats without a new frame."""

JOBS_PER_TURN = 8
"""Most jobs between two turns of the cameras."""

STOP_TIMEOUT = 5.0
"""Seconds for all cameras together to release their devices at a stop."""


class Daemon:
    """Runs until every camera has ended, a signal comes or ``stop`` is called.

    ``heartbeat`` is the time in seconds after which an unchanged state is published again; it varies by the share
    ``jitter``. ``cameras``, ``heartbeat`` and ``jitter`` may change while it runs, in its own thread: from a
    ``post``ed job, ``on_turn`` or ``on_sighup``.
    ``max_rss`` is the limit of the process's resident memory in bytes; None is no limit.
    """

    def __init__(
        self,
        cameras: Sequence[Camera],
        sinks: Sequence[EventSink],
        changed: threading.Condition,
        sequence: EventCounter,
        *,
        heartbeat: float = HEARTBEAT,
        jitter: float = 0.0,
        max_rss: int | None = None,
    ) -> None:
        self.cameras, self._sinks, self._max_rss = list(cameras), list(sinks), max_rss
        self._changed, self._sequence, self.heartbeat, self.jitter = changed, sequence, heartbeat, jitter
        self._stopped = threading.Event()
        self._jobs: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._leaving: list[threading.Thread] = []
        self._hanging = False
        self._terminal = sys.stderr is not None and sys.stderr.isatty()
        self.on_turn: Callable[[], None] = lambda: None
        """Called in each turn of the main loop, several times a second."""
        self.on_sighup: Callable[[], None] = self.stop
        """Called in the main loop after SIGHUP."""
        self.on_frame: list[Callable[[Camera], None]] = []
        """Each is called in the main loop after a frame of a camera was processed."""
        self.on_end: Callable[[bool], None] = lambda _in_order: None
        """Called in the main loop when the run ends, with False if an error ends it; before anything is closed."""
        self.healthy_at = -math.inf
        """Monotonic seconds of the last turn after which the watchdog was fed."""
        self.summary = Summary()

    def stop(self) -> None:
        """End the run soon; may be called from any thread or signal handler."""
        self._stopped.set()

    def post(self, job: Callable[[], None]) -> None:
        """Run a job in the main loop soon; may be called from any thread."""
        self._jobs.put(job)
        with self._changed:
            self._changed.notify_all()

    def add(self, camera: Camera) -> None:
        """Add a camera; it is opened after an earlier one of its name has released the device."""
        self.cameras.append(camera)
        if camera.status != "disabled":
            self._start(camera)

    def remove(self, camera: Camera) -> None:
        """End the camera's tracks, publish that it is offline, release its device."""
        self.disable(camera)
        self.cameras.remove(camera)

    def disable(self, camera: Camera) -> None:
        """As ``remove``, but keep the camera for ``enable``."""
        if camera.status != "disabled":
            self._change_status(camera, "disabled")
            self._leaving = [*(thread for thread in self._leaving if thread.is_alive()), camera.capture.release()]

    def enable(self, camera: Camera, capture: Capture) -> None:
        """Start a disabled camera with a new ``capture``."""
        camera.capture, camera.losses, camera.status = capture, 0, "opening"
        self._start(camera)

    def replace_pipeline(self, camera: Camera, pipeline: Pipeline) -> None:
        """End the camera's tracks and continue with another pipeline."""
        self._end_tracks(camera)
        camera.pipeline = pipeline

    def _end_tracks(self, camera: Camera) -> None:
        self._publish(camera, camera.pipeline.finish())
        self._publish_state(camera)

    def _start(self, camera: Camera) -> None:
        """Start a capture after the last thread that releases this camera's device; that one waits for earlier ones."""
        threads = [thread for thread in self._leaving if thread.name == f"release-{camera.name}"]
        camera.capture.start(threads[-1] if threads else None)

    def run(self) -> Summary:
        """Run from start to stop: open sinks and cameras, process, end every track, deliver, release.

        Raises, after the orderly shutdown, the error of a camera that failed for good, that of a sink that has ended
        (ReaderGone, SinkError) and MemoryLimitReached.
        """
        cv2.setNumThreads(1)  # frames are small, and the other cores are for other cameras
        opened: list[EventSink] = []
        in_order = False
        try:
            for sink in self._sinks:
                sink.open()
                opened.append(sink)
            self._end_interrupted()
            for camera in self.cameras:
                if camera.status != "disabled":
                    camera.capture.start()
            notify("READY=1")
            self._loop()
            in_order = True
        finally:
            notify("STOPPING=1")
            self.on_end(in_order)
            self._shut_down(opened)
        for camera in self.cameras:
            if camera.capture.error is not None:
                raise camera.capture.error
        return self.summary

    def _end_interrupted(self) -> None:
        """End the tracks that were open when the last process was killed."""
        ends = list(interrupted_ends(self._sequence.interrupted(), self._sequence.node, self._sequence))
        if ends:
            log.warning("%d tracks were open when the last process was killed: they are ended now", len(ends))
        self._send(ends)
        self._sequence.ends_are_made()

    def handle_signals(self) -> None:
        """Install the handlers: SIGTERM and SIGINT stop in order, a second SIGINT (Ctrl-C) at once.

        SIGHUP calls ``on_sighup``; it stops the run if the terminal that the run was started from has closed.
        """
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self._on_signal)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if number == signal.SIGINT and self._stopped.is_set():
            signal.default_int_handler(number, frame)
        if number == signal.SIGHUP and not (self._terminal and not os.isatty(2)):
            self._jobs.put(self.on_sighup)  # no lock here: the main loop may hold it; it checks after a TICK
        else:
            self._stopped.set()

    def _loop(self) -> None:
        watchdog = Watchdog()
        while not self._stopped.is_set():
            self._run_jobs()
            self.on_turn()
            _check_readers(self._sinks)
            worked = [self._serve(camera) for camera in self.cameras]
            if all(camera.status in ("ended", "failed") for camera in self.cameras):
                return
            # Every waiting frame has been processed. A camera without frames is no hang of this process while it is
            # retried; a driver call that never returns can only be ended with the process.
            if not any(camera.capture.stuck for camera in self.cameras) and not self._sink_hangs():
                watchdog.feed()
                self.healthy_at = time.monotonic()
            if self._max_rss is not None:
                check_resident(self._max_rss)
            if not any(worked):
                with self._changed:
                    self._changed.wait_for(self._has_news, TICK)

    def _sink_hangs(self) -> bool:
        """True while events cannot leave because a thread of a sink hangs; logged once each time."""
        hangs = any(isinstance(sink, WatchedSink) and sink.hangs for sink in self._sinks)
        if hangs and not self._hanging:
            log.error("a thread that delivers events hangs; if that lasts, systemd's watchdog restarts us")
        self._hanging = hangs
        return hangs

    def _run_jobs(self) -> None:
        """Run waiting jobs, a few at most, so that frames are processed however many commands arrive."""
        for _ in range(min(self._jobs.qsize(), JOBS_PER_TURN)):
            self._jobs.get()()

    def _has_news(self) -> bool:
        return not self._jobs.empty() or any(camera.has_news for camera in self.cameras)

    def _serve(self, camera: Camera) -> bool:
        """Process the new status and frame of one camera; True if there was a frame."""
        if camera.status == "disabled":
            return False
        status = camera.capture.status
        if camera.capture.losses != camera.losses:  # lost, and perhaps reopened already
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
        # The timestamps of a recording that is processed at full speed are not of this clock: count from now.
        taken_up = time.monotonic()
        camera.captured = taken_up if camera.capture.lossless else min(frame.timestamp, taken_up)
        self._publish(camera, camera.pipeline.process(frame))
        now = time.monotonic()
        if not self.summary.frames:
            self._began = now
        self.summary.frames += 1
        self.summary.seconds = now - self._began
        self.summary.latencies.append((now - camera.captured) * 1000)
        camera.meter.add_frame(camera.pipeline.times, now - camera.captured)
        if camera.pipeline.judged:
            camera.histograms.add(camera.pipeline.judged)
        for each in self.on_frame:
            each(camera)

    def _publish(self, camera: Camera, events: Sequence[EmotionEvent]) -> None:
        self._send(replace(event, latency_ms=(time.monotonic() - camera.captured) * 1000) for event in events)

    def _send(self, events: Iterable[EmotionEvent]) -> None:
        """Hand events over to every sink."""
        self._sequence.save()  # first: a number that was sent is never given to another event
        for event in events:
            for sink in self._sinks:
                sink.publish(event)
            self.summary.events += 1

    def _change_status(self, camera: Camera, status: Status) -> None:
        """Publish a new status; any but online (which comes with the first frame) ends the camera's tracks."""
        camera.status = status
        if status == "online":
            log.info("camera %s is online", camera.name)
        else:
            self._end_tracks(camera)
        if status == "failed" and len(self.cameras) > 1:  # the run continues without it; a single camera ends the run
            log.error("camera %s has failed: %s", camera.name, camera.capture.error)
        for sink in self._sinks:
            sink.camera_available(camera.name, status == "online")

    def _publish_state(self, camera: Camera) -> None:
        """Publish the camera's state when it changed, and after each heartbeat."""
        state, now = camera.pipeline.state(), time.monotonic()
        if state is None:
            return
        changed = camera.state is None or _published_values(state) != _published_values(camera.state)
        if changed or now - camera.state_at >= self.heartbeat * camera.jitter.factor(self.jitter):
            camera.state, camera.state_at = state, now
            camera.jitter.renew()
            for sink in self._sinks:
                sink.camera_state(camera.name, state)

    def _shut_down(self, opened: Sequence[EventSink]) -> None:
        """Stop the cameras, then publish the last events, then close the sinks, which deliver them."""
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


def _check_readers(sinks: Sequence[EventSink]) -> None:
    """Raises the error of a sink that has ended."""
    for sink in sinks:
        if isinstance(sink, EndingSink) and sink.ended is not None:
            raise sink.ended


def _published_values(state: CameraState) -> tuple[object, ...]:
    """The part of a state whose change is published at once."""
    return state.faces, state.emotion, dict(state.counts)
