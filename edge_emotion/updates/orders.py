"""Which orders a node accepts, and whether newer ones still arrive."""

from __future__ import annotations

from edge_emotion.errors import ReleaseRefused
from edge_emotion.system.log_limit import LogLimit
from edge_emotion.updates.place import Place
from edge_emotion.updates.progress import Progress, log
from edge_emotion.updates.signed_order import read_order
from edge_emotion.wire.model_order import ModelOrder
from edge_emotion.wire.payloads import format_time


class Orders:
    """The ``newest`` order of the group that was accepted, also before a restart."""

    def __init__(self, place: Place, progress: Progress) -> None:
        self._place, self._progress, self._refusals = place, progress, LogLimit(log)
        self.expired = False
        """Whether the newest order has expired, as of the last ``look``."""
        self.newest = self._kept()

    def checked(self, payload: bytes) -> ModelOrder | None:
        """A newer order; None, with one line in the log, for any other.

        The same one again, which the broker sends at each connection, and an empty payload, a cleared topic, are not
        logged.
        """
        if not payload or payload == self._progress.record.payload.encode("latin-1"):
            return None
        try:
            order = self._read(payload)
            self._require_new(order)
        except ReleaseRefused as error:
            self._refusals.warning("model update: %s", error)
            return None
        return order

    def look(self) -> None:
        """Tell once when the newest order expires."""
        order = self.newest
        expired = order is not None and self._progress.clock() >= order.expires
        if expired == self.expired:
            return
        self.expired = expired
        if order is not None and expired:
            log.warning(
                "model update: order %d has expired on %s and no newer one came: whether there is a newer model is "
                "not known",
                order.serial,
                format_time(order.expires),
            )
        self._progress.on_change()

    def _read(self, payload: bytes) -> ModelOrder:
        return read_order(payload, self._place.keys, self._place.group)

    def _kept(self) -> ModelOrder | None:
        """The order that was accepted before the restart, if its key is still trusted."""
        payload = self._progress.record.payload
        try:
            return self._read(payload.encode("latin-1")) if payload else None
        except ReleaseRefused as error:
            log.warning("model update: the order of before the restart is left: %s", error)
            return None

    def _require_new(self, order: ModelOrder) -> None:
        """Raises ReleaseRefused for an order that is old or has expired."""
        highest = self._progress.record.highest
        if order.serial <= highest:
            raise ReleaseRefused(
                f"order {order.serial} is refused: order {highest} was accepted here before, and serials only grow"
            )
        if self._progress.clock() >= order.expires:
            raise ReleaseRefused(f"order {order.serial} is refused: it has expired on {format_time(order.expires)}")
