"""The network thread of the MQTT sink: it keeps a connection and carries the send_queue to the broker."""

from __future__ import annotations

import logging
import math
import random
import ssl
import threading
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field

from edge_emotion.config.settings import MqttSettings
from edge_emotion.errors import EdgeEmotionError
from edge_emotion.mqtt.connection import Connection, IncomingMessage
from edge_emotion.mqtt.timing import Timing
from edge_emotion.mqtt.wakeup import Wakeup
from edge_emotion.sinks.mqtt.send_queue import Message, SendQueue
from edge_emotion.system.backoff import Backoff
from edge_emotion.wire.payloads import OFFLINE

_log = logging.getLogger("edge_emotion.sinks.mqtt")


FAREWELL_PAUSE = 0.25
"""Seconds between attempts to reach the broker while a stop waits for the last events."""


@dataclass(slots=True)
class IncomingHandlers:
    """What the sender listens to, and whom it tells, in its own thread."""

    filters: list[str] = field(default_factory=list)
    heard: Callable[[IncomingMessage], None] = lambda _message: None
    settled: Callable[[Message], None] = lambda _message: None
    """The broker has taken over a retained message."""


class Sender:
    """Runs in a thread of its own, which alone touches the connection; callers only read the state and ``stop``.

    What was not acknowledged is resent by the send_queue alone: in order, oldest first, before anything newer. paho
    takes no part in it, because each connection has a client of its own. All connections use one client id, so the
    broker drops what it has not yet read of an old one before it accepts the next (MQTT 3.1.4-3): nothing of the
    past can overtake the present.
    """

    def __init__(
        self,
        settings: MqttSettings,
        client_id: str,
        will: str,
        send_queue: SendQueue,
        timing: Timing,
        handlers: IncomingHandlers,
    ) -> None:
        """``will`` is the topic of the node's availability."""
        self.connected = False
        self.failure: str | None = None
        self._settings, self._client_id, self._will = settings, client_id, will
        self._send_queue, self._timing, self._handlers = send_queue, timing, handlers
        self._broker = f"broker {settings.host}:{settings.effective_port}"
        self._wakeup = Wakeup()
        self._stop = threading.Event()
        self._deadline = math.inf
        self._finished = False
        self._repeat_at = math.inf
        self._flying: dict[int, Message] = {}
        self._said: set[str] = set()
        self._refusals: set[str] = set()
        self._expired = 0

    def run(self) -> None:
        """Until ``stop``, or until the broker refuses the credentials."""
        self._send_queue.attach(self._wakeup)
        ended = "the network thread has failed"
        try:
            self._keep_connected()
            ended = ""
        finally:
            self.failure = self.failure or ended or None
            self._send_queue.attach(None)
            self._wakeup.close()

    def stop(self, deadline: float) -> None:
        """Deliver events until ``deadline`` (monotonic), say offline, end. From any thread; returns at once."""
        self._deadline = deadline
        self._stop.set()
        self._send_queue.wake()

    def repeat_soon(self) -> None:
        """Say everything retained again after a random delay. For this thread: out of ``IncomingHandlers.heard``."""
        self._repeat_at = min(self._repeat_at, time.monotonic() + self._timing.birth * random.uniform(0.2, 1))

    def _keep_connected(self) -> None:
        backoff = Backoff(self._timing.first_retry, self._timing.longest_retry)
        while not self._finished and self.failure is None and self._remaining() > 0:
            last = self._stop.is_set() and not len(self._send_queue)
            if self._attempt() > self._timing.steady:
                backoff.reset()
            if last:
                return
            if self._stop.is_set():  # only the drain time is left: no long pauses any more
                time.sleep(max(0.0, min(FAREWELL_PAUSE, self._remaining())))
            else:
                self._stop.wait(backoff.next())

    def _attempt(self) -> float:
        """One connection from its beginning to its end. Returns how many seconds it held."""
        line = self._connect()
        if line is None:
            return 0.0
        with closing(line):
            return self._use(line) if self._is_accepted(line) else 0.0

    def _connect(self) -> Connection | None:
        why = ""
        try:
            line = Connection(self._settings, self._client_id, (self._will, OFFLINE))
            line.connect(max(0.1, min(self._timing.connect, self._remaining())))
        except ssl.SSLCertVerificationError as error:
            why = f"has no certificate that mqtt.tls trusts for {self._settings.host!r} ({error.verify_message})"
        except (OSError, ValueError, EdgeEmotionError) as error:
            why = f"is not reachable ({error})"
        else:
            return line
        self._report(logging.WARNING, f"{self._broker} {why}; trying again")
        return None

    def _is_accepted(self, line: Connection) -> bool:
        patience = min(self._timing.answer, 0.8 * self._settings.keepalive)  # paho ends it after the keep-alive
        until = time.monotonic() + patience
        while line.alive and line.accepted is None and (left := until - time.monotonic()) > 0:
            if self._remaining() <= 0:
                return False
            line.step(self._wakeup, min(left, self._remaining()))
        if line.credentials_refused:
            self._give_up(line.refusal)
        elif line.accepted is False:
            self._report(logging.WARNING, f"{self._broker} refuses the connection ({line.refusal}); trying again")
        elif line.accepted is None:
            why = line.ended or f"no answer within {patience:g} s"
            self._report(logging.WARNING, f"{self._broker} does not let us in ({why}); trying again{self._hint(why)}")
        return bool(line.accepted)

    def _hint(self, why: str) -> str:
        hints = ""
        if self._settings.tls is None:
            hints += "; if it wants TLS, set mqtt.tls"
        if self._settings.protocol == "5" and "ssl" not in why.lower():
            hints += '; if it does not speak MQTT 5, set mqtt.protocol: "3.1.1"'
        return hints

    def _give_up(self, refusal: str) -> None:
        user = self._settings.username
        who = "a client without username" if user is None else f"user {user!r}"
        self.failure = (
            f"{self._broker} refused {who} ({refusal}): correct mqtt.username and mqtt.password or the broker's "
            f"access rules and restart; until then up to {self._settings.outbox} events wait and none is sent"
        )
        self._report(logging.ERROR, self.failure)

    def _use(self, line: Connection) -> float:
        self._flying.clear()
        self._repeat_at = math.inf  # all will be said now
        if self._handlers.filters:
            line.listen(self._handlers.filters)
        expired = self._send_queue.come_online()
        self.connected = True
        self._said.clear()
        self._report(logging.INFO, f"connected to {self._broker}")
        if expired > self._expired:
            _log.warning("%d events waited longer than mqtt.outbox_max_age and were dropped", expired - self._expired)
        self._expired = expired
        start = time.monotonic()
        try:
            self._serve(line)
        finally:
            self.connected = False
        if not self._finished:
            # A broker of MQTT 3.1.1, and mosquitto 2.0.11 in general, does not say that this was the reason.
            twin = self._settings.client_id and f"; is mqtt.client_id {self._client_id!r} used by another client too?"
            self._report(logging.WARNING, f"lost {self._broker} ({line.ended}); events wait; trying again{twin or ''}")
        return time.monotonic() - start

    def _serve(self, line: Connection) -> None:
        """Until the connection is lost, or a stop is asked for and all is said."""
        while line.alive and not self._may_leave():
            now = time.monotonic()
            if now >= self._repeat_at:
                self._repeat_at = math.inf
                self._send_queue.repeat()
            self._turn(line, True, min(self._deadline, self._repeat_at) - now)
        if line.alive:
            self._say_goodbye(line)

    def _may_leave(self) -> bool:
        return self._stop.is_set() and (not len(self._send_queue) or self._remaining() <= 0)

    def _say_goodbye(self, line: Connection) -> None:
        self._send_queue.go_offline()
        until = time.monotonic() + self._timing.farewell
        while line.alive and not self._all_retained() and (left := until - time.monotonic()) > 0:
            self._turn(line, False, left)
        self._finished = True
        # Without a DISCONNECT the last will says offline: better than nothing if the broker took none of this.
        if self._all_retained():
            line.disconnect()

    def _all_retained(self) -> bool:
        return not self._send_queue.unsaid and not any(message.retain for message in self._flying.values())

    def _turn(self, line: Connection, events: bool, timeout: float) -> None:
        """Send what the window allows, wait for the network or the callers, take the acknowledgements."""
        while line.alive and len(self._flying) < line.window:
            busy = {message.topic for message in self._flying.values() if message.retain}
            message = self._send_queue.take(busy, events)
            if message is None:
                break
            self._flying[line.publish(message.topic, message.payload, message.retain, message.qos)] = message
        line.step(self._wakeup, timeout)
        for mid, refusal in line.take_acknowledged():
            self._settle(self._flying.pop(mid), refusal)
        for heard in line.take_heard():
            self._handlers.heard(heard)

    def _settle(self, message: Message, refusal: str | None) -> None:
        if message.number is not None:
            (self._send_queue.refuse if refusal else self._send_queue.acknowledge)(message.number)
        if message.retain and not refusal:
            self._send_queue.settled(message)
            self._handlers.settled(message)
        if refusal and refusal not in self._refusals:
            self._refusals.add(refusal)
            _log.error("%s refuses %s (%s): check its access rules", self._broker, message.topic, refusal)

    def _remaining(self) -> float:
        return self._deadline - time.monotonic()

    def _report(self, level: int, status: str) -> None:
        """Log it unless it was said since the last connection: one line for each change, not one for each retry."""
        if status not in self._said:
            _log.log(level, "%s", status)
        self._said.add(status)
