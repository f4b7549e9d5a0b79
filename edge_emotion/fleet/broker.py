"""The connection of a workstation to the broker of a fleet: reports and orders in, orders out."""

from __future__ import annotations

import logging
import secrets
import time

from edge_emotion.client.connection import ReceivedMessage, SubscriberConnection
from edge_emotion.config.settings import MqttSettings
from edge_emotion.errors import SinkError
from edge_emotion.fleet.view import FleetView
from edge_emotion.mqtt.failover import Failover
from edge_emotion.mqtt.handshake import establish, wait_for
from edge_emotion.mqtt.timing import Timing
from edge_emotion.mqtt.wakeup import Wakeup
from edge_emotion.wire.topics import order_topic

QUIET = 1.0
"""Seconds without a further retained message after which all have arrived: MQTT does not mark the last one."""

LONGEST = 120.0
"""Seconds, at most, for all retained messages."""

TIMEOUT = 30.0
"""Seconds for a lost connection to come back when an order is to be published."""

_log = logging.getLogger(__name__)


class FleetBroker:
    """Keeps ``view`` up to date while one of its methods runs. A context manager, for one thread."""

    def __init__(self, settings: MqttSettings, timing: Timing | None = None) -> None:
        self.view = FleetView(settings.prefix)
        self._timing, self._wakeup = timing or Timing(), Wakeup()
        self._failover = Failover(settings, self._timing)
        self._client_id = f"edge-emotion-fleet-{secrets.token_hex(4)}"
        self._last = 0.0
        self._connection: SubscriberConnection | None = None

    def __enter__(self) -> FleetBroker:
        """Connect, and receive all retained messages. Raises SinkError."""
        try:
            for left in reversed(range(self._failover.count)):
                if (failure := self._connect()) is None:
                    break
                if not left:
                    raise SinkError(failure)
                self._failover.advance(0.0)
            self._last, until = time.monotonic(), time.monotonic() + LONGEST
            while time.monotonic() < min(self._last + QUIET, until):
                self.serve(0.1)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        """Disconnect."""
        if self._connection is not None:
            self._connection.end(self._timing.disconnect, end_session=True)
            self._connection = None
        self._wakeup.close()

    def serve(self, seconds: float) -> None:
        """Receive for so many seconds; a lost connection is made again, to the next broker if there are several."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            if self._connection is not None and self._connection.alive:
                self._connection.step(self._wakeup, left)
            else:
                self._reconnect(left)

    def publish(self, group: str, payload: bytes) -> None:
        """Make ``payload`` the retained order of ``group``; returns when the broker has passed it on.

        Raises SinkError if it does not: what was the order before may then be it still.
        """
        until = time.monotonic() + TIMEOUT
        while (connection := self._connected(until)) is not None:
            reason = self._send(connection, group, payload)
            if reason is None:
                return
            if connection.alive:
                raise SinkError(
                    f"{self._failover.name} does not pass on what is published on "
                    f"{order_topic(self.view.prefix, group)} ({reason}): use the login of a user who may write and "
                    "read there, then run it again"
                )
        raise SinkError(f"{self._failover.name}: the connection is lost, and the order may not be sent: run it again")

    def _send(self, connection: SubscriberConnection, group: str, payload: bytes) -> str | None:
        """Publish the order once; the reason if it does not come back."""
        number = connection.publish(order_topic(self.view.prefix, group), payload, retain=True)
        refused: list[str] = []

        def answered() -> bool:
            refused.extend(no.reason for found, no in connection.take_acknowledged() if found == number and no)
            return bool(refused) or self.view.orders.get(group) == payload

        if wait_for(connection, self._wakeup, self._timing.answer, answered) and not refused:
            return None
        return refused[0] if refused else connection.ended or "it does not come back"

    def _connected(self, until: float) -> SubscriberConnection | None:
        """The connection, made again if it is lost; None if that does not succeed until then."""
        while self._connection is None or not self._connection.alive:
            if time.monotonic() > until:
                return None
            self._reconnect(1.0)
        return self._connection

    def _connect(self) -> str | None:
        """To the current broker; the reason if that fails."""
        connection = SubscriberConnection(
            self._failover.settings, self._client_id, self.view.filters, self._take, expiry=0
        )
        failure = establish(connection, self._wakeup, self._timing)
        if failure is not None:
            connection.close()
            return f"{self._failover.name} {failure.reason}; {failure.advice}"
        connection.request_topics()
        answered = wait_for(
            connection, self._wakeup, self._timing.answer, lambda: connection.subscription_refusal is not None
        )
        if not answered or connection.subscription_refusal:
            connection.close()
            why = connection.subscription_refusal or connection.ended or f"no answer within {self._timing.answer:g} s"
            return f"{self._failover.name} refused the subscription ({why}): check its access rules"
        self._connection = connection
        return None

    def _reconnect(self, longest: float) -> None:
        """One attempt, then a pause of at most ``longest`` seconds if it fails."""
        if self._connection is not None:
            _log.warning("%s: the connection is lost (%s); trying again", self._failover.name, self._connection.ended)
            self._connection = None
        if self._connect() is not None:
            time.sleep(min(longest, self._failover.advance(0.0)))

    def _take(self, message: ReceivedMessage) -> None:
        self._last = time.monotonic()
        self.view.take(message.topic, message.payload)
