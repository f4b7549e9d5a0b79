"""What is stored, in both databases: each event once, gaps, sums of days, retention, versions."""

from __future__ import annotations

import logging
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from support.paths import ROOT
from support.postgres import PostgresServer, needs_postgres
from support.samples import CAPTURED, event

from edge_emotion.client import EventReceived
from edge_emotion.collect.database import Database, StoreAway
from edge_emotion.collect.duckdb_file import DuckDbFile
from edge_emotion.collect.postgres import Postgres
from edge_emotion.collect.schema import VERSION, upgrade
from edge_emotion.collect.store import Store
from edge_emotion.datatypes import EmotionEvent
from edge_emotion.errors import ConfigError, SinkError

RECEIVED = CAPTURED + timedelta(seconds=1)
TABLES = "emotion_event, emotion_day, emotion_hour, emotion_schema"


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    server = PostgresServer().start()
    yield server
    server.remove()


@pytest.fixture(params=[pytest.param("postgres", marks=needs_postgres), "duckdb"])
def make_database(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], Database]:
    """Makes connections to one empty database."""
    if request.param == "duckdb":
        return lambda: DuckDbFile(tmp_path / "emotions.duckdb")
    server: PostgresServer = request.getfixturevalue("server")
    server.query(f"DROP TABLE IF EXISTS {TABLES} CASCADE")
    return lambda: Postgres(server.dsn)


@pytest.fixture
def database(make_database: Callable[[], Database]) -> Iterator[Database]:
    database = make_database()
    yield database
    database.close()


def received(value: EmotionEvent, seconds: float = 0.0) -> EventReceived:
    return EventReceived(value, "unchecked", 0, RECEIVED + timedelta(seconds=seconds), b"")


def items(*seqs: int, **changes: Any) -> list[EventReceived]:
    return [received(event(seq, **changes), seq / 1000) for seq in seqs]


def store_of(database: Database, prefix: str = "edge-emotion") -> Store:
    store = Store(database, prefix)
    store.open()
    return store


def test_every_field_of_an_event_is_stored(database: Database) -> None:
    value = event(
        7, type="end", zone="door", reason="dark", previous="neutral", replayed=True, emotion="unknown", latency_ms=3.5
    )
    assert store_of(database).add([received(value)]) == 1
    fields = (
        "prefix, node, seq, id, camera, zone, type, emotion, previous, reason, confidence, quality, latency_ms, track, "
        "track_duration, box_x, box_y, box_width, box_height, model, model_version, replayed, "
        "CAST(ts AS TEXT), CAST(received_at AS TEXT), CAST(track_started AS TEXT)"
    )
    database.execute("SET TimeZone = 'UTC'")
    (row,) = database.execute(f"SELECT {fields} FROM emotion_event")
    assert row[:22] == (
        "edge-emotion", "pi5", 7, value.id, "desk", "door", "end", "unknown", "neutral", "dark", 0.93, 0.87, 3.5,
        value.track_id, 0.2, 0.31, 0.22, 0.18, 0.24, "mobilenet_v2", "1.0.0", True,
    )  # fmt: skip
    times = [datetime.fromisoformat(text + ":00" if text[-3] in "+-" else text) for text in row[22:]]
    assert times == [value.ts, RECEIVED, value.track_started]
    question = "SELECT CAST(probabilities ->> 'happiness' AS DOUBLE PRECISION) FROM emotion_event"
    assert database.execute(question) == [(0.93,)]


def test_what_comes_twice_is_stored_once(database: Database) -> None:
    store = store_of(database)
    assert store.add(items(1, 2, 2, 3)) == 3
    assert store.add(items(2, 3, 4)) == 1
    assert store.add([received(replace(event(4), replayed=True))]) == 0
    other = store_of(database, "other")
    assert other.add(items(1, 2)) == 2
    assert database.execute("SELECT prefix, count(*) FROM emotion_event GROUP BY 1 ORDER BY 1") == [
        ("edge-emotion", 4),
        ("other", 2),
    ]


def test_missing_numbers_are_gaps_until_they_come(database: Database) -> None:
    store = store_of(database)
    store.add(items(5, 6, 9, 12))
    store.add(items(1, 2, node="jetson"))
    gaps = "SELECT node, run, first_missing, last_missing, missing FROM emotion_gaps ORDER BY first_missing"
    assert database.execute(gaps) == [("pi5", 1, 7, 8, 2), ("pi5", 1, 10, 11, 2)]
    store.add([received(event(8), 60.0)])
    assert database.execute(gaps) == [("pi5", 1, 7, 7, 1), ("pi5", 1, 10, 11, 2)]
    store.add([received(event(seq), 61.0) for seq in (7, 10, 11)])
    assert database.execute(gaps) == []


