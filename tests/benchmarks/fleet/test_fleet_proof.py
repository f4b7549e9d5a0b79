"""The proof at scale: a small share of it with real brokers and collectors, and a judge that notices each fault."""

from __future__ import annotations

import asyncio
import json
import resource
import signal
import subprocess
import sys
import time
from array import array
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from support.broker import Broker, needs_mosquitto, wait_until
from support.nats import needs_nats
from support.paths import ROOT
from support.postgres import needs_postgres

from benchmarks.cli import main
from benchmarks.fleet import proof, report, servers
from benchmarks.fleet.databases import PostgresServer
from benchmarks.fleet.judge import History, Row, Verdict, judge
from benchmarks.fleet.node import PREFIX, Made, Measured
from benchmarks.fleet.packets import PUBACK, PacketReader, publish
from benchmarks.fleet.proof import Outcome, Times, Used
from benchmarks.fleet.simulator import Simulator
from edge_emotion.collect.postgres import Postgres
from edge_emotion.collect.store import Store

GOOD = Verdict(4, 4, 4, lost=0, invented=0, twice=0, gaps=0, misplaced=0, wrongly_summed=0, overtaken=0)
VISIT = [
    Made("A", "start", "anger", None, "T"),
    Made("B", "change", "fear", "anger", "T"),
    Made("C", "change", "anger", "fear", "T"),
    Made("D", "end", "anger", None, "T"),
]
ROWS = [Row("n1", seq, made, 10.0 + seq) for seq, made in enumerate(VISIT, 1)]


def judged(rows: list[Row], *unacknowledged: int, gaps: int = 0, summed: int = 4) -> Verdict:
    return judge({"n1": History(VISIT, frozenset(unacknowledged))}, rows, gaps, summed)


def test_the_judge_finds_nothing_where_the_rows_are_what_was_acknowledged() -> None:
    assert judged(ROWS) == GOOD
    assert GOOD.faults == {}
    assert judged(ROWS, 4) == replace(GOOD, acknowledged=3)
    assert judged(ROWS[:3], 4, summed=3) == replace(GOOD, acknowledged=3, stored=3)


def test_the_judge_finds_each_fault() -> None:
    other = ROWS[3]._replace(event=VISIT[3]._replace(emotion="fear"))
    assert judged(ROWS[:3], summed=3).faults == {"lost": 1}
    assert judged([ROWS[0], *ROWS[2:]], summed=3, gaps=1).faults == {"lost": 1, "gaps": 1, "misplaced": 1}
    assert judged([*ROWS[:3], other]).faults == {"invented": 1, "misplaced": 1}
    assert judged([*ROWS, ROWS[0]._replace(node="n2")], summed=5).faults == {"invented": 1}
    assert judged([*ROWS[:2], ROWS[1], *ROWS[2:]], summed=5).faults["twice"] == 1
    assert judged(ROWS, summed=5).faults == {"wrongly_summed": 1}
    late = [ROWS[0], ROWS[1]._replace(received_at=99.0), *ROWS[2:]]
    assert judged(late).overtaken == 2 and not judged(late).faults


def test_packets_are_read_however_they_are_cut() -> None:
    packet = publish(4, "a/b", b"x" * 200, 7)
    reader = PacketReader()
    found = [one for byte in packet + b"\x40\x02\x00\x07" for one in reader.feed(bytes([byte]))]
    assert found == [(3, b"\x00\x03a/b\x00\x07" + b"x" * 200), (PUBACK, b"\x00\x07")]
    with pytest.raises(ValueError, match="four bytes"):
        list(PacketReader().feed(b"\x40\xff\xff\xff\xff\x01"))


@needs_mosquitto
def test_nodes_send_again_what_a_killed_broker_has_not_acknowledged(tmp_path: Path) -> None:
    broker = Broker(tmp_path, persistence=False).start()

    async def run() -> Simulator:
        simulator = Simulator(20, [broker.port], 5)
        await simulator.connect()
        await simulator.send(200, lambda elapsed: elapsed > 0.2)
        broker.kill()
        await simulator.send(200, lambda elapsed: elapsed > 0.2)
        assert any(node.unacknowledged for node in simulator.nodes)
        broker.start()
        await simulator.drain()
        await simulator.leave()
        return simulator

    try:
        simulator = asyncio.run(run())
    finally:
        broker.kill()
    assert not any(node.unacknowledged for node in simulator.nodes)
    assert len(simulator.measured.outages) == 20
    assert len(simulator.measured.waits) == sum(len(node.made) for node in simulator.nodes)


@needs_nats
def test_no_event_is_lost_when_nats_the_collector_and_a_link_fail_in_turn(tmp_path: Path) -> None:
    words = ["--scenario", "nats", "--nodes", "500", "--rate", "40", "--seconds", "60", "--kills", "1"]
    assert main(["fleet", *words, "--partition", "--away", "1", "--json", str(tmp_path / "f.json")]) == 0
    details = json.loads((tmp_path / "f.json").read_text())["details"]["nats"]
    verdict = details["verdict"]
    assert verdict["stored"] == verdict["acknowledged"] == verdict["made"] >= 2000
    assert {name: verdict[name] for name in ("lost", "invented", "twice", "gaps", "misplaced")} == dict.fromkeys(
        ("lost", "invented", "twice", "gaps", "misplaced"), 0
    )
    assert details["connections_lost"] > 0


