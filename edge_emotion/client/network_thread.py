"""The network side of the client: a thread that keeps a connection and puts received messages into a queue."""

from __future__ import annotations

import logging
import math
import queue
import secrets
import threading
from collections import deque
from collections.abc import Sequence
from contextlib import closing, suppress
from time import monotonic

from edge_emotion.client.connection import WINDOW, ReceivedMessage, SubscriberConnection
from edge_emotion.config.settings import MqttSettings
from edge_emotion.errors import EdgeEmotionError, SinkError
from edge_emotion.mqtt.connection import TICK
from edge_emotion.mqtt.failover import Failover
from edge_emotion.mqtt.handshake import establish, wait_for
from edge_emotion.mqtt.timing import Timing
from edge_emotion.mqtt.wakeup import Wakeup
from edge_emotion.system.backoff import Backoff

_log = logging.getLogger("edge_emotion.client")

QUEUE_LIMIT = 100_000
"""Largest number of messages that wait to be taken; then the oldest are dropped, which shows as a gap."""

SESSION_EXPIRY = 300
"""Seconds for which the broker keeps the session of a client that has lost its connection (MQTT 5 only)."""


SHARE = "$share/"
"""First level of a topic filter whose messages are shared by a group."""


def subscriber_id(session: str | None = None) -> str:
    """The client id of a subscriber with this name of a persistent session; a random one without."""
    return f"edge-emotion-subscriber-{session or secrets.token_hex(4)}"


