"""The broker that is tried next, when there are several."""

from __future__ import annotations

import random
from collections.abc import Callable

from edge_emotion.config.settings import MqttSettings
from edge_emotion.mqtt.timing import Timing
from edge_emotion.system.backoff import Backoff


class Failover:
    """The current one of the brokers, and the delay before the next attempt to connect. For one thread.

    Brokers are tried in the order of the settings, after the last one the first again. The delay grows when none of
    them has accepted. After a lost connection a random part of ``reconnect_spread`` is added: all clients of a broker
    lose it at the same moment, and must not come to the next one at the same moment.
    """

    def __init__(
        self, settings: MqttSettings, timing: Timing, draw: Callable[[float, float], float] = random.uniform
    ) -> None:
        self._brokers, self._index, self._failed = settings.brokers, 0, 0
        self._steady, self._spread, self._draw = timing.steady, settings.reconnect_spread, draw
        self._between = Backoff(timing.first_retry, timing.first_retry)
        self._retry = Backoff(timing.first_retry, timing.longest_retry)

    @property
    def settings(self) -> MqttSettings:
        """Settings of the current broker."""
        return self._brokers[self._index]

    @property
    def name(self) -> str:
        """The current broker in messages: ``broker localhost:1883``."""
        return f"broker {self.settings.address}"

    @property
    def count(self) -> int:
        """Number of brokers."""
        return len(self._brokers)

    @property
    def all_failed(self) -> bool:
        """True if the last ``advance`` has completed a round through all brokers."""
        return self._failed % self.count == 0

    def advance(self, lasted: float) -> float:
        """Go on to the next broker; returns the delay in seconds before it is tried.

        ``lasted`` is how many seconds the connection to the current one lasted, 0 if it was not accepted.
        """
        if lasted > self._steady:
            self.reset()
        self._index = (self._index + 1) % self.count
        self._failed += 1
        delay = (self._retry if self.all_failed else self._between).next()
        return delay + (self._draw(0.0, self._spread) if lasted else 0.0)

    def reset(self) -> None:
        """Begin again with the shortest delay."""
        self._failed = 0
        self._retry.reset()
