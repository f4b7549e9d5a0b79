"""The collector between real brokers and databases that stop, crash and come back: nothing lost, nothing twice."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from support.broker import Broker, free_port, needs_mosquitto, wait_until
from support.mqtt_stage import TIMING, MakeSink, count_logged, publish
from support.nats import NatsServer, needs_nats
from support.paths import ROOT
from support.postgres import PostgresServer, needs_postgres
from support.samples import event
from support.subscribers import publish_raw

from edge_emotion.cli.main import main
from edge_emotion.client import Client, broker_settings
from edge_emotion.collect.collector import Collector, Pace
from edge_emotion.collect.duckdb_file import DuckDbFile
from edge_emotion.collect.postgres import Postgres
from edge_emotion.collect.store import Store
from edge_emotion.config.settings import MqttSettings
from edge_emotion.errors import ConfigError
from edge_emotion.wire.hours import EDGES, FaceHour, hour_to_object
from edge_emotion.wire.payloads import event_to_json, to_json

PACE = Pace(idle=0.05, first_retry=0.05, longest_retry=0.2)
UNLIMITED = ("max_queued_messages 0", "max_inflight_messages 0")


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    server = PostgresServer().start()
    yield server
    server.remove()


@pytest.fixture
def empty(server: PostgresServer) -> PostgresServer:
    server.start().query("DROP TABLE IF EXISTS emotion_event, emotion_day, emotion_hour, emotion_schema CASCADE")
    return server


@pytest.fixture(scope="module")
def busy_broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    broker = Broker(tmp_path_factory.mktemp("broker"), limits=UNLIMITED, persistence=False).start()
    yield broker
    broker.stop()


@contextmanager
def collecting(settings: MqttSettings, database: Any, **options: Any) -> Iterator[Collector]:
    """A collector in a thread of its own; at the end it takes what is left and stops."""
    client = Client(settings, gaps=False, batch=50, timing=TIMING, **options)
    store = Store(database, settings.prefix)
    store.open()
    collector, ended = Collector(client, store, pace=PACE), threading.Event()

    def run() -> None:
        while not ended.is_set():
            collector.run(time.monotonic() + 0.1)

    with client:
        thread = threading.Thread(target=run)
        thread.start()
        try:
            yield collector
        finally:
            ended.set()
            thread.join(30)
    store.close()


def stored(server: PostgresServer) -> list[int]:
    return [row[0] for row in server.query("SELECT seq FROM emotion_event ORDER BY seq")]


def summed(server: PostgresServer) -> int:
    return int(server.query("SELECT sum(starts + changes + ends) FROM emotion_day")[0][0])


def start_command(*words: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "edge_emotion", "collect", *words]
    return subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True)


@needs_mosquitto
@needs_postgres
def test_rows_equal_what_was_published_although_collector_and_database_are_killed(
    busy_broker: Broker, empty: PostgresServer, make_sink: MakeSink
) -> None:
    words = ["--mqtt", f"127.0.0.1:{busy_broker.port}", "--postgres", empty.dsn, "--session", "killed"]
    sink = make_sink(busy_broker.port)
    sink.open()
    processes = [start_command(*words)]
    wait_until(lambda: "Sending SUBACK to edge-emotion-subscriber-killed" in busy_broker.log)
    publish(sink, range(1, 301))
    wait_until(lambda: len(stored(empty)) > 50)
    processes[0].kill()
    publish(sink, range(301, 601))
    processes.append(start_command(*words))
    wait_until(lambda: len(stored(empty)) > 350)
    empty.crash()
    publish(sink, range(601, 901))
    wait_until(lambda: not sink.waiting)
    empty.start()
    wait_until(lambda: len(stored(empty)) == 900, 40)
    processes[1].terminate()
    _, errors = processes[1].communicate(timeout=20)
    processes[0].communicate(timeout=20)
    assert processes[1].returncode == 0, errors
    assert "events stored" in errors.splitlines()[-1] and "Traceback" not in errors
    assert stored(empty) == list(range(1, 901))
    assert empty.query("SELECT * FROM emotion_gaps") == []
    assert summed(empty) == 900


@needs_mosquitto
@needs_postgres
def test_while_the_database_is_away_nothing_is_read_and_the_broker_keeps_it(
    busy_broker: Broker, empty: PostgresServer, make_sink: MakeSink, log: pytest.LogCaptureFixture
) -> None:
    sink = make_sink(busy_broker.port)
    sink.open()
    with collecting(broker_settings("127.0.0.1", busy_broker.port), Postgres(empty.dsn), session="away") as collector:
        publish(sink, range(1, 11))
        wait_until(lambda: stored(empty) == list(range(1, 11)))
        empty.stop()
        publish(sink, range(11, 501))
        wait_until(lambda: not sink.waiting)
        time.sleep(0.2)
        assert collector._client.waiting <= 100
        assert collector.counts.stored == 10
        empty.start()
        wait_until(lambda: len(stored(empty)) == 500)
    assert count_logged(log, "the broker keeps further events") == 1
    assert count_logged(log, "the database is back") == 1
    assert summed(empty) == 500


@needs_nats
@needs_postgres
def test_over_mqtt_3_1_1_a_session_collects_and_nothing_is_lost_when_the_broker_is_killed(
    empty: PostgresServer, make_sink: MakeSink, tmp_path: Path
) -> None:
    nats = NatsServer(tmp_path).start()
    try:
        sink = make_sink(nats.port, protocol="3.1.1")
        sink.open()
        settings = broker_settings("127.0.0.1", nats.port, protocol="3.1.1")
        with collecting(settings, Postgres(empty.dsn), session="nats") as collector:
            publish(sink, range(1, 301))
            wait_until(lambda: len(stored(empty)) > 50)
            nats.kill()
            publish(sink, range(301, 601))
            nats.start()
            wait_until(lambda: len(stored(empty)) == 600, 60)
            wait_until(lambda: collector.counts.stored == 600)
    finally:
        nats.kill()
    assert summed(empty) == 600


@needs_mosquitto
@needs_postgres
def test_collectors_of_a_group_share_the_events(
    busy_broker: Broker, empty: PostgresServer, make_sink: MakeSink
) -> None:
    settings = broker_settings("127.0.0.1", busy_broker.port)
    with (
        collecting(settings, Postgres(empty.dsn), session="one", group="shared") as one,
        collecting(settings, Postgres(empty.dsn), session="two", group="shared") as two,
    ):
        sink = make_sink(busy_broker.port)
        sink.open()
        publish(sink, range(1, 501))
        wait_until(lambda: len(stored(empty)) == 500)
        wait_until(lambda: one.counts.stored + two.counts.stored == 500)
        assert one.counts.stored and two.counts.stored
    assert empty.query("SELECT * FROM emotion_gaps") == []


@needs_mosquitto
def test_a_duckdb_file_is_the_default_and_strange_messages_are_counted(
    broker: Broker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    command = ["collect", "--mqtt", f"127.0.0.1:{broker.port}", "--keep", "30"]
    assert main([*command, "--duration", "0.1"]) == 0
    messages = [("desk/events", event_to_json(event(seq))) for seq in (1, 2, 3, 3)]
    publish_raw(broker, *messages, ("desk/events", b"no event"), ("desk/events", event_to_json(event(9, camera="x"))))
    assert main([*command, "--duration", "0.7"]) == 0
    assert capsys.readouterr().err.splitlines()[-1] == (
        "3 events stored, 1 came again, 0 refused by the database, 2 not understood"
    )
    file = DuckDbFile(tmp_path / "emotions.duckdb")
    assert file.execute("SELECT seq FROM emotion_event ORDER BY 1") == [(1,), (2,), (3,)]
    file.close()


@needs_mosquitto
def test_hours_of_stats_are_stored_once_beside_the_events(broker: Broker, tmp_path: Path) -> None:
    now = datetime.now(timezone.utc)
    start = now.replace(minute=0, second=0, microsecond=0) - timedelta(hours=1)
    hour = FaceHour(start, 3, {name: (3, *[0] * len(edges)) for name, edges in EDGES.items()}, {"fear": 3})
    figures = {"desk": {"status": "online", "hour": hour_to_object(hour)}, "old": {"status": "online"}}
    stats = to_json({"schema": 1, "cameras": figures})
    wrong = to_json({"cameras": {"desk": {"hour": hour_to_object(hour) | {"faces": 4}}}})
    database = DuckDbFile(tmp_path / "emotions.duckdb")
    settings = broker_settings("127.0.0.1", broker.port)
    with collecting(settings, database, session="hours", stats=True) as collector:
        messages = [("stats", stats), ("desk/events", event_to_json(event(1))), ("stats", wrong), ("stats", stats)]
        publish_raw(broker, *messages)
        wait_until(lambda: collector._client.not_understood == 1 and collector.counts.stored == 1)
        publish_raw(broker, ("stats", stats), ("desk/events", event_to_json(event(2))))
        wait_until(lambda: collector.counts.stored == 2)
    assert database.execute("SELECT node, camera, faces, hour FROM emotion_hour") == [("pi5", "desk", 3, start)]
    database.close()


@needs_mosquitto
def test_what_cannot_work_is_one_line_and_the_documented_code(
    broker: Broker, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = tmp_path / "photo.jpg"
    other.write_bytes(b"\xff\xd8" + b"x" * 5000)
    reachable = f"127.0.0.1:{broker.port}"
    cases: list[tuple[list[str], int, str]] = [
        (["--mqtt", reachable, "--postgres", "postgres//db"], 2, "no connection string"),
        (["--mqtt", reachable, "--postgres", "host=127.0.0.1 port=9"], 6, "refused"),
        (["--mqtt", reachable, "--duckdb", str(other)], 2, "no DuckDB database"),
        (["--mqtt", reachable, "--duckdb", str(tmp_path / "no" / "x.duckdb")], 6, "No such file"),
        (["--mqtt", f"127.0.0.1:{free_port()}", "--duckdb", str(tmp_path / "x.duckdb")], 6, "connection refused"),
    ]
    for words, code, text in cases:
        assert main(["collect", *words]) == code, words
        errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
        assert len(errors) == 1 and text in errors[0], errors
    for wrong in (["--keep", "0"], ["--postgres", "a", "--duckdb", "b"]):
        with pytest.raises(SystemExit, match="2"):
            main(["collect", *wrong])


def test_a_missing_library_names_the_extra(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    for module, home, option in (("duckdb", "duckdb_file", "--duckdb"), ("psycopg", "postgres", "--postgres")):
        monkeypatch.setitem(sys.modules, module, None)
        monkeypatch.delitem(sys.modules, f"edge_emotion.collect.{home}", raising=False)
        assert main(["collect", option, "x"]) == 5
        error = capsys.readouterr().err
        assert f"collect needs {module}" in error and "[collect]" in error and error.count("\n") == 1


def test_a_batch_needs_a_session() -> None:
    with pytest.raises(ConfigError, match="a batch needs a session"):
        Client(broker_settings(), batch=10)
