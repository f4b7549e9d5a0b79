"""Stores batches of events, each event once."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from edge_emotion.client import EventReceived, StatsReceived
from edge_emotion.collect.database import Database, RowRefused
from edge_emotion.collect.rows import (
    DAY_KEY,
    DAY_SUMS,
    EVENT_COLUMNS,
    HOUR_COLUMNS,
    Key,
    Row,
    columns,
    day_rows,
    event_rows,
    hour_rows,
    key_of,
)
from edge_emotion.collect.schema import upgrade

HOURS_KEPT = timedelta(days=400)
"""Age from which hours of histograms are deleted, except those of a camera's reference month."""

REFERENCE = timedelta(days=30)
"""The reference month of a camera: so long from its first hour on."""

_DELETE_HOURS = """DELETE FROM emotion_hour AS old WHERE hour < ? AND hour > (
    SELECT min(early.hour) + CAST(? AS INTERVAL) FROM emotion_hour AS early
    WHERE early.prefix = old.prefix AND early.node = old.node AND early.camera = old.camera)"""

_log = logging.getLogger(__name__)


class Store:
    """The tables of one database. ``add`` and ``delete_before`` raise like the methods of ``Database``."""

    def __init__(self, database: Database, prefix: str) -> None:
        """``prefix`` is the first part of the topics; nodes of different prefixes are different nodes."""
        self.refused = 0
        """Events that the database can never store."""
        self._database, self._prefix = database, prefix
        self._insert = _insertion("emotion_event", EVENT_COLUMNS) + (
            " ON CONFLICT DO NOTHING RETURNING prefix, node, seq, id"
        )
        sums = [f"{name} = emotion_day.{name} + excluded.{name}" for name in list(DAY_SUMS)[:-1]]
        sums.append("latency_ms_max = greatest(emotion_day.latency_ms_max, excluded.latency_ms_max)")
        self._add_up = _insertion("emotion_day", DAY_KEY | DAY_SUMS) + (
            f" ON CONFLICT ({', '.join(DAY_KEY)}) DO UPDATE SET {', '.join(sums)}"
        )

    def open(self) -> None:
        """Connect, and make or upgrade the tables. Raises SinkError, ConfigError."""
        before = upgrade(self._database)
        _log.info("storing into %s%s", self._database.name, "" if before else ", which had no tables yet")

    def add(self, items: Sequence[EventReceived]) -> int:
        """Store and commit; returns how many of them were new.

        If the database refuses one, they are stored one by one, and the refused ones are logged, counted and left out.
        """
        batch = {key_of(self._prefix, item): item for item in items}
        try:
            return self._add(batch)
        except (RowRefused, UnicodeEncodeError) as error:
            if len(batch) > 1:
                return sum(self.add([item]) for item in batch.values())
            self.refused += 1
            _log.error("event %s of node %s cannot be stored: %s", *next((key.seq, key.node) for key in batch), error)
            return 0

    def delete_before(self, moment: datetime) -> None:
        """Delete events that were received earlier; the sums of their days stay."""
        with self._database.transaction():
            self._database.execute("DELETE FROM emotion_event WHERE received_at < ?", [moment])

    def add_hours(self, items: Sequence[StatsReceived]) -> None:
        """Store the hours in these statistics, each once: the first that came stays."""
        rows = hour_rows(self._prefix, items)
        if rows:
            with self._database.transaction():
                self._run(_insertion("emotion_hour", HOUR_COLUMNS) + " ON CONFLICT DO NOTHING", rows)

    def keep(self, days: float | None, now: datetime) -> None:
        """Delete events that were received more than ``days`` before ``now`` (None: none), and old hours.

        Hours of a camera's first month stay: drift is measured against them.
        """
        if days is not None:
            self.delete_before(now - timedelta(days=days))
        with self._database.transaction():
            self._database.execute(_DELETE_HOURS, [now - HOURS_KEPT, f"{REFERENCE.days} days"])

    def release(self) -> None:
        """There is nothing to store for the moment."""
        self._database.release()

    def close(self) -> None:
        """Disconnect; may be called twice."""
        self._database.close()

    def _add(self, batch: Mapping[Key, EventReceived]) -> int:
        with self._database.transaction():
            stored = [Key(*row) for row in self._run(self._insert, event_rows(dict(batch)))]
            if stored:
                self._run(self._add_up, day_rows((key, batch[key]) for key in stored))
        return len(stored)

    def _run(self, statement: str, rows: list[Row]) -> list[tuple[Any, ...]]:
        return self._database.execute(statement, columns(rows))


def _insertion(table: str, kinds: Mapping[str, str]) -> str:
    """An INSERT whose parameters are one list for each column."""
    values = ", ".join(f"unnest(CAST(? AS {kind}[]))" for kind in kinds.values())
    return f"INSERT INTO {table} ({', '.join(kinds)}) SELECT {values}"
