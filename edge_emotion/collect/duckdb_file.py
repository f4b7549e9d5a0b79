"""A DuckDB file: the embedded database, which needs no server."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import duckdb

from edge_emotion.collect.database import RowRefused, StoreAway
from edge_emotion.errors import ConfigError, SinkError


class DuckDbFile:
    """One file, open only while something is stored: DuckDB lets one process at a time have it. See ``Database``."""

    def __init__(self, path: Path) -> None:
        self.name = f"DuckDB file {path}"
        self._path = path
        self._connection: duckdb.DuckDBPyConnection | None = None

    def execute(self, statement: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """See ``Database``."""
        with self._errors():
            done = self._open().execute(statement, list(parameters))
            return done.fetchall() if done.description else []

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """See ``Database``."""
        with self._errors():
            connection = self._open()
            connection.begin()
            try:
                yield
            except BaseException:
                with suppress(duckdb.Error):  # after a fault it is closed, which has rolled back
                    connection.rollback()
                raise
            connection.commit()

    def lock_schema(self) -> None:
        """Nothing: no other process has the file."""

    def adapt_schema(self) -> None:
        """Nothing."""

    def release(self) -> None:
        """Close the file, so that others can read it."""
        self.close()

    def close(self) -> None:
        """See ``Database``."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _open(self) -> duckdb.DuckDBPyConnection:
        if self._connection is None:
            self._connection = duckdb.connect(str(self._path))
            self._connection.execute("SET TimeZone = 'UTC'")
        return self._connection

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except duckdb.Error as error:
            text = " ".join(str(error).split())
            if isinstance(
                error, (duckdb.ConversionException, duckdb.InvalidInputException, duckdb.OutOfRangeException)
            ):
                raise RowRefused(text) from error
            self.close()
            if "not a valid DuckDB database" in text:
                raise ConfigError(f"{self.name}: this is another file, no DuckDB database") from error
            if holder := re.search(r"Could not set lock.*?(\(PID \d+\))?\.? See", text):
                raise StoreAway(f"{self.name} is in use by another process {holder[1] or ''}".rstrip()) from error
            if isinstance(error, duckdb.IOException):
                raise StoreAway(f"{self.name}: {text}") from error
            raise SinkError(f"{self.name}: {text}") from error
