"""The part of a database that the store needs, and its errors."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

from edge_emotion.errors import SinkError


class StoreAway(SinkError):  # noqa: N818 - the name is clear without Error
    """The database does not answer for the moment, or takes nothing: the same again later may succeed."""


class RowRefused(ValueError):  # noqa: N818 - the name is clear without Error
    """The database can never store these values, for example a text with a NUL character."""


class Database(Protocol):
    """PostgreSQL, or a DuckDB file. For one thread; opened again by itself after StoreAway.

    ``?`` marks a parameter. All methods but ``release`` and ``close`` raise StoreAway, RowRefused, SinkError for
    anything else, and ConfigError for what is no such database.
    """

    @property
    def name(self) -> str:
        """The database in messages, without its password."""

    def execute(self, statement: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Run one statement; its rows, if it has any."""

    def transaction(self) -> AbstractContextManager[None]:
        """Commit at the end of the block, or roll back after an error."""

    def lock_schema(self) -> None:
        """In a transaction: wait until no other process changes the schema."""

    def adapt_schema(self) -> None:
        """In a transaction, after the schema has changed: what only this database can do."""

    def release(self) -> None:
        """There is nothing to store for the moment: others may use the database now."""

    def close(self) -> None:
        """Disconnect; may be called twice."""
