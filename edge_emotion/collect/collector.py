"""From the broker into the database: batches that are acknowledged when they are committed."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from datetime import datetime, timezone

from edge_emotion.client import Client, EventReceived, StatsReceived
from edge_emotion.collect.database import StoreAway
from edge_emotion.collect.store import Store
from edge_emotion.system.backoff import Backoff

_log = logging.getLogger(__name__)

BATCH = 1000
"""Largest number of events in a transaction."""


@dataclass(frozen=True, slots=True)
class Pace:
    """Times of the collector in seconds."""

    batch: float = 1.0
    """Greatest age of a batch."""
    lull: float = 0.01
    """A batch ends when nothing came for so long: some brokers send no more before these are acknowledged."""
    idle: float = 1.0
    """The database is released when nothing came for so long."""
    first_retry: float = 1.0
    longest_retry: float = 30.0
    """Between attempts to store while the database is away."""
    cleaning: float = 3600.0
    """Between two deletions of old events."""


@dataclass(slots=True)
class Counts:
    """Counts since the start."""

    stored: int = 0
    known: int = 0
    """Events that came again although they were stored."""


class Collector:
    """Takes batches from a client and stores them.

    An event is acknowledged when it is committed, so that whatever ends this process or the database loses none: the
    broker sends it again. While the database is away nothing is taken; the client has ``batch`` as its limit, the
    rest waits at the broker.
    """

    def __init__(
        self, client: Client, store: Store, *, keep_days: float | None = None, pace: Pace | None = None
    ) -> None:
        """``client`` was made with ``batch``. Events are deleted after ``keep_days``; None: never."""
        self.counts = Counts()
        self._client, self._store, self._keep_days, self._pace = client, store, keep_days, pace or Pace()
        self._cleaned_at: float | None = None
        self._away = False
        self._stats: list[StatsReceived] = []

    def run(self, until: float | None = None) -> None:
        """Until ``until`` (monotonic seconds), or for ever. Raises SinkError for what waiting does not mend."""
        while until is None or time.monotonic() < until:
            self._clean()
            batch = self._take()
            if batch or self._stats:
                self._keep(batch)
            else:
                self._store.release()

    def _take(self) -> list[EventReceived]:
        """The next batch; empty if nothing came. Statistics are put beside it."""
        batch: list[EventReceived] = []
        pause, full_at = self._pace.idle, time.monotonic() + self._pace.batch
        while len(batch) + len(self._stats) < BATCH and (not (batch or self._stats) or time.monotonic() < full_at):
            item = self._client.receive(pause)
            if item is None:
                break
            if isinstance(item, EventReceived):
                batch.append(item)
            elif isinstance(item, StatsReceived):
                self._stats.append(item)
            pause = self._pace.lull
        return batch

    def _keep(self, batch: list[EventReceived]) -> None:
        """Store and acknowledge a batch, however long the database is away."""
        retry = Backoff(self._pace.first_retry, self._pace.longest_retry)
        while True:
            try:
                self._store.add_hours(self._stats)
                new = self._store.add(batch) if batch else 0
                break
            except StoreAway as error:
                self._report(error)
                time.sleep(retry.next())
        if self._away:
            self._away = False
            _log.info("the database is back")
        self._client.acknowledge()
        self._stats.clear()
        self.counts.stored += new
        self.counts.known += len(batch) - new

    def _clean(self) -> None:
        """Delete old events, now and then."""
        now = time.monotonic()
        if self._cleaned_at is not None and now - self._cleaned_at < self._pace.cleaning:
            return
        self._cleaned_at = now
        try:
            self._store.keep(self._keep_days, datetime.now(timezone.utc))
        except StoreAway as error:
            self._report(error)

    def _report(self, error: StoreAway) -> None:
        if not self._away:
            _log.warning("%s; the broker keeps further events; trying again", error)
        self._away = True
