"""Databases of a run: DuckDB files, one of each collector, or one PostgreSQL server; counted and read by the judge."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import Any, Protocol

from benchmarks.fleet.judge import Row
from benchmarks.fleet.node import PREFIX, Made
from benchmarks.fleet.servers import START, STOP, Program
from benchmarks.harness.wait import wait_until
from edge_emotion.collect.database import Database, StoreAway
from edge_emotion.collect.duckdb_file import DuckDbFile
from edge_emotion.collect.store import Store
from edge_emotion.errors import BackendUnavailable, SinkError
from edge_emotion.mqtt.local_broker import HOST, free_port

_ROWS = """SELECT node, seq, id, type, emotion, previous, track, extract(epoch FROM received_at)
    FROM emotion_event ORDER BY node, seq, received_at"""
_SUMMED = "SELECT coalesce(sum(starts + changes + ends), 0) FROM emotion_day"
_MISSING = "SELECT coalesce(sum(missing), 0) FROM emotion_gaps"
_COUNT = "SELECT count(*) FROM emotion_event"

Found = tuple[list[Row], int, int]
"""Rows by node, ``seq`` and time, missing numbers by the view ``emotion_gaps``, and the sums of the days."""


class Databases(Protocol):
    """Where the collectors of a run store."""

    def words(self, collector: str) -> list[str]:
        """The options of this collector."""

    def count(self) -> int:
        """Number of rows, as far as they can be read now; never less than before."""

    def read(self) -> Found:
        """Everything, when the collectors have ended. Raises SinkError."""


class Files:
    """A DuckDB file of each collector in ``folder``."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._counts = folder, dict[Path, int]()

    def words(self, collector: str) -> list[str]:
        """See ``Databases``."""
        file = self._folder / f"{collector}.duckdb"
        self._counts[file] = 0
        return ["--duckdb", str(file)]

    def count(self) -> int:
        """See ``Databases``. A file that a collector has open keeps its last count."""
        for file in self._counts:
            found = _count(DuckDbFile(file))
            self._counts[file] = self._counts[file] if found is None else found
        return sum(self._counts.values())

    def read(self) -> Found:
        """See ``Databases``. The files are joined in a new one, with the program's own tables and views."""
        rows: list[Row] = []
        summed = 0
        with closing(DuckDbFile(self._folder / "joined.duckdb")) as joined:
            Store(joined, PREFIX).open()
            for number, file in enumerate(self._counts):
                with_rows, sums = _read(DuckDbFile(file))
                rows += with_rows
                summed += sums
                part = f"part{number}"
                joined.execute(f"ATTACH '{file}' AS {part} (READ_ONLY)")
                joined.execute(f"INSERT INTO emotion_event SELECT * FROM {part}.emotion_event ON CONFLICT DO NOTHING")  # noqa: S608
            gaps = int(joined.execute(_MISSING)[0][0])
        return sorted(rows, key=lambda row: (row.node, row.seq, row.received_at)), gaps, summed


class PostgresServer(Program):
    """One PostgreSQL server of its own; what it has committed survives ``kill`` and ``start``."""

    def __init__(self, folder: Path) -> None:
        """Make the cluster. Raises BackendUnavailable if PostgreSQL is not installed, SinkError."""
        found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
        if not found:
            raise BackendUnavailable(
                "PostgreSQL is not installed: apt-get install --no-install-recommends postgresql, without its service"
            )
        self.port = free_port()
        # It refuses root; as nobody it cannot enter the folder of a benchmark of root.
        self._user: dict[str, Any] = (
            {} if os.getuid() else {"user": "nobody", "group": pwd.getpwnam("nobody").pw_gid, "cwd": "/"}
        )
        self._data = Path(tempfile.mkdtemp(prefix="edge-emotion-postgres-"))
        if self._user:
            shutil.chown(self._data, "nobody")
        words = ["--auth=trust", "--username=fleet", "--encoding=UTF8", "--no-locale", "--no-sync"]
        made = subprocess.run(
            [found[-1], "-D", self._data, *words], capture_output=True, text=True, timeout=START, **self._user
        )
        if made.returncode:
            raise SinkError(f"initdb: {''.join(made.stderr.strip().splitlines()[-1:])}")
        command: list[str | Path] = [found[-1].parent / "postgres", "-D", self._data, "-p", str(self.port)]
        options = [f"listen_addresses={HOST}", "unix_socket_directories="]
        super().__init__("postgres", [*command, *(word for one in options for word in ("-c", one))], folder)

    @property
    def dsn(self) -> str:
        """The connection string."""
        return f"host={HOST} port={self.port} user=fleet dbname=postgres"

    def words(self, collector: str) -> list[str]:
        """See ``Databases``."""
        return ["--postgres", self.dsn]

    def count(self) -> int:
        """See ``Databases``."""
        return _count(self._database()) or 0

    def read(self) -> Found:
        """See ``Databases``."""
        rows, summed = _read(self._database())
        with closing(self._database()) as database:
            return rows, int(database.execute(_MISSING)[0][0]), summed

    def start(self) -> None:
        """Start it; returns when it answers."""
        self._start(**self._user)
        wait_until(self._answers, "PostgreSQL does not answer", patience=START, pause=0.1)

    def stop(self) -> None:
        """End it cleanly, without waiting for its clients."""
        self._signal(signal.SIGINT)
        self.end(time.monotonic() + STOP)

    def kill(self) -> None:
        """End it and its processes at once, without a clean end; SIGKILL would leave them."""
        self._signal(signal.SIGQUIT)
        if self._process is not None:
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(STOP)
        super().kill()

    def remove(self) -> None:
        """End it and delete its files."""
        self.kill()
        shutil.rmtree(self._data, ignore_errors=True)

    def _answers(self) -> bool:
        self.check()
        with closing(self._database()) as database:
            try:
                return bool(database.execute("SELECT 1"))
            except StoreAway:
                return False

    def _database(self) -> Database:
        from edge_emotion.collect.postgres import Postgres

        return Postgres(self.dsn)


def _count(database: Database) -> int | None:
    """Number of events; None while nobody can read them."""
    with closing(database):
        try:
            return int(database.execute(_COUNT)[0][0])
        except StoreAway:
            return None


def _read(database: Database) -> tuple[list[Row], int]:
    with closing(database):
        rows = [_row(row) for row in database.execute(_ROWS)]
        return rows, int(database.execute(_SUMMED)[0][0])


def _row(row: Sequence[Any]) -> Row:
    node, seq, *event, received_at = row
    return Row(node, seq, Made(*event), float(received_at))
