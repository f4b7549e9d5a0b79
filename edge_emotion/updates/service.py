"""Orders of models in a running daemon: the thread of the updater, and what connects it to the main loop."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from functools import partial
from typing import Any

from edge_emotion.config.settings import Settings
from edge_emotion.daemon.camera import Camera
from edge_emotion.daemon.control import Control
from edge_emotion.daemon.daemon import Daemon
from edge_emotion.errors import ModelError
from edge_emotion.factory.models import Models, models_of
from edge_emotion.models.classifier import EmotionClassifier
from edge_emotion.updates.place import place_of_settings
from edge_emotion.updates.progress import Progress, RunEnded
from edge_emotion.updates.record import RecordFile
from edge_emotion.updates.updater import IDLE, Updater
from edge_emotion.updates.watch import FrameTimes
from edge_emotion.wire.topics import order_topic
from edge_emotion.wire.update_report import report_to_object

log = logging.getLogger(__name__)

SWITCH = 60.0
"""Seconds for the main loop to take another classifier."""


class UpdateService:
    """Follows the orders for the group of the settings, in a thread of its own."""

    def __init__(self, settings: Settings) -> None:
        """Raises ConfigError for keys that cannot be read, ModelError and UnknownModel for the model."""
        self._settings, self._place = settings, place_of_settings(settings)
        self._progress = Progress(RecordFile(settings.state_path / f"{settings.node}.update.json"))
        self._times, self._arrived, self._stopped = FrameTimes(), threading.Event(), threading.Event()
        self._payload: bytes | None = None
        self._lock = threading.Lock()
        self._daemon: Daemon
        self._control: Control
        self._updater = Updater(self._place, self._progress, self, self._times, interrupted=self._interrupted)
        self._thread = threading.Thread(target=self._run, name="model-update", daemon=True)

    def models(self) -> Models:
        """The models of the settings, with the installed release if it can be used. Raises like ``make_models``."""
        self._updater.begin()
        self._updater.mark_running(True)
        try:
            models = models_of(self._settings.detector, self._place.classifier)
        except ModelError as error:
            if not self._updater.cannot_start(error):
                raise
            models = models_of(self._settings.detector, self._place.classifier)
        self._updater.models_are_made()
        return models

    def connect(self, daemon: Daemon, control: Control) -> None:
        """Follow this daemon's orders from the start of its run on."""
        self._daemon, self._control = daemon, control
        daemon.on_frame.append(self._on_frame)
        daemon.on_end = self._end
        self._progress.on_change = lambda: daemon.post(control.describe)
        channel, mqtt = control.broker, self._settings.mqtt
        if channel is not None and mqtt is not None:
            channel.follow(order_topic(mqtt.prefix, self._place.group), self.receive)
        control.describe()
        daemon.post(self._thread.start)

    def info(self) -> dict[str, Any]:
        """The part of the node's info, plain JSON values."""
        return {"model_update": report_to_object(self._updater.report())}

    def receive(self, payload: bytes) -> None:
        """Take an order from a network thread; only the newest one waits."""
        with self._lock:
            self._payload = payload
        self._arrived.set()

    def use(self, classifier: EmotionClassifier) -> None:
        """See ``Node``; TimeoutError if the main loop does not come to it, RunEnded."""
        done: Future[None] = Future()
        self._daemon.post(partial(_run_into, done, partial(self._control.use_classifier, classifier)))
        taken_by = time.monotonic() + SWITCH
        while not (done.running() or done.done()):
            if self._stopped.wait(0.02):
                raise RunEnded
            if time.monotonic() > taken_by and done.cancel():
                classifier.backend.close()
                raise TimeoutError(f"the program did not come to it within {SWITCH:g} s")
        try:
            done.result()
        except Exception:
            classifier.backend.close()
            raise

    def captured(self) -> int:
        """See ``Node``."""
        return sum(camera.capture.frames for camera in list(self._daemon.cameras))

    def _on_frame(self, camera: Camera) -> None:
        self._times.add(camera.pipeline.times, len(camera.pipeline.judged))

    def _interrupted(self) -> bool:
        """Whether the run has ended or a newer order waits; any other message is dropped, and ends no download."""
        with self._lock:
            payload = self._payload
        if payload is not None and not self._updater.is_newer(payload):
            with self._lock:
                self._payload = None if self._payload is payload else self._payload
            payload = None
        return payload is not None or self._stopped.is_set()

    def _run(self) -> None:
        wait = 0.0
        with suppress(RunEnded):
            self._updater.mark_running(True)
        while not self._stopped.is_set():
            try:
                self._take()
                wait = self._updater.step()
            except RunEnded:
                return
            except Exception:
                log.exception("model update: a fault of this program; the model in use stays")
                wait = IDLE
            self._arrived.wait(wait)

    def _take(self) -> None:
        self._arrived.clear()
        with self._lock:
            payload, self._payload = self._payload, None
        if payload is not None:
            self._updater.take(payload)

    def _end(self, in_order: bool) -> None:
        """The run ends: the record is closed first, so that no step after it is kept."""
        self._progress.close(in_order)
        self._stopped.set()
        self._arrived.set()


def _run_into(done: Future[None], job: Callable[[], None]) -> None:
    if done.set_running_or_notify_cancel():
        try:
            job()
        except Exception as error:  # noqa: BLE001 - it belongs to whoever has asked
            done.set_exception(error)
        else:
            done.set_result(None)