class SubscriberThread:
    """Keeps a connection to the broker until ``close``. ``open``, ``get``, ``done`` and ``close`` are for its user.

    With ``keep`` seconds above 0 the session survives this object by that time, and a message is acknowledged when its
    user calls ``done``; otherwise as soon as it is in the queue. Then nothing is read from the network while ``window``
    messages wait, so that none has to be dropped.
    """

    def __init__(
        self,
        settings: MqttSettings,
        client_id: str,
        topics: Sequence[str],
        *,
        keep: int,
        timing: Timing,
        window: int = WINDOW,
    ) -> None:
        self.connected = False
        """True from an accepted subscription until the end of that connection."""
        self._client_id, self._topics, self._timing = client_id, topics, timing
        self._keep, self._window = keep, window
        self._failover = Failover(settings, timing)
        self._received: queue.SimpleQueue[ReceivedMessage | None] = queue.SimpleQueue()
        self._done: deque[tuple[SubscriberConnection, int]] = deque()
        self._first_result: queue.SimpleQueue[EdgeEmotionError | None] = queue.SimpleQueue()
        self._wakeup = Wakeup()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="mqtt-subscriber", daemon=True)
        self._logged = ""
        self._login_refused = False
        self._failed: SinkError | None = None

    @property
    def _broker(self) -> str:
        return self._failover.name

    @property
    def waiting(self) -> int:
        """Messages that were received and not yet taken."""
        return self._received.qsize()

    def open(self) -> None:
        """Connect and subscribe. Raises SinkError or ConfigError if that fails; later losses end by themselves."""
        self._thread.start()
        error = self._first_result.get()
        if error is not None:
            raise error

    def get(self, timeout: float | None) -> ReceivedMessage | None:
        """The next message; None if none came for ``timeout`` seconds, and after ``close``.

        Raises SinkError after the last message if the thread has ended by itself.
        """
        try:
            message = self._received.get(timeout=timeout)
        except queue.Empty:
            return None
        if message is None:
            self._received.put(None)  # for the next call
            if self._failed is not None and not self._closing.is_set():
                raise self._failed
        return message

    def done(self, message: ReceivedMessage) -> None:
        """Acknowledge this message. Needed only with ``keep``, harmless without."""
        if self._keep and message.source[1] and not self._closing.is_set():
            self._done.append(message.source)
            self._wakeup.set()

    def close(self) -> None:
        """Acknowledge what is done, disconnect and end; returns within about a second."""
        if not self._closing.is_set():
            self._closing.set()
            self._wakeup.set()
            if self._thread.ident is not None:
                self._thread.join(self._timing.disconnect + 0.5)
            if not self._thread.is_alive():  # it may still wait for a name server
                self._wakeup.close()
            self._received.put(None)

    def _run(self) -> None:
        try:
            self._keep_connected()
        except BaseException as error:  # noqa: BLE001 - a thread that ends unseen leaves its user waiting for ever
            self._failed = SinkError(f"{self._broker}: the network thread has ended: {type(error).__name__}: {error}")
            _log.debug("traceback of this error", exc_info=True)
            self.connected = False
            self._first_result.put(self._failed)
            self._received.put(None)

    def _keep_connected(self) -> None:
        login_retry = Backoff(self._timing.first_login_retry, self._timing.longest_login_retry)
        refusals: list[str] = []
        opened = False
        while not self._closing.is_set():
            lasted = 0.0
            try:
                connection = self._connect()
            except EdgeEmotionError as error:
                refusals.append(str(error))
                if not opened and len(refusals) < self._failover.count:
                    self._failover.advance(0.0)
                    continue  # the next one at once: the caller waits
                if not opened:
                    self._first_result.put(_summed_up(refusals, error))
                    return
                if not self._closing.is_set():
                    self._report(f"{error}; trying again")
            else:
                self.connected = True  # before ``open`` returns
                if not opened:
                    self._first_result.put(None)
                opened = True
                login_retry.reset()
                lasted = self._use(connection)
            delay = self._failover.advance(lasted)
            if self._login_refused and self._failover.all_failed:
                delay = login_retry.next()
            self._closing.wait(delay)

    def _connect(self) -> SubscriberConnection:
        """A connection that is accepted and has subscribed. Raises SinkError or ConfigError."""
        connection = SubscriberConnection(
            self._failover.settings,
            self._client_id,
            self._topics,
            self._deliver,
            expiry=self._keep or SESSION_EXPIRY,
            keep_session=self._keep > 0,
            window=self._window,
        )
        if self._keep:
            connection.set_manual_acknowledgement()
        try:
            failure = establish(connection, self._wakeup, self._timing, self._remaining)
            self._login_refused = failure is not None and failure.cause == "credentials"
            if failure is not None:
                raise SinkError(f"{self._broker} {failure.reason}; {failure.advice}")
            if not connection.limits.shared and any(topic.startswith(SHARE) for topic in self._topics):
                raise SinkError(
                    f"{self._broker} has no shared subscriptions: leave out the group, or use another broker"
                )
            self._subscribe(connection)
        except SinkError:
            connection.close()
            raise
        return connection

    def _subscribe(self, connection: SubscriberConnection) -> None:
        """Raises SinkError if the broker does not accept all topics."""
        connection.request_topics()
        answer = self._timing.answer
        if not wait_for(
            connection, self._wakeup, answer, lambda: connection.subscription_refusal is not None, self._remaining
        ):
            why = connection.ended or f"no answer within {answer:g} s"
            raise SinkError(f"{self._broker} does not answer the subscription ({why}); see the broker's log")
        if connection.subscription_refusal:
            refusal = connection.subscription_refusal
            raise SinkError(f"{self._broker} refused the subscription ({refusal}): check its access rules")

    def _remaining(self) -> float:
        return 0.0 if self._closing.is_set() else math.inf

    def _use(self, connection: SubscriberConnection) -> float:
        """Until the connection is lost or ``close`` is called; returns how many seconds it lasted."""
        start = monotonic()
        if self._logged:
            self._report(f"connected to {self._broker} again")
            self._logged = ""
        with closing(connection):
            while connection.alive and not self._closing.is_set():
                self._step(connection)
                self._acknowledge(connection)
            self.connected = False
            if connection.alive:
                self._acknowledge(connection)
                connection.end(self._timing.disconnect, end_session=not self._keep)
            else:
                twin = f"; is session {self._client_id!r} used by another client, too?" if self._keep else ""
                self._report(f"lost {self._broker} ({connection.ended}); trying again{twin}")
        return monotonic() - start

    def _step(self, connection: SubscriberConnection) -> None:
        """Serve the network, unless as many unacknowledged messages wait as may.

        Brokers of MQTT 5 then send none anyway. If that lasts longer than the keep-alive, the broker ends the
        connection, and sends what is not acknowledged to the next one.
        """
        if self._keep and self.waiting >= self._window:
            self._wakeup.wait(TICK)
        else:
            connection.step(self._wakeup, TICK)

    def _acknowledge(self, connection: SubscriberConnection) -> None:
        """Only messages of this connection: earlier ones are sent again, and their identifiers are used anew."""
        while self._done:
            source, number = self._done.popleft()
            if source is connection:
                connection.acknowledge(number)

    def _deliver(self, message: ReceivedMessage) -> None:
        if self._received.qsize() >= QUEUE_LIMIT:
            with suppress(queue.Empty):
                self._received.get_nowait()
        self._received.put(message)

    def _report(self, text: str) -> None:
        """Log a warning, but not the same one twice in a row."""
        if text != self._logged:
            _log.warning("%s", text)
        self._logged = text


def _summed_up(refusals: Sequence[str], last: EdgeEmotionError) -> EdgeEmotionError:
    """One error for all brokers."""
    return last if len(refusals) == 1 else type(last)(f"none of {len(refusals)} brokers: {' | '.join(refusals)}")
