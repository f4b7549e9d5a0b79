"""Commands to a running node (features of its cameras, requests, a reload), and its statistics."""

from __future__ import annotations

import logging
import re
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from datetime import datetime, timezone
from functools import partial
from typing import Any, Protocol, TypeVar

from edge_emotion.config.diff import Changes, compare_settings
from edge_emotion.config.settings import Settings
from edge_emotion.daemon.camera import Camera
from edge_emotion.daemon.daemon import Daemon
from edge_emotion.daemon.overrides import CameraOverrides, OverrideStore
from edge_emotion.daemon.reload import Maker, apply_changes, use_classifier
from edge_emotion.errors import EdgeEmotionError
from edge_emotion.models.classifier import EmotionClassifier
from edge_emotion.protocols import ControlChannel, StatusChannel
from edge_emotion.system.backoff import Jitter
from edge_emotion.system.log_limit import LogLimit
from edge_emotion.system.telemetry import Machine
from edge_emotion.wire.payloads import SCHEMA, format_time, read_object, to_json
from edge_emotion.wire.topics import FEATURES, NAME_PATTERN, SetCommand, Topics

log = logging.getLogger(__name__)

MAX_PAYLOAD = 4096
"""Largest payload of a command in bytes; the commands that exist need a hundred."""

MAX_PENDING = 64
"""Most commands that wait for the main loop; more are refused."""

UNDER_WAY = "an examination is under way; ask again when it has answered"


Answer = TypeVar("Answer")


class TooManyCommands(EdgeEmotionError, RuntimeError):  # noqa: N818 - the name is clear without Error
    """The main loop, or an examination, has enough to do; nothing was done."""


class Page(StatusChannel, Protocol):
    """A status channel that the node's info has a part about."""

    def info(self) -> dict[str, Any]:
        """The key ``web`` of the node's info, plain JSON values."""