@needs_postgres
def test_a_database_that_is_stopped_has_its_rows_again(tmp_path: Path) -> None:
    server = PostgresServer(tmp_path)
    try:
        server.start()
        (dsn,) = server.words("any")[1:]
        with closing(Postgres(dsn)) as database:
            Store(database, PREFIX).open()
            zeros = [
                "confidence",
                "quality",
                "latency_ms",
                "track_duration",
                "box_x",
                "box_y",
                "box_width",
                "box_height",
            ]
            database.execute(
                "INSERT INTO emotion_event (prefix, node, camera, seq, id, type, emotion, track, ts, received_at, "
                f"track_started, probabilities, model, model_version, replayed, {', '.join(zeros)}) VALUES ('p', 'n1', "
                "'door', 1, 'A', 'start', 'anger', 'T', now(), now(), now(), '{}', 'tiny', '1', false"
                + ", 0" * len(zeros)
                + ")"
            )
        server.stop()
        assert server.count() == 0
        server.start()
        assert server.count() == 1
        ((row,), gaps, _) = server.read()
        assert (row.node, row.seq, row.event, gaps) == ("n1", 1, VISIT[0], 0)
    finally:
        server.remove()


@needs_mosquitto
def test_ended_by_a_signal_it_leaves_no_process() -> None:
    command = [sys.executable, "-m", "benchmarks", "fleet", "--scenario", "mosquitto", "--nodes", "5"]
    process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    assert "5 nodes connected" in process.stderr.readline()
    folder = Path(f"/proc/{process.pid}/task")
    children = [int(child) for task in folder.iterdir() for child in (task / "children").read_text().split()]
    assert len(children) == 3
    process.send_signal(signal.SIGTERM)
    errors = process.communicate(timeout=60)[1]
    assert process.returncode == 130 and "Traceback" not in errors
    wait_until(lambda: not any(Path(f"/proc/{child}").exists() for child in children))


def test_a_lost_event_is_a_line_and_the_documented_code(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    used = Used(before=10.0, peak=20.0, cpu=1.0)
    measured = Measured(waits=array("d", [0.1]), outages=array("d", [2.0]))
    verdict = replace(GOOD, lost=3, wrongly_summed=1)
    outcome = Outcome(verdict, Times(1.0, 4.0, 0.0, 1.0), measured, used, used, 1.0)
    monkeypatch.setattr(report, "prove", lambda *_: outcome)
    assert main(["fleet", "--nodes", "10", "--scenario", "nats", "--json", str(tmp_path / "f.json")]) == 10
    printed = capsys.readouterr()
    assert printed.err.splitlines() == ["not kept: nats: 3 lost", "not kept: nats: 1 wrongly summed"]
    assert "extrapolated, not measured" in printed.out
    result = json.loads((tmp_path / "f.json").read_text())
    assert result["invalid"] == {"nats": "events were not kept"}
    values = {(one["subject"], one["metric"]): one["runs"][0] for one in result["measurements"]}
    assert values["nats", "outage"] == 2.0 and values["nats: broker", "RSS/node"] == 1024.0


def test_what_cannot_work_is_one_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fleet", "--nodes", "30000"]) == 2
    assert "27000 connections at most" in capsys.readouterr().err
    monkeypatch.setattr(resource, "getrlimit", lambda _: (100, 1000))
    assert main(["fleet", "--nodes", "501"]) == 2
    assert capsys.readouterr().err == (
        "error: --nodes 501 needs 1001 open files, the limit is 1000: fewer nodes, or raise it (ulimit -Hn)\n"
    )
    for words in (["--proof", "roll-out", "--partition"], ["--scenario", "mosquitto", "--partition"]):
        assert main(["fleet", *words]) == 2
        assert capsys.readouterr().err.count("\n") == 1
    monkeypatch.undo()
    monkeypatch.setattr(servers, "find_mosquitto", lambda: None)
    monkeypatch.setattr(servers.shutil, "which", lambda *_, **__: None)
    assert main(["fleet", "--nodes", "5"]) == 5
    error = capsys.readouterr().err
    assert "mosquitto is not installed" in error and "nats-server is not installed" in error and error.count("\n") == 1


def test_a_program_that_ends_by_itself_is_named_with_its_last_line(tmp_path: Path) -> None:
    program = servers.Program("broken", ["sh", "-c", "echo no port >&2; exit 3"], tmp_path)
    program.start()
    wait_until(lambda: not program.runs)
    with pytest.raises(servers.SinkError, match="sh has ended with 3: no port"):
        program.check()
    until = time.monotonic() + 1
    program.end(until)
    assert not program.runs and proof.FILES_ASIDE
