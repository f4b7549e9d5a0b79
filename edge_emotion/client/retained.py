"""The retained topics that a node has left on the broker: found, and emptied."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from contextlib import closing

from edge_emotion.client.connection import ReceivedMessage, SubscriberConnection
from edge_emotion.config.settings import MqttSettings
from edge_emotion.errors import ConfigError, SinkError
from edge_emotion.mqtt.connection import Refusal
from edge_emotion.mqtt.failover import Failover
from edge_emotion.mqtt.handshake import establish, wait_for
from edge_emotion.mqtt.timing import Timing
from edge_emotion.mqtt.wakeup import Wakeup
from edge_emotion.wire.payloads import CLEARED, ONLINE
from edge_emotion.wire.topics import Topics

QUIET = 1.0
"""Seconds without a further retained message after which all have arrived: MQTT does not mark the last one."""

MOST = 10_000
"""Topics at most."""


def forget(settings: MqttSettings, node: str, *, force: bool = False, timing: Timing | None = None) -> list[str]:
    """Empty every retained topic below ``<prefix>/<node>`` and its device in Home Assistant; returns these topics.

    Raises SinkError if the broker cannot be reached or refuses to show or empty a topic. Without ``force`` also if a
    topic is still there afterwards, and ConfigError if the node is online.
    """
    timing = timing or Timing()
    topics = Topics(settings.prefix, node)
    with closing(Wakeup()) as wakeup:
        search = _Search(settings, topics, timing, wakeup)
        found = search.retained()
        if found.get(topics.availability) == ONLINE and not force:
            raise ConfigError(f"node {node} is online: stop it first, or use --force (it publishes all topics again)")
        search.clear(sorted(found))
        left = sorted(search.retained()) if found else []
    if left and not force:  # brokers of MQTT 3.1.1 accept what their access rules forbid
        raise SinkError(
            f"{search.broker} still has {len(left)} of {len(found)} topics ({left[0]}): its access rules forbid "
            "to write them; use the login of a user who may"
        )
    return sorted(found)


class _Search:
    """Finds and empties the retained topics of one node, with a new connection to the broker for each step."""

    def __init__(self, settings: MqttSettings, topics: Topics, timing: Timing, wakeup: Wakeup) -> None:
        self._failover, self._timing, self._wakeup = Failover(settings, timing), timing, wakeup
        device = f"{settings.discovery.prefix}/device/edge-emotion_{topics.node}/config"
        self._filters = [f"{topics.root}/#", device]
        self._found: dict[str, bytes] = {}
        self._last = 0.0

    @property
    def broker(self) -> str:
        """The broker in messages."""
        return self._failover.name

    def retained(self) -> dict[str, bytes]:
        """Retained topics and their payloads. Raises SinkError."""
        self._found.clear()
        with closing(self._connect()) as connection:
            connection.request_topics()
            answer = self._timing.answer
            self._wait(connection, answer, lambda: connection.subscription_refusal is not None)
            if connection.subscription_refusal != "":
                why = connection.subscription_refusal or connection.ended or f"no answer within {answer:g} s"
                raise SinkError(f"{self.broker} refused the subscription ({why}): check its access rules")
            self._last = time.monotonic()
            self._wait(connection, 60.0, lambda: time.monotonic() - self._last > QUIET)
            connection.end(self._timing.disconnect, end_session=True)
        return dict(self._found)

    def clear(self, topics: list[str]) -> None:
        """Empty these topics. Raises SinkError for the first refusal."""
        with closing(self._connect()) as connection:
            for begin in range(0, len(topics), connection.window):
                self._clear_some(connection, topics[begin : begin + connection.window])
            connection.end(self._timing.disconnect, end_session=True)

    def _clear_some(self, connection: SubscriberConnection, topics: list[str]) -> None:
        sent = {connection.publish(topic, CLEARED, retain=True): topic for topic in topics}
        refused: list[tuple[str, Refusal]] = []

        def all_answered() -> bool:
            for number, refusal in connection.take_acknowledged():
                topic = sent.pop(number)
                if refusal is not None:
                    refused.append((topic, refusal))
            return not sent

        if not self._wait(connection, self._timing.answer, all_answered):
            why = connection.ended or f"no acknowledgement within {self._timing.answer:g} s"
            raise SinkError(f"{self.broker} did not accept that {next(iter(sent.values()))} is emptied: {why}")
        if refused:
            topic, refusal = refused[0]
            raise SinkError(
                f"{self.broker} refuses to empty {topic} ({refusal.reason}) and {len(refused) - 1} more: use the login "
                "of a user who may write there"
            )

    def _connect(self) -> SubscriberConnection:
        """To the broker of before; the next one if it does not accept. Raises SinkError with the last reason."""
        client_id = f"edge-emotion-forget-{secrets.token_hex(4)}"
        for left in reversed(range(self._failover.count)):
            connection = SubscriberConnection(self._failover.settings, client_id, self._filters, self._take, expiry=0)
            failure = establish(connection, self._wakeup, self._timing)
            if failure is None:
                break
            connection.close()
            if not left:
                raise SinkError(f"{self.broker} {failure.reason}; {failure.advice}")
            self._failover.advance(0.0)
        return connection

    def _take(self, message: ReceivedMessage) -> None:
        if message.retained and message.payload and len(self._found) < MOST:
            self._found[message.topic] = message.payload
            self._last = time.monotonic()

    def _wait(self, connection: SubscriberConnection, seconds: float, done: Callable[[], bool]) -> bool:
        return wait_for(connection, self._wakeup, seconds, done)
