"""A real PostgreSQL server of its own in a folder of its own, on a free loopback port."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import pytest

from support.broker import free_port, wait_until

_FOUND = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
BIN = _FOUND[-1].parent if _FOUND else None
"""Debian's folder of the newest version."""

needs_postgres = pytest.mark.skipif(
    BIN is None, reason="PostgreSQL is not installed: apt-get install --no-install-recommends postgresql"
)


class PostgresServer:
    """One cluster without a login; what is in it survives ``stop``, ``crash`` and ``start``."""

    def __init__(self) -> None:
        assert BIN is not None
        self.port = free_port()
        # PostgreSQL refuses root; as nobody it cannot enter the folders of pytest.
        self._user: dict[str, Any] = (
            {"user": "nobody", "group": pwd.getpwnam("nobody").pw_gid} if not os.getuid() else {}
        )
        self._folder = Path(tempfile.mkdtemp(prefix="edge-emotion-postgres-"))
        if self._user:
            shutil.chown(self._folder, "nobody")
        self._data = self._folder / "data"
        self._process: subprocess.Popen[bytes] | None = None
        options = ["--auth=trust", "--username=tester", "--encoding=UTF8", "--no-locale", "--no-sync"]
        self._run(BIN / "initdb", "-D", self._data, *options)

    @property
    def dsn(self) -> str:
        """The connection string of the database ``postgres``."""
        return f"host=127.0.0.1 port={self.port} user=tester dbname=postgres connect_timeout=5"

    def start(self) -> PostgresServer:
        """Start, unless it runs; returns when it accepts connections."""
        assert BIN is not None
        if self._process is not None:
            return self
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [BIN / "postgres", "-D", self._data, "-p", str(self.port), "-c", "listen_addresses=127.0.0.1",
                 "-c", "unix_socket_directories=", "-c", "fsync=off", "-c", "shared_buffers=16MB"],
                cwd=self._folder, stdout=log, stderr=log, **self._user,
            )  # fmt: skip
        wait_until(self.answers)
        return self

    def answers(self) -> bool:
        """Whether it takes connections."""
        import psycopg

        try:
            psycopg.connect(self.dsn).close()
        except psycopg.OperationalError:
            return False
        return True

    def query(self, statement: str) -> list[tuple[Any, ...]]:
        """Rows of a statement, over a connection of its own."""
        import psycopg

        with psycopg.connect(self.dsn, autocommit=True) as connection:
            cursor = connection.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []

    def stop(self) -> None:
        """End it cleanly, without waiting for its clients."""
        self._end(signal.SIGINT)

    def crash(self) -> None:
        """End it at once; it recovers at the next start."""
        self._end(signal.SIGQUIT)

    def remove(self) -> None:
        """End it and delete everything."""
        self.stop()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _end(self, number: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(number)
            self._process.wait(20)
            self._process = None

    def _run(self, *words: str | Path) -> None:
        subprocess.run(words, check=True, capture_output=True, timeout=60, cwd=self._folder, **self._user)
