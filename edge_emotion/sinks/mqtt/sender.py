"""The network thread of the MQTT sink: it keeps a connection and publishes what is in the send queue."""

from __future__ import annotations

import logging
import math
import random
import threading
import time
from contextlib import closing

from edge_emotion.config.settings import MqttSettings
from edge_emotion.errors import EdgeEmotionError, SinkError
from edge_emotion.mqtt.connection import TICK, UNLIMITED, BrokerLimits, Connection, Refusal
from edge_emotion.mqtt.failover import Failover
from edge_emotion.mqtt.handshake import ConnectFailure, establish
from edge_emotion.mqtt.timing import Timing
from edge_emotion.mqtt.wakeup import Wakeup
from edge_emotion.sinks.mqtt.connection_log import ConnectionLog
from edge_emotion.sinks.mqtt.handlers import IncomingHandlers
from edge_emotion.sinks.mqtt.send_queue import Message, SendQueue
from edge_emotion.system.backoff import Backoff
from edge_emotion.wire.payloads import OFFLINE
from edge_emotion.wire.topics import COMMAND_QOS

_log = logging.getLogger("edge_emotion.sinks.mqtt")


DRAIN_RETRY = 0.25
"""Seconds between attempts to reach the broker while a stop waits for the last events."""

MAX_FAULTS = 5
"""Connections in a row that may be ended by a fault of this program; the next such fault ends the thread."""


