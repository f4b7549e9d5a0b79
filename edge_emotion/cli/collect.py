"""``edge-emotion collect``: events from a broker into PostgreSQL or a DuckDB file, each once."""

from __future__ import annotations

import logging
import socket
import sys
import time
from contextlib import closing
from pathlib import Path

from edge_emotion.cli.interrupts import termination_as_interrupt
from edge_emotion.client import Client
from edge_emotion.collect.collector import BATCH, Collector
from edge_emotion.collect.database import Database
from edge_emotion.collect.store import Store
from edge_emotion.config.settings import MqttSettings
from edge_emotion.errors import BackendUnavailable

_log = logging.getLogger(__name__)


def open_database(postgres: str | None, file: Path, command: str = "collect") -> Database:
    """The database, not yet connected. Raises BackendUnavailable, ConfigError for a wrong connection string."""
    try:
        if postgres is not None:
            from edge_emotion.collect.postgres import Postgres

            return Postgres(postgres)
        from edge_emotion.collect.duckdb_file import DuckDbFile

        return DuckDbFile(file)
    except ImportError as error:
        raise BackendUnavailable(
            f"{command} needs {error.name}: pip install '.[collect]' in the clone, or edge-emotion[collect]"
        ) from error


def collect(
    settings: MqttSettings,
    database: Database,
    *,
    session: str | None,
    group: str | None,
    keep_days: float | None,
    duration: float | None,
) -> int:
    """Store events until Ctrl-C, SIGTERM or the end of ``duration`` seconds; returns 0.

    Raises SinkError if broker or database cannot be reached at the start, ConfigError for tables of a newer version.
    """
    if group is not None and settings.protocol != "5":
        _log.warning("MQTT 3.1.1 has no shared subscriptions: this collector receives all events, with a session")
        group = None
    client = Client(settings, session=session or _session(group), group=group, gaps=False, batch=BATCH, stats=True)
    store = Store(database, settings.prefix)
    collector = Collector(client, store, keep_days=keep_days)
    until = None if duration is None else time.monotonic() + duration
    with closing(store):
        try:
            with termination_as_interrupt():
                store.open()
                with client:
                    collector.run(until)
        except KeyboardInterrupt:  # the usual way to end it
            pass
    counts = collector.counts
    print(
        f"{counts.stored} events stored, {counts.known} came again, {store.refused} refused by the database, "
        f"{client.not_understood} not understood",
        file=sys.stderr,
    )
    return 0


def _session(group: str | None) -> str:
    """One for the only collector, or one for each machine of a group."""
    host = "".join(each if each.isalnum() and each.isascii() else "-" for each in socket.gethostname())
    return "collect" if group is None else f"{group}-{host}"[:64]
