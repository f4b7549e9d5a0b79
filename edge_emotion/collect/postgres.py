"""PostgreSQL, with TimescaleDB where that is installed, through psycopg."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from edge_emotion.collect.database import RowRefused, StoreAway
from edge_emotion.errors import ConfigError, SinkError

DEFAULTS = {
    "connect_timeout": 10,
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 30_000,
}
"""Words of the connection string that are used unless it has them: a server whose machine is gone is noticed within a
minute (seconds, the last one milliseconds)."""

_LOCK = 0x656D6F74
"""Number of the advisory lock of the schema: two collectors may start at the same moment."""

_AWAY = (psycopg.OperationalError, psycopg.InterfaceError, psycopg.InternalError)
"""The server is away, stops, is full, or is a standby that is read only."""


class Postgres:
    """One connection, made when it is needed. See ``Database``."""

    def __init__(self, dsn: str) -> None:
        """``dsn`` as libpq reads it, a URL or ``key=value`` words. Raises ConfigError, without it: it may be secret."""
        try:
            given = conninfo_to_dict(dsn)
        except psycopg.ProgrammingError:
            raise ConfigError(
                "--postgres: this is no connection string: expected postgresql://USER@HOST/DATABASE, or words such as "
                "host=HOST dbname=DATABASE"
            ) from None
        self._dsn = make_conninfo(dsn, **{key: value for key, value in DEFAULTS.items() if key not in given})
        where = [str(given[key]) for key in ("host", "port", "dbname", "service") if given.get(key)]
        self.name = f"PostgreSQL ({' '.join(where)})" if where else "PostgreSQL"
        self._connection: psycopg.Connection[tuple[Any, ...]] | None = None

    def execute(self, statement: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """See ``Database``."""
        with self._errors():
            cursor = self._open().execute(statement.replace("?", "%s").encode(), parameters or None)
            return cursor.fetchall() if cursor.description else []

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """See ``Database``."""
        with self._errors(), self._open().transaction():
            yield

    def lock_schema(self) -> None:
        """See ``Database``."""
        self.execute("SELECT pg_advisory_xact_lock(?)", [_LOCK])

    def adapt_schema(self) -> None:
        """Indexes by time, which DuckDB needs not; a hypertable, if TimescaleDB is installed in this database."""
        self.execute("CREATE INDEX IF NOT EXISTS emotion_event_ts ON emotion_event (ts)")
        self.execute("CREATE INDEX IF NOT EXISTS emotion_event_received ON emotion_event USING brin (received_at)")
        if self.execute("SELECT to_regclass('emotion_hour')")[0][0]:
            self.execute("CREATE INDEX IF NOT EXISTS emotion_hour_hour ON emotion_hour (hour)")
        if self.execute("SELECT 1 FROM pg_extension WHERE extname = 'timescaledb'"):
            self.execute("SELECT create_hypertable('emotion_event', 'ts', if_not_exists => true, migrate_data => true)")

    def release(self) -> None:
        """Nothing: others can use the database at any time."""

    def close(self) -> None:
        """See ``Database``."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _open(self) -> psycopg.Connection[tuple[Any, ...]]:
        if self._connection is None:
            self._connection = psycopg.connect(self._dsn, autocommit=True, application_name="edge-emotion collect")
        return self._connection

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except _AWAY as error:
            self.close()
            raise StoreAway(f"{self.name}: {_line(error)}") from error
        except psycopg.DataError as error:
            raise RowRefused(_line(error)) from error
        except psycopg.Error as error:
            self.close()
            raise SinkError(f"{self.name}: {_line(error)}") from error


def _line(error: Exception) -> str:
    return " ".join(str(error).split())