class Sender:
    """Runs in its own thread, which alone touches the connection; other threads only read the state and ``stop``.

    What was not acknowledged is sent again by the send queue alone: in order, oldest first, before anything newer. paho
    takes no part in it, because each connection has a client of its own. All connections use one client id, so the
    broker discards what it has not yet read of an old connection before it accepts the next (MQTT 3.1.4-3): an old
    message cannot overtake a new one.
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
        """Why the broker refused the credentials at the last attempt, or why the thread has ended; None otherwise."""
        self.ended: SinkError | None = None
        """Why the thread has ended although nobody stopped it."""
        self.connections = 0
        """Connections that the broker has accepted, since the start."""
        self._turned_at = time.monotonic()
        self._faults = 0
        self._settings, self._client_id, self._will = settings, client_id, will
        self._send_queue, self._outbox = send_queue, send_queue.outbox
        self._timing, self._handlers = timing, handlers
        self._failover = Failover(settings, timing)
        self._wakeup = Wakeup()
        self._stop = threading.Event()
        self._end_delay = threading.Event()
        self._deadline = math.inf
        self._finished = False
        self._limits: dict[str, BrokerLimits] = {}
        """Address of a broker -> its limits, as far as known."""
        self._republish_at = math.inf
        self._in_flight: dict[int, Message] = {}
        self._last_acknowledged = 0.0
        self._publish_retry = Backoff(timing.first_retry, timing.longest_retry)
        self._resume_at: float | None = None
        """While the broker refuses messages for the moment: when to publish them again."""
        self._refused_retained: list[Message] = []
        self.log = ConnectionLog(self._failover.name)
        """What was logged about the connection."""

    def run(self) -> None:
        """Until ``stop``, or until something ends it that another attempt would not mend: see ``ended``."""
        self._send_queue.attach(self._wakeup)
        try:
            self._keep_connected()
        except BaseException as error:  # noqa: BLE001 - a thread that ends unseen leaves the node mute
            self.failure = f"{self.log.broker}: the network thread has ended: {type(error).__name__}: {error}"
            self.ended = SinkError(self.failure)
            _log.debug("traceback of this error", exc_info=True)
        finally:
            self._wakeup.close()

    @property
    def hangs(self) -> bool:
        """True if the thread has not come back from a call for longer than ``Timing.turn``."""
        return time.monotonic() - self._turned_at > self._timing.turn

    def stop(self, deadline: float) -> None:
        """Deliver events until ``deadline`` (monotonic), publish offline, end. From any thread; returns at once."""
        self._deadline = deadline
        self._stop.set()
        self._end_delay.set()
        self._wakeup.set()

    @property
    def stopping(self) -> bool:
        """True after ``stop``."""
        return self._stop.is_set()

    def retry_now(self) -> None:
        """End the delay before the next attempt to connect. From any thread."""
        self._end_delay.set()

    def republish_soon(self) -> None:
        """Publish everything retained again after a random delay. Only from ``IncomingHandlers.on_message``."""
        self._republish_at = min(self._republish_at, time.monotonic() + self._timing.birth * random.uniform(0.2, 1))

    def _keep_connected(self) -> None:
        login_retry = Backoff(self._timing.first_login_retry, self._timing.longest_login_retry)
        while not self._finished and self._remaining() > 0:
            last = self._stop.is_set() and not len(self._outbox)
            self._end_delay.clear()
            self._turn()
            delay = self._failover.advance(self._attempt())
            if self.failure is None:
                login_retry.reset()
            elif self._failover.all_failed:
                delay = login_retry.next()
            if last or (self._stop.is_set() and self.failure is not None):
                return
            if self._stop.is_set():  # only the drain time is left: no long delays any more
                time.sleep(max(0.0, min(DRAIN_RETRY, self._remaining())))
            elif self._delay(delay):
                self._failover.reset()
                login_retry.reset()
            self.log.broker = self._failover.name

    def _delay(self, seconds: float) -> bool:
        """Wait; True if ``stop`` or ``retry_now`` ended it."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            self._turn()
            if self._end_delay.wait(min(left, TICK)):
                return True
        return False

    def _turn(self) -> None:
        self._turned_at = time.monotonic()

    def _attempt(self) -> float:
        """One connection from its beginning to its end. Returns how many seconds it lasted.

        A fault of this program ends the connection, and the thread when that goes on.
        """
        begin = time.monotonic()
        try:
            return self._connect()
        except MemoryError:
            raise
        except Exception as error:
            lasted = time.monotonic() - begin
            self._faults = 1 if lasted > self._timing.steady else self._faults + 1
            if self._faults > MAX_FAULTS:
                raise
            self.log.report_fault(error)
            return lasted

    def _connect(self) -> float:
        """As ``_attempt``. Raises what is a fault of this program."""
        try:
            settings, will = self._failover.settings, (self._will, OFFLINE)
            limits = self._limits.get(settings.address, UNLIMITED)
            connection = Connection(settings, self._client_id, will, limits=limits)
        except (OSError, ValueError, EdgeEmotionError) as error:
            self.failure = None
            self.log.report(logging.WARNING, f"{self.log.broker} is not reachable: {error}; trying again")
            return 0.0
        with closing(connection):
            failure = establish(connection, self._wakeup, self._timing, self._remaining)
            self._limits[settings.address] = connection.limits
            if failure is None:
                return self._use(connection)
            self._report_failure(failure)
            return 0.0

    def _report_failure(self, failure: ConnectFailure) -> None:
        if failure.cause == "credentials":
            self.failure = (
                f"{self.log.broker} {failure.reason}; trying again every few minutes, and at a reload; "
                f"{failure.advice}; until then up to {self._settings.outbox} events wait"
            )
            self.log.report(logging.ERROR, self.failure)
        elif failure.cause != "stopped":
            self.failure = None
            self.log.report(logging.WARNING, f"{self.log.broker} {failure.reason}; trying again; {failure.advice}")

    def _use(self, connection: Connection) -> float:
        self._in_flight.clear()
        self._refused_retained.clear()
        self._resume_at, self._last_acknowledged = None, time.monotonic()
        self._republish_at = math.inf  # everything retained is published now
        if self._handlers.filters:
            connection.subscribe(self._handlers.filters, qos=COMMAND_QOS)
        if self._handlers.retained_filters:
            connection.subscribe(self._handlers.retained_filters, qos=COMMAND_QOS, retained=True)
        self._send_queue.begin_connection()
        self.connected, self.failure = True, None
        self.connections += 1
        self.log.report_connection(connection.limits, self._outbox)
        start = time.monotonic()
        try:
            self._serve(connection)
        finally:
            self.connected = False
        if not self._finished:
            # A broker of MQTT 3.1.1, and mosquitto 2.0.11 in general, does not report that this was the reason.
            client_id = self._settings.client_id
            twin = f"; is mqtt.client_id {client_id!r} used by another client too?" if client_id else ""
            self.log.report(
                logging.WARNING, f"lost {self.log.broker} ({connection.ended}); events wait; trying again{twin}"
            )
        return time.monotonic() - start

    def _serve(self, connection: Connection) -> None:
        """Until the connection is lost, or until a stop has delivered what it can."""
        while connection.alive and not self._drained():
            now = time.monotonic()
            if now >= self._republish_at:
                self._republish_at = math.inf
                self._send_queue.republish()
            self._exchange(connection, True, min(self._deadline, self._republish_at) - now)
        if connection.alive:
            self._disconnect(connection)

    def _drained(self) -> bool:
        return self._stop.is_set() and (not len(self._outbox) or self._remaining() <= 0)

    def _disconnect(self, connection: Connection) -> None:
        """Publish offline, then end the connection."""
        self._send_queue.set_offline()
        until = time.monotonic() + self._timing.disconnect
        while connection.alive and not self._all_retained_confirmed() and (left := until - time.monotonic()) > 0:
            self._exchange(connection, False, left)
        self._finished = True
        # Without a DISCONNECT the last will publishes offline, if the broker has not acknowledged ours.
        if self._all_retained_confirmed():
            connection.disconnect()

    def _all_retained_confirmed(self) -> bool:
        in_flight = any(message.retain for message in self._in_flight.values())
        return not (in_flight or self._refused_retained or self._send_queue.has_dirty_retained)

    def _exchange(self, connection: Connection, events: bool, timeout: float) -> None:
        """Publish what the window allows, wait for the network or a wakeup, process what was received."""
        self._turn()
        now = time.monotonic()
        if self._resume_at is not None and now >= self._resume_at and not self._in_flight:
            self._send_queue.retry(self._refused_retained)
            self._refused_retained.clear()
            self._resume_at = None
        if self._resume_at is None:
            self._publish(connection, events)
        elif not self._in_flight:
            timeout = min(timeout, self._resume_at - now)
        connection.step(self._wakeup, timeout)
        acknowledged = connection.take_acknowledged()
        for number, refusal in acknowledged:
            self._confirm(self._in_flight.pop(number), refusal)
        if acknowledged or not self._in_flight:
            self._last_acknowledged = time.monotonic()
        elif time.monotonic() - self._last_acknowledged > self._timing.acknowledge:
            connection.close(f"no acknowledgement within {self._timing.acknowledge:g} s")
        for incoming in connection.take_messages():
            self._handlers.on_message(incoming)

    def _publish(self, connection: Connection, events: bool) -> None:
        """As many messages as the window allows."""
        while connection.alive and len(self._in_flight) < connection.window:
            retained = {message.topic for message in self._in_flight.values() if message.retain}
            message = self._send_queue.take(retained, events)
            if message is None:
                return
            try:
                number = connection.publish(message.topic, message.payload, message.retain, message.qos)
            except ValueError as error:  # for example a wildcard in the topic
                self.log.report(logging.ERROR, f"{message.topic[:200]!r} cannot be published ({error}): it is left out")
                if message.number is not None:
                    self._outbox.refuse(message.number)
            else:
                self._in_flight[number] = message

    def _confirm(self, message: Message, refusal: Refusal | None) -> None:
        """The broker has acknowledged or refused a message."""
        if refusal is None:
            self._publish_retry.reset()
            if message.number is not None:
                self._outbox.acknowledge(message.number)
            if message.retain:
                self._handlers.on_confirmed(message)
        elif refusal.final:
            self._refuse(message, refusal)
        else:
            self._wait_after(message, refusal)

    def _refuse(self, message: Message, refusal: Refusal) -> None:
        """The broker will never accept this message."""
        if message.number is not None:
            self._outbox.refuse(message.number)
        if not (message.retain and self._handlers.on_refused(message, refusal.reason)):
            self.log.report_refusal(message.topic, refusal)

    def _wait_after(self, message: Message, refusal: Refusal) -> None:
        """The broker refuses this message for the moment: publish nothing for a while, then this and the following."""
        if message.retain:
            self._refused_retained.append(message)
        if self._resume_at is None:
            self._resume_at = time.monotonic() + self._publish_retry.next()
        status = f"{self.log.broker} does not accept messages for the moment ({refusal.reason}); trying again"
        self.log.report(logging.WARNING, status)

    def _remaining(self) -> float:
        return self._deadline - time.monotonic()