def test_a_node_that_has_lost_its_counter_hides_no_gap_and_loses_no_event(database: Database) -> None:
    store = store_of(database)
    store.add(items(2, 1, 3, 4, 5))
    anew = [received(replace(event(seq), id=f"01JE{seq:022d}"), 100 + seq) for seq in (1, 2, 4)]
    assert store.add(anew) == 3
    assert database.execute("SELECT node, run, first_missing, missing FROM emotion_gaps") == [("pi5", 2, 3, 1)]


def test_the_sums_of_a_day_count_each_event_once_and_survive_the_deletion_of_the_events(database: Database) -> None:
    store = store_of(database)
    visit = [
        received(event(1)),
        received(event(2, type="change", emotion="surprise", confidence=0.6, latency_ms=50.0)),
        received(event(3, type="end", track_duration=8.5, latency_ms=10.0)),
        received(event(4, ts=CAPTURED + timedelta(days=1)), 86_400),
    ]
    assert store.add(visit[:3]) == 3
    assert store.add(visit) == 1
    sums = (
        "SELECT CAST(day AS TEXT), emotion, starts, changes, ends, visit_seconds, confidence_sum, latency_ms_sum, "
        "latency_ms_max FROM emotion_day ORDER BY 1, 2"
    )
    expected = [
        ("2026-11-20", "happiness", 1, 0, 1, 8.5, 1.86, pytest.approx(31.4), 21.4),
        ("2026-11-20", "surprise", 0, 1, 0, 0.0, 0.6, 50.0, 50.0),
        ("2026-11-21", "happiness", 1, 0, 0, 0.0, 0.93, 21.4, 21.4),
    ]
    assert database.execute(sums) == expected
    store.keep(0.5, RECEIVED + timedelta(days=1))
    assert database.execute("SELECT seq FROM emotion_event") == [(4,)]
    assert database.execute(sums) == expected


