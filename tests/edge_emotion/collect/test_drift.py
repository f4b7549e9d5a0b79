"""Hours of histograms in both databases, and the cameras that have moved away from their reference month."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from datetime import date, datetime, timedelta, timezone
from pathlib import Path

import numpy as np
import pytest
from support.postgres import PostgresServer, needs_postgres

from edge_emotion.cli.main import main
from edge_emotion.client import StatsReceived
from edge_emotion.collect.database import Database
from edge_emotion.collect.drift import THRESHOLD, Drift, find_drift, stability_index
from edge_emotion.collect.duckdb_file import DuckDbFile
from edge_emotion.collect.postgres import Postgres
from edge_emotion.collect.schema import upgrade
from edge_emotion.collect.store import Store
from edge_emotion.wire.hours import EDGES, FaceHour

NOW = datetime(2026, 11, 20, 4, 31, tzinfo=timezone.utc)
PREFIX = "edge-emotion"
STEADY = {"confidence": 0.7, "quality": 0.6, "size": 90.0, "score": 0.9}
SPREAD = {"confidence": 0.15, "quality": 0.15, "size": 30.0, "score": 0.06}


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    server = PostgresServer().start()
    yield server
    server.remove()


@pytest.fixture(params=[pytest.param("postgres", marks=needs_postgres), "duckdb"])
def words(request: pytest.FixtureRequest, tmp_path: Path) -> list[str]:
    """Words of a command line for an empty database."""
    if request.param == "duckdb":
        return ["--duckdb", str(tmp_path / "emotions.duckdb")]
    server: PostgresServer = request.getfixturevalue("server")
    server.query("DROP TABLE IF EXISTS emotion_event, emotion_day, emotion_hour, emotion_schema CASCADE")
    return ["--postgres", server.dsn]


@pytest.fixture
def make_database(words: list[str]) -> Callable[[], Database]:
    """Makes connections to it."""
    if words[0] == "--duckdb":
        return lambda: DuckDbFile(Path(words[1]))
    return lambda: Postgres(words[1])


@pytest.fixture
def database(make_database: Callable[[], Database]) -> Iterator[Database]:
    database = make_database()
    yield database
    database.close()


def hour_of(start: datetime, faces: int, rng: np.random.Generator, **means: float) -> FaceHour:
    """Faces whose values are spread around means, which differ a little from hour to hour."""
    histograms = {}
    for name, edges in EDGES.items():
        values = rng.normal({**STEADY, **means}[name] + rng.normal(0, SPREAD[name] / 4), SPREAD[name], faces)
        bins = np.searchsorted(edges, values, side="right")
        histograms[name] = tuple(np.bincount(bins, minlength=len(edges) + 1).tolist())
    return FaceHour(start, faces, histograms, {"happiness": faces // 3, "neutral": faces - faces // 3})


def plant(
    store: Store, node: str, days: range, *, faces: int = 60, hours: int = 3, now: datetime = NOW, **means: float
) -> None:
    """Hours of these days before now, of the camera desk."""
    rng = np.random.default_rng(len(node) + days.start)
    items = []
    for day in days:
        for hour in range(hours):
            start = now.replace(minute=0, second=0, microsecond=0) - timedelta(days=day, hours=hour)
            items.append(StatsReceived(node, {"desk": hour_of(start, faces, rng, **means)}, start + timedelta(hours=1)))
    store.add_hours(items)


def store_of(database: Database, prefix: str = PREFIX) -> Store:
    store = Store(database, prefix)
    store.open()
    return store


def verdicts(found: Iterator[Drift]) -> dict[str, str]:
    """node -> measures that have moved, or what is missing."""
    told: dict[str, str] = {}
    for each in found:
        told.setdefault(each.node, "")
        told[each.node] += f"{each.measure} " if each.moved else ""
        if each.missing and each.measure == "quality":
            told[each.node] = each.missing
    return told


def test_the_stability_index_is_that_of_its_definition() -> None:
    assert stability_index([10, 20, 70], [10, 20, 70]) == 0
    expected = 0.3 * math.log(0.8 / 0.5) - 0.3 * math.log(0.2 / 0.5)
    assert stability_index([5e9, 5e9], [8e9, 2e9]) == pytest.approx(expected)
    assert stability_index([100, 0], [0, 100]) < math.inf, "an empty bin"


def test_planted_drift_is_found_and_where_there_is_none_none(database: Database) -> None:
    store = store_of(database)
    for node in ("steady", "blurred", "closer"):
        plant(store, node, range(7, 45))
    plant(store, "steady", range(7))
    plant(store, "blurred", range(7), quality=0.45, confidence=0.6)
    plant(store, "closer", range(7), size=170.0)
    plant(store_of(database, "other"), "elsewhere", range(45))
    found = list(find_drift(database, PREFIX, NOW))
    assert verdicts(iter(found)) == {"steady": "", "blurred": "confidence quality ", "closer": "size "}
    assert {each.measure for each in found} == set(EDGES), "moods are no drift unless they are asked for"
    moved = next(each for each in found if each.moved)
    assert moved.index is not None and moved.chance is not None and moved.index > max(THRESHOLD, moved.chance)
    assert (moved.faces, moved.days) == ((60 * 3 * 30, 60 * 3 * 7), (30, 7))
    asked = find_drift(database, PREFIX, NOW, node="steady", emotions=True)
    assert [(each.node, each.measure, each.moved) for each in asked][-1] == ("steady", "emotions", False)


def test_days_that_differ_by_chance_are_not_called_drift(database: Database) -> None:
    store = store_of(database)
    rng = np.random.default_rng(5)
    for day in range(44, -1, -1):  # one visitor a day, whose quality is that of the whole day
        plant(store, "few", range(day, day + 1), hours=1, faces=400, quality=float(rng.choice([0.3, 0.9])))
    by_measure = {each.measure: each for each in find_drift(database, PREFIX, NOW)}
    assert not any(each.moved for each in by_measure.values())
    chance = by_measure["quality"].chance
    assert chance is not None and chance > THRESHOLD


def test_too_few_data_are_called_so(database: Database) -> None:
    store = store_of(database)
    plant(store, "new", range(20))
    plant(store, "silent", range(20, 60))
    plant(store, "rare", range(60), faces=2)
    plant(store, "shortly", range(20, 60))
    plant(store, "shortly", range(1), faces=500)
    told = verdicts(find_drift(database, PREFIX, NOW))
    assert told["new"] == "the reference month and 7 days after it are complete on 2026-12-08"
    assert told["silent"] == "the latest days: 0 faces on 0 days, needed are 1000 on 3"
    assert "the reference month: 1" in told["rare"] and "needed are 1000 on 10" in told["rare"]
    assert told["shortly"].startswith("the latest days: 1500 faces on 1 days")


def test_a_later_reference_month_forgets_what_was_before_a_change(database: Database) -> None:
    store = store_of(database)
    plant(store, "moved", range(50, 100))
    plant(store, "moved", range(50), size=170.0)
    assert verdicts(find_drift(database, PREFIX, NOW)) == {"moved": "size "}
    assert verdicts(find_drift(database, PREFIX, NOW, since=date(2026, 10, 2))) == {"moved": ""}
    assert verdicts(find_drift(database, PREFIX, NOW, since=date(2027, 1, 1))) == {"moved": "no hour is stored"}


def test_an_hour_is_stored_once_and_not_with_a_wrong_clock(database: Database) -> None:
    store, rng = store_of(database), np.random.default_rng(0)
    start = NOW.replace(minute=0)
    first, other = hour_of(start, 10, rng), hour_of(start, 20, rng)
    strange = hour_of(start - timedelta(days=2), 30, rng)
    for hour in (first, first, other, strange):
        store.add_hours([StatsReceived("pi5", {"desk": hour}, NOW)] * 2)
    store.add_hours([StatsReceived("pi5", {"door": other}, NOW)])
    assert database.execute("SELECT camera, faces FROM emotion_hour ORDER BY 1") == [("desk", 10), ("door", 20)]
    stored = database.execute("SELECT CAST(score AS TEXT) FROM emotion_hour WHERE camera = 'desk'")[0][0]
    assert tuple(json.loads(stored)) == first.histograms["score"]


def test_old_hours_are_deleted_but_not_the_reference_month(database: Database) -> None:
    store = store_of(database)
    plant(store, "old", range(500), hours=1, faces=1)
    store.keep(None, NOW)
    ages = sorted((NOW - hour[0]).days for hour in database.execute("SELECT hour FROM emotion_hour"))
    assert ages == [*range(400), *range(469, 500)]


def test_the_command_prints_each_measure_and_a_summary(
    make_database: Callable[[], Database], words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    store, now = store_of(make_database()), datetime.now(timezone.utc)
    plant(store, "pi5", range(8, 45), now=now)
    plant(store, "pi5", range(7), quality=0.3, now=now)
    store.close()

    assert main(["drift", *words]) == 0
    out, errors = capsys.readouterr()
    lines = out.splitlines()
    assert len(lines) == 1 + len(EDGES) and [line.split()[-1] for line in lines[1:]].count("moved") == 1
    assert errors.splitlines()[-1] == "1 of 1 cameras have moved: pi5/desk; 0 have too few data"
    assert main(["drift", *words, "--json", "--node", "pi5"]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert {row["measure"]: row["moved"] for row in rows} == {name: name == "quality" for name in EDGES}
    assert main(["drift", *words, "--node", "nano"]) == 2
    assert "has no histograms of node nano under the prefix edge-emotion" in capsys.readouterr().err


def test_a_database_without_tables_or_with_older_ones_is_one_line_and_stays_as_it_is(
    make_database: Callable[[], Database], words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    if words[0] == "--duckdb":
        assert main(["drift", *words]) == 2
        assert "there is no file" in capsys.readouterr().err and not Path(words[1]).exists()
    database = make_database()
    database.execute("SELECT 1")
    database.close()
    assert main(["drift", *words]) == 2
    assert "no tables of edge-emotion collect: start edge-emotion collect" in capsys.readouterr().err
    upgrade(database, to=2)
    database.close()
    assert main(["drift", *words]) == 2
    assert "has tables of version 2, not 3: start" in capsys.readouterr().err
    assert database.execute("SELECT max(version) FROM emotion_schema") == [(2,)]
    database.close()
    with pytest.raises(SystemExit, match="2"):
        main(["drift", *words, "--since", "soon"])
