"""The network side of the client: a thread that keeps a connection, subscribes, and puts what comes into an inbox."""

from __future__ import annotations

import logging
import queue
import ssl
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import closing, suppress

from edge_emotion.client.connection import ReceivedMessage, SubscriberConnection
from edge_emotion.config.settings import MqttSettings
from edge_emotion.errors import EdgeEmotionError, SinkError
from edge_emotion.mqtt.connection import TICK
from edge_emotion.mqtt.timing import Timing
from edge_emotion.mqtt.wakeup import Wakeup
from edge_emotion.system.backoff import Backoff

_log = logging.getLogger("edge_emotion.client")

INBOX = 100_000
"""Messages at most that wait to be taken; then the oldest make room, and show as a gap."""

INTERRUPTION = 300
"""Seconds for which the broker keeps what comes for a client that has lost its connection. MQTT 5 only."""


class SubscriberThread:
    """Keeps a connection to the broker until ``close``. ``open``, ``get``, ``done`` and ``close`` are for its user.

    With ``keep`` seconds above 0 the session outlives the link by that time, and the broker forgets a message only
    when its user is ``done`` with it; otherwise as soon as it is in the inbox.
    """

    def __init__(
        self, settings: MqttSettings, client_id: str, topics: Sequence[str], *, keep: int, timing: Timing
    ) -> None:
        self.connected = False
        """True between an accepted subscription and the end of that connection."""
        self._settings, self._client_id, self._topics, self._timing = settings, client_id, topics, timing
        self._keep = keep
        self._broker = f"broker {settings.host}:{settings.effective_port}"
        self._inbox: queue.SimpleQueue[ReceivedMessage | None] = queue.SimpleQueue()
        self._receipts: deque[tuple[SubscriberConnection, int]] = deque()
        self._first_answer: queue.SimpleQueue[EdgeEmotionError | None] = queue.SimpleQueue()
        self._wakeup = Wakeup()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="mqtt-subscriber", daemon=True)
        self._said = ""

    def open(self) -> None:
        """Connect and subscribe. Raises SinkError or ConfigError if that fails; later losses are mended by itself."""
        self._thread.start()
        error = self._first_answer.get()
        if error is not None:
            raise error

    def get(self, timeout: float | None) -> ReceivedMessage | None:
        """The next message; None if none came for ``timeout`` seconds, and after ``close``."""
        try:
            message = self._inbox.get(timeout=timeout)
        except queue.Empty:
            return None
        if message is None:
            self._inbox.put(None)  # for the next one who asks
        return message

    def done(self, message: ReceivedMessage) -> None:
        """The broker may forget this message. Needed only with ``keep``, harmless without."""
        if self._keep and message.receipt[1] and not self._closing.is_set():
            self._receipts.append(message.receipt)
            with suppress(OSError):  # closed by another thread just now
                self._wakeup.set()

    def close(self) -> None:
        """Acknowledge what is done with, say goodbye and end; returns within a second or so."""
        if not self._closing.is_set():
            self._closing.set()
            self._wakeup.set()
            if self._thread.ident is not None:
                self._thread.join(self._timing.farewell + 0.5)
            if not self._thread.is_alive():  # it may still wait for a name server
                self._wakeup.close()
            self._inbox.put(None)

    def _run(self) -> None:
        backoff = Backoff(self._timing.first_retry, self._timing.longest_retry)
        opened = False
        while not self._closing.is_set():
            try:
                line = self._dial()
            except EdgeEmotionError as error:
                if not opened:
                    self._first_answer.put(error)
                    return
                self._say(f"{error}; trying again")
            else:
                if not opened:
                    self._first_answer.put(None)
                opened = True
                if self._use(line) >= self._timing.steady:
                    backoff.reset()
            self._closing.wait(backoff.next())

    def _dial(self) -> SubscriberConnection:
        """A connection that was accepted and has subscribed. Raises SinkError or ConfigError."""
        line = SubscriberConnection(self._settings, self._client_id, self._topics, self._deliver)
        if self._keep:
            line.acknowledge_by_hand()
        try:
            line.open(self._timing.connect, expiry=self._keep or INTERRUPTION)
            self._await(line, lambda: line.accepted is not None)
            if not line.accepted:
                raise SinkError(f"{self._broker} refused the connection: {line.refusal}{_advice(line)}")
            line.subscribe()
            self._await(line, lambda: line.granted is not None)
            if line.granted:
                raise SinkError(f"{self._broker} refused the subscription ({line.granted}): see its access rules")
        except ssl.SSLError as error:
            line.close()
            reason = getattr(error, "verify_message", None) or error.reason or error
            raise SinkError(
                f"{self._broker}: TLS failed: {reason}; did the trusted authority sign its certificate?"
            ) from error
        except (OSError, UnicodeError) as error:
            line.close()
            if isinstance(error, SinkError):
                raise
            raise SinkError(
                f"{self._broker} is not reachable: {error}; is it running, are host and port right?"
            ) from error
        return line

    def _await(self, line: SubscriberConnection, answered: Callable[[], bool]) -> None:
        until = time.monotonic() + self._timing.answer
        while not answered() and not self._closing.is_set():
            left = until - time.monotonic()
            if left <= 0 or not line.alive:
                why = line.ended or f"no answer within {self._timing.answer:g} s"
                raise SinkError(f"{self._broker} refused the connection: {why}; it may want TLS, or protocol 3.1.1")
            line.step(self._wakeup, left)

    def _use(self, line: SubscriberConnection) -> float:
        """Until the connection is lost or the link is closed; returns for how long, seconds."""
        start, self.connected = time.monotonic(), True
        if self._said:
            self._say(f"connected to {self._broker} again")
            self._said = ""
        with closing(line):
            while line.alive and not self._closing.is_set():
                line.step(self._wakeup, TICK)
                self._acknowledge(line)
            self.connected = False
            if line.alive:
                self._acknowledge(line)
                line.leave(self._timing.farewell, forget=not self._keep)
            else:
                twin = f"; is session {self._client_id!r} used by another client, too?" if self._keep else ""
                self._say(f"lost {self._broker} ({line.ended}); trying again{twin}")
        return time.monotonic() - start

    def _acknowledge(self, line: SubscriberConnection) -> None:
        """What came over an earlier connection comes again over this one; its old number may mean another message."""
        while self._receipts:
            source, number = self._receipts.popleft()
            if source is line:
                line.acknowledge(number)

    def _deliver(self, message: ReceivedMessage) -> None:
        if self._inbox.qsize() >= INBOX:
            with suppress(queue.Empty):
                self._inbox.get_nowait()
        self._inbox.put(message)

    def _say(self, text: str) -> None:
        """A warning, but not the same one again and again."""
        if text != self._said:
            _log.warning("%s", text)
        self._said = text


def _advice(line: SubscriberConnection) -> str:
    return "; check user name and password" if line.credentials_refused else ""
