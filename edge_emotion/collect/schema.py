"""The version of the tables, and the steps from each version to the next."""

from __future__ import annotations

from importlib.resources import files

from edge_emotion.collect.database import Database
from edge_emotion.errors import ConfigError

_STEPS = sorted((files("edge_emotion.collect") / "migrations").iterdir(), key=lambda file: file.name)
VERSION = len(_STEPS)
"""The version that this program reads and writes; ``migrations/000N_*.sql`` leads from version N - 1 to N."""

_FOREIGN = (
    "SELECT 1 FROM information_schema.tables WHERE table_name = 'emotion_event' AND table_schema = current_schema()"
)


def upgrade(database: Database, to: int = VERSION) -> int:
    """Bring the tables to version ``to``, with what is in them, and return their version of before, 0 for none.

    All steps are one transaction. Raises ConfigError if the tables are those of a newer program, or of another one.
    """
    with database.transaction():
        database.lock_schema()
        database.execute("CREATE TABLE IF NOT EXISTS emotion_schema (version BIGINT NOT NULL)")
        found = database.execute("SELECT max(version) FROM emotion_schema")[0][0] or 0
        if found > VERSION:
            raise ConfigError(
                f"{database.name} has tables of version {found}, this program supports {VERSION}: install the "
                "edge-emotion that has made them, or a newer one"
            )
        if not found and database.execute(_FOREIGN):
            raise ConfigError(
                f"{database.name} has a table emotion_event of another program, such as Telegraf: use another database"
            )
        for step in range(found, to):
            for statement in statements(_STEPS[step].read_text(encoding="utf-8")):
                database.execute(statement)
            database.execute("INSERT INTO emotion_schema VALUES (?)", [step + 1])
        if found < to:
            database.adapt_schema()
    return int(found)


def require(database: Database) -> None:
    """Raises ConfigError unless the database has the tables of this version; changes nothing."""
    tables = "SELECT 1 FROM information_schema.tables WHERE table_name = 'emotion_schema' AND table_schema = "
    found = 0
    if database.execute(tables + "current_schema()"):
        found = database.execute("SELECT max(version) FROM emotion_schema")[0][0] or 0
    if found < VERSION:
        state = f"tables of version {found}, not {VERSION}" if found else "no tables of edge-emotion collect"
        raise ConfigError(f"{database.name} has {state}: start edge-emotion collect, which makes and upgrades them")
    if found > VERSION:
        raise ConfigError(f"{database.name} has tables of version {found}, this program supports {VERSION}")


def statements(script: str) -> list[str]:
    """The statements of a script without comments; none of ours contains a semicolon in a text."""
    lines = [line for line in script.splitlines() if not line.lstrip().startswith("--")]
    return [part.strip() for part in "\n".join(lines).split(";") if part.strip()]