def test_an_event_that_cannot_be_stored_is_left_out_and_the_others_are_not(
    database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    store = store_of(database)
    hostile = [replace(event(2), id="a\0b"), event(2**63), event(5, track_id="\ud800")]
    batch = [received(event(1)), *map(received, hostile), received(event(3))]
    stored = store.add(batch)
    rows = {row[0] for row in database.execute("SELECT seq FROM emotion_event")}
    assert {1, 3} <= rows and stored == len(rows) == len(batch) - store.refused
    assert store.refused >= 2
    errors = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
    assert len(errors) == store.refused and all("cannot be stored" in message for message in errors)


def test_tables_of_an_older_version_are_upgraded_with_what_is_in_them(make_database: Callable[[], Database]) -> None:
    old = make_database()
    assert upgrade(old, to=1) == 0
    columns = "prefix, node, seq, id, ts, received_at, camera, type, emotion, confidence, probabilities, quality, "
    columns += "latency_ms, track, track_started, track_duration, box_x, box_y, box_width, box_height, model, "
    columns += "model_version, replayed"
    value = "'p', 'pi5', 1, 'a', TIMESTAMPTZ '2026-11-20 23:59:59Z', now(), 'desk', 'end', 'fear', 0.5, '{}', 0.5, 20, "
    value += "'t', now(), 4, 0, 0, 1, 1, 'm', '1', false"
    old.execute(f"INSERT INTO emotion_event ({columns}) VALUES ({value})")
    old.close()
    new = make_database()
    assert upgrade(new) == 1
    assert upgrade(new) == VERSION
    sums = "SELECT CAST(day AS TEXT), ends, visit_seconds FROM emotion_day"
    assert new.execute(sums) == [("2026-11-20", 1, 4.0)]
    new.close()


def test_tables_of_a_newer_version_are_refused_and_left_alone(database: Database) -> None:
    upgrade(database)
    database.execute("INSERT INTO emotion_schema VALUES (99)")
    with pytest.raises(ConfigError, match=r"has tables of version 99, this program supports \d"):
        upgrade(database)
    assert database.execute("SELECT count(*) FROM emotion_event") == [(0,)]


def test_a_table_of_another_program_is_left_alone(database: Database) -> None:
    database.execute("CREATE TABLE emotion_event (time TIMESTAMPTZ NOT NULL)")
    with pytest.raises(ConfigError, match="has a table emotion_event of another program"):
        upgrade(database)
    assert database.execute("SELECT * FROM emotion_event") == []


def test_a_step_that_fails_leaves_the_tables_as_they_were(database: Database) -> None:
    upgrade(database, to=1)
    database.execute("CREATE TABLE emotion_day (something_else TEXT)")
    with pytest.raises(SinkError, match="emotion_day"):
        upgrade(database)
    assert database.execute("SELECT max(version) FROM emotion_schema") == [(1,)]
    assert database.execute("SELECT * FROM emotion_day") == []


@needs_postgres
def test_two_collectors_that_start_at_the_same_moment_make_the_tables_once(server: PostgresServer) -> None:
    server.query(f"DROP TABLE IF EXISTS {TABLES} CASCADE")
    found: list[int] = []
    databases = [Postgres(server.dsn) for _ in range(4)]
    threads = [threading.Thread(target=lambda each=each: found.append(upgrade(each))) for each in databases]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert sorted(found) == [0, VERSION, VERSION, VERSION]
    for each in databases:
        each.close()


@needs_postgres
def test_a_server_that_is_not_there_or_refuses_is_one_line_without_the_password(server: PostgresServer) -> None:
    away = Postgres("host=127.0.0.1 port=9 user=x password=s3cret dbname=emotions")
    with pytest.raises(StoreAway, match=r"^PostgreSQL \(127.0.0.1 9 emotions\): .*refused") as refused:
        upgrade(away)
    with pytest.raises(StoreAway, match='database "nowhere" does not exist') as unknown:
        upgrade(Postgres(server.dsn.replace("dbname=postgres", "dbname=nowhere password=s3cret")))
    with pytest.raises(ConfigError, match="no connection string") as wrong:
        Postgres("postgres//me:s3cret@db")
    for each in (refused, unknown, wrong):
        assert "s3cret" not in str(each.value) and "\n" not in str(each.value)


def test_another_file_is_no_duckdb_file_and_stays_as_it_is(tmp_path: Path) -> None:
    file = tmp_path / "notes.txt"
    file.write_text("not a database\n" * 1000, encoding="utf-8")
    with pytest.raises(ConfigError, match=r"notes.txt: this is another file"):
        upgrade(DuckDbFile(file))
    assert file.read_text(encoding="utf-8") == "not a database\n" * 1000
    with pytest.raises(SinkError, match=r"nowhere.*No such file"):
        upgrade(DuckDbFile(tmp_path / "nowhere" / "x.duckdb"))


def test_others_read_a_duckdb_file_while_nothing_is_stored_and_are_waited_for(tmp_path: Path) -> None:
    file = tmp_path / "emotions.duckdb"
    store = store_of(DuckDbFile(file))
    store.add(items(1, 2))
    reader = "import duckdb, sys; c = duckdb.connect(sys.argv[1], read_only=True); "
    reader += "print(c.execute('SELECT count(*) FROM emotion_event').fetchone()[0], flush=True); sys.stdin.read()"
    command = [sys.executable, "-c", reader, str(file)]
    blocked = subprocess.run(command, capture_output=True, stdin=subprocess.DEVNULL, timeout=60)
    assert blocked.returncode != 0, "the collector has the file"
    store.release()
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as reading:
        assert reading.stdout is not None and reading.stdout.readline() == "2\n"
        with pytest.raises(StoreAway, match="in use by another process"):
            store.add(items(3))
        reading.communicate("", timeout=60)
    assert store.add(items(3)) == 1
    store.close()


def test_the_queries_of_the_documentation_run_and_answer(database: Database) -> None:
    now = datetime.now(timezone.utc)
    store = store_of(database)
    store.add([received(event(seq, ts=now, type=kind)) for seq, kind in ((1, "start"), (3, "change"), (4, "end"))])
    page = (ROOT / "docs" / "how-to" / "collect.md").read_text(encoding="utf-8")
    queries = re.findall(r"```sql\n(.*?);\n```", page, re.DOTALL)
    answers = [database.execute(f"SELECT count(*) FROM ({query}) AS answer")[0][0] for query in queries]
    assert answers == [1, 1, 1, 1, 1, 0, 1], list(zip(queries, answers, strict=True))


def test_the_example_draws_what_is_stored(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    store = store_of(DuckDbFile(tmp_path / "emotions.duckdb"))
    moods = ("happiness", "sadness", "neutral")
    store.add([received(event(seq, ts=CAPTURED + timedelta(hours=seq), emotion=moods[seq % 3])) for seq in range(20)])
    store.close()
    picture = tmp_path / "emotions.png"
    command = [
        sys.executable,
        str(ROOT / "examples" / "plot_emotions.py"),
        str(tmp_path / "emotions.duckdb"),
        str(picture),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stderr) == (0, "")
    assert picture.read_bytes().startswith(b"\x89PNG")
