"""The order of a group: the retained one, read with care, and the next one, whose serial is higher."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from edge_emotion.errors import ConfigError, ReleaseRefused
from edge_emotion.fleet.broker import FleetBroker
from edge_emotion.updates.minisign import PublicKey
from edge_emotion.updates.secret_key import SecretKey
from edge_emotion.updates.signed_order import read_order, sign_order
from edge_emotion.wire.model_order import Action, ModelOrder, OrderedRelease
from edge_emotion.wire.topics import order_topic

MOST_AHEAD = 1_000_000
"""Orders by which a node may be ahead of the broker."""


class GroupOrders:
    """Orders of one group, signed with ``key``. ``trusted``: other keys that may have signed the one that is there."""

    def __init__(self, broker: FleetBroker, group: str, key: SecretKey, trusted: Sequence[PublicKey] = ()) -> None:
        self.group, self._broker, self._key = group, broker, key
        self._trusted = [key.public, *trusted]
        self._sent: bytes | None = None

    def current(self) -> ModelOrder | None:
        """The order that is there; None without one. Raises ReleaseRefused if no trusted key has signed it."""
        payload = self._broker.view.orders.get(self.group)
        if payload is None:
            return None
        try:
            return read_order(payload, self._trusted, self.group)
        except ReleaseRefused as error:
            topic = order_topic(self._broker.view.prefix, self.group)
            raise ReleaseRefused(
                f"{topic} holds an order that cannot be trusted: {error}; give --trust FILE if another key of yours "
                f"signed it, else empty it: mosquitto_pub -r -n -t {topic}"
            ) from error

    def required(self) -> ModelOrder:
        """The order that is there. Raises ConfigError without one, ReleaseRefused."""
        order = self.current()
        if order is None:
            self._broker.view.group(self.group)
            raise ConfigError(f"nothing was ordered for group {self.group}: edge-emotion fleet roll-out begins")
        return order

    def give(
        self, action: Action, release: OrderedRelease, *, source: str, percent: float, expires: datetime
    ) -> ModelOrder:
        """Publish the next order. Raises ReleaseRefused, SinkError."""
        order = ModelOrder(
            group=self.group,
            serial=self._highest() + 1,
            action=action,
            release=release,
            source=source,
            percent=percent,
            expires=expires,
        )
        payload = sign_order(order, self._key)
        self._broker.publish(self.group, payload)
        self._sent = payload
        return order

    def change(self, order: ModelOrder, action: Action) -> ModelOrder:
        """Publish ``order`` once more with another action. Raises ReleaseRefused, SinkError."""
        return self.give(action, order.release, source=order.source, percent=order.percent, expires=order.expires)

    def keep(self) -> None:
        """From now on ``replaced`` compares with the order that is there."""
        self._sent = self._broker.view.orders.get(self.group)

    @property
    def replaced(self) -> bool:
        """Whether somebody has published another order since the last one of this program."""
        return self._broker.view.orders.get(self.group) != self._sent

    def _highest(self) -> int:
        """The highest serial that was ordered: a node may know a later one than the broker, which lost it.

        Reports are not signed. Raises ReleaseRefused for one that would use up the serials, which only grow.
        """
        order = self.current()
        ordered = 0 if order is None else order.serial
        found = {node.name: node.report for node in self._broker.view.nodes.values()}
        reported = {name: one.order or 0 for name, one in found.items() if one is not None and one.group == self.group}
        for name, serial in reported.items():
            if serial > ordered + MOST_AHEAD:
                raise ReleaseRefused(
                    f"node {name} reports order {serial}, and the newest one here is {ordered}: somebody else has "
                    f"written that; edge-emotion forget {name} --force removes it"
                )
        return max([ordered, *reported.values()])