class Control:
    """Executes commands from the channels in the main loop.

    A command that is wrong, too long or one too many is refused with a line in the log, and the state is unchanged.
    Only ``receive``, ``execute`` and ``examine`` may be called from another thread.
    """

    def __init__(
        self,
        daemon: Daemon,
        maker: Maker,
        settings: Settings,
        features: OverrideStore,
        channels: Sequence[ControlChannel],
        load: Callable[[], Settings],
        examine: Callable[[Settings], dict[str, Any]],
        page: Page | None = None,
        more_info: Callable[[], dict[str, Any]] = dict,
    ) -> None:
        """``load`` reads the settings again; ``examine`` returns the answer to ``request/doctor`` in plain JSON.

        ``page`` shows the status of the node, too, and has its part of the node's info; ``more_info`` has others.
        """
        self.settings = settings
        self._daemon, self._maker, self._features = daemon, maker, features
        self._channels, self._load, self._examine, self._page = channels, load, examine, page
        self._more_info = more_info
        self._shown_on: Sequence[StatusChannel] = channels if page is None else [*channels, page]
        self._topics = Topics(settings.mqtt.prefix if settings.mqtt else "", settings.node)
        self._pending = threading.Semaphore(MAX_PENDING)
        self._refused, self._machine = LogLimit(log), Machine()
        self._examining = threading.Lock()
        self._began = self._reported = time.monotonic()
        self._jitter = Jitter()

    def begin(self) -> None:
        """Publish the features and connect the daemon and the channels to this object."""
        self._daemon.on_turn, self._daemon.on_sighup = self.turn, self.on_sighup
        for channel in self._channels:
            channel.listen(self.receive)
        self._publish_features(self.settings.cameras)
        if self._page is not None:
            self._page.describe(self.info(), list(self.settings.cameras), None)
            self._daemon.post(self.describe)  # for all, when the sinks are open, and it is known whether it is served

    @property
    def broker(self) -> ControlChannel | None:
        """The channel to the broker, if there is one."""
        return next(iter(self._channels), None)

    def execute(self, command: Callable[[], Answer]) -> Future[Answer]:
        """Execute a command in the main loop, for any other thread; the future has its result or error.

        Raises TooManyCommands if MAX_PENDING commands wait already.
        """
        if not self._pending.acquire(blocking=False):
            raise TooManyCommands(f"{MAX_PENDING} commands are waiting already: ask again later")
        answer: Future[Answer] = Future()
        self._daemon.post(partial(self._execute, command, answer))
        return answer

    def _execute(self, command: Callable[[], Answer], answer: Future[Answer]) -> None:
        self._pending.release()
        if answer.set_running_or_notify_cancel():
            try:
                answer.set_result(command())
            except Exception as error:  # noqa: BLE001 - it belongs to whoever has asked
                answer.set_exception(error)

    def receive(self, topic: str, payload: bytes) -> None:
        """Take a message from a network thread; the main loop handles it."""
        if len(payload) > MAX_PAYLOAD:
            self._refused.warning(
                "%.200r: a message of %d bytes is refused, %d are the most", topic, len(payload), MAX_PAYLOAD
            )
        elif not self._pending.acquire(blocking=False):
            self._refused.warning("%.200r: refused, %d messages are waiting already", topic, MAX_PENDING)
        else:
            self._daemon.post(partial(self._take, topic, payload))

    def handle(self, topic: str, payload: bytes) -> None:
        """Execute one command, or log why it is refused. No command can raise: it comes from outside."""
        try:
            command = self._topics.read_command(topic)
            if isinstance(command, SetCommand):
                self.set_feature(command, payload)
            else:
                self._answer(command, payload)
        except (ValueError, EdgeEmotionError) as error:
            self._refused.warning("%.200r: %.200r is refused: %s", topic, payload[:100], error)
        except Exception as error:  # noqa: BLE001
            self._refused.warning(
                "%.200r: %.200r has failed: %s: %s", topic, payload[:100], type(error).__name__, error
            )

    def on_sighup(self) -> None:
        """Reload after SIGHUP; the result is only logged."""
        self._reload_for(lambda **_answer: None)

    def reload(self) -> Changes:
        """Read the settings again and apply what can change while running.

        Raises EdgeEmotionError for settings or cameras that are impossible; then nothing has changed.
        """
        changes = compare_settings(self.settings, self._load())
        apply_changes(changes, self.settings, self._daemon, self._maker, self._features)
        self.settings = changes.settings
        self.describe()
        self._publish_features(self.settings.cameras)
        applied, restart = (", ".join(keys) or "nothing" for keys in (changes.applied, changes.restart))
        log.info("reload: applied %s; needs a restart: %s", applied, restart)
        return changes

    def use_classifier(self, classifier: EmotionClassifier) -> None:
        """Go on with another model, in the main loop. Raises EdgeEmotionError; then nothing has changed."""
        use_classifier(classifier, self.settings, self._daemon, self._maker, self._features)
        self.describe()
        self._publish_features(self.settings.cameras)

    def turn(self) -> None:
        """For each turn of the main loop: store changes by commands; publish statistics each ``stats_interval`` s."""
        self._features.save()
        now = time.monotonic()
        interval = self.settings.stats_interval * self._jitter.factor(self.settings.jitter)
        if self._shown_on and now - self._reported >= interval:
            self._jitter.renew()
            stats = self._stats(now) | ({} if self.broker is None else _delivery(self.broker))
            for channel in self._shown_on:
                channel.report(stats)

    def info(self) -> dict[str, Any]:
        """The payload of the topic ``info``, plain JSON values."""
        page = {} if self._page is None else {"web": self._page.info()}
        return {**self._maker.description(self.settings)[0], **page, **self._more_info()}

    def examine(self) -> dict[str, Any]:
        """The answer to ``request/doctor``; takes seconds, for any thread but that of the main loop.

        Raises TooManyCommands while another examination is under way.
        """
        if not self._examining.acquire(blocking=False):
            raise TooManyCommands(UNDER_WAY)
        try:
            return self._examine(self.settings)
        finally:
            self._examining.release()

    def describe(self) -> None:
        """Publish the node's info, its cameras and its device anew, in the main loop."""
        info, (_, device) = self.info(), self._maker.description(self.settings)
        for channel in self._shown_on:
            channel.describe(info, list(self.settings.cameras), device)

    def _stats(self, now: float) -> dict[str, Any]:
        seconds, self._reported = now - self._reported, now
        return {
            "schema": SCHEMA,
            "ts": format_time(datetime.now(timezone.utc)),
            "uptime": round(now - self._began, 1),
            "interval": round(seconds, 3),
            "cameras": {camera.name: camera.report(seconds) for camera in self._daemon.cameras},
            "machine": self._machine.readings(),
        }

    def _take(self, topic: str, payload: bytes) -> None:
        self._pending.release()
        self.handle(topic, payload)

    def set_feature(self, command: SetCommand, payload: bytes) -> None:
        """Set a feature of a camera, in the main loop.

        Raises ValueError for an impossible value, after publishing the unchanged state, and EdgeEmotionError.
        """
        camera = next((camera for camera in self._daemon.cameras if camera.name == command.camera), None)
        if camera is None:
            raise ValueError("there is no such camera")
        try:
            wanted = self._features[command.camera].with_payload(command.feature, payload, self._maker.labels)
            self._apply(camera, self._features[command.camera], wanted)
            if wanted != self._features[command.camera]:
                self._features[command.camera] = wanted
        finally:
            if command.feature in FEATURES:
                self._publish_features([command.camera])

    def _apply(self, camera: Camera, now: CameraOverrides, wanted: CameraOverrides) -> None:
        if wanted.classes != now.classes:
            self._daemon.replace_pipeline(camera, self._maker.pipeline(self.settings, camera.name, wanted))
        if wanted.threshold != now.threshold:
            camera.pipeline.set_threshold(wanted.threshold_in(self.settings))
        if now.enabled and not wanted.enabled:
            self._daemon.disable(camera)
        if wanted.enabled and not now.enabled:
            self._daemon.enable(camera, self._maker.capture(self.settings, camera.name))

    def _publish_features(self, cameras: Iterable[str]) -> None:
        """Publish the features of these cameras."""
        for camera in cameras:
            for feature, payload in self._features[camera].payloads(self.settings, self._maker.labels).items():
                for channel in self._shown_on:
                    channel.feature_state(camera, feature, payload)

    def _answer(self, command: str, payload: bytes) -> None:
        """Answer a request. Raises ValueError for a name that cannot be part of a topic."""
        if not re.fullmatch(NAME_PATTERN, command):
            raise ValueError("no name of a request")
        reply = partial(self._respond, command, {})
        try:
            request = read_object(payload) if payload else {}
            transaction = {"transaction": request["transaction"]} if "transaction" in request else {}
            to_json(transaction)
        except ValueError as error:
            reply(error=f"expected nothing or a JSON object, with an optional transaction: {error}")
            return
        reply = partial(self._respond, command, transaction)
        if command == "info":
            reply(data=self.info())
        elif command == "reload":
            self._reload_for(reply)
        elif command == "doctor":
            self._examine_for(reply)
        else:
            reply(error="there is no such request; there are info, doctor, reload")

    def _reload_for(self, reply: Callable[..., None]) -> None:
        try:
            reply(data=self.reload().as_dict())
        except Exception as error:  # the file comes from outside, and the node must survive whatever is in it
            reason = str(error) if isinstance(error, EdgeEmotionError) else f"{type(error).__name__}: {error}"
            log.error("reload: %s; the old settings stay", reason)
            log.debug("reload", exc_info=error)
            reply(error=reason)

    def _examine_for(self, reply: Callable[..., None]) -> None:
        if self._examining.locked():
            reply(error=UNDER_WAY)
            return
        threading.Thread(target=_answer_with, args=(self.examine, reply), name="doctor", daemon=True).start()

    def _respond(
        self, command: str, transaction: dict[str, Any], data: dict[str, Any] | None = None, error: str | None = None
    ) -> None:
        answer = {"status": "ok" if error is None else "error", "data": data, "error": error, **transaction}
        for channel in self._channels:
            channel.respond(command, answer)


def _delivery(channel: ControlChannel) -> dict[str, Any]:
    """The part of the statistics about the broker and the events that wait for it."""
    return {
        "outbox": {"depth": channel.waiting, "dropped": channel.dropped, "refused": channel.refused},
        "mqtt": {"connections": channel.connections, "last_failure": channel.last_failure},
    }


def _answer_with(examine: Callable[[], dict[str, Any]], reply: Callable[..., None]) -> None:
    """Send the result of an examination; runs in a thread of its own because it takes seconds."""
    try:
        reply(data=examine())
    except TooManyCommands as error:
        reply(error=str(error))
    except Exception as error:  # every request gets an answer
        log.exception("the examination has failed")
        reply(error=f"the examination has failed: {error}")
