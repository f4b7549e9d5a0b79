"""The benchmarks run and say what they must; how fast this machine is asserts nothing."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from support.broker import needs_mosquitto

from benchmarks.cli import main
from benchmarks.harness.interleave import ask, in_turns
from benchmarks.harness.wait import wait_until
from benchmarks.pipeline_speed import daemon_costs as marks
from benchmarks.pipeline_speed import publisher
from benchmarks.pipeline_speed.plan import Plan
from benchmarks.pipeline_speed.publisher import Publisher, usual_event
from benchmarks.pipeline_speed.soak import growth
from benchmarks.results.machine import describe_machine
from benchmarks.results.results import read_result
from edge_emotion.errors import EdgeEmotionError
from edge_emotion.mqtt.local_broker import free_port


def test_the_machine_is_described_in_plain_values() -> None:
    machine = describe_machine()
    assert machine["cores"] == os.cpu_count()
    assert json.loads(json.dumps(machine)) == machine


def test_soak_samples_the_real_daemon(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--minutes", "0.15", "--settle", "0.02", "--every", "2", "--json", str(tmp_path / "r.json")]
    assert main(["soak", *options]) == 0
    result = read_result(tmp_path / "r.json")
    assert result.settings["cameras"] == 3
    samples = result.details["samples"]
    assert isinstance(samples, list) and len(samples) >= 2
    for row in samples:
        assert row["rss_mib"] > 1 and row["threads"] >= 1 and row["files"] >= 3
    values = {one.metric: one.value for one in result.measurements}
    assert values["rss_peak"] >= values["rss_end"]
    said = capsys.readouterr()
    assert "RSS MiB" in said.err
    assert "rss_peak MiB" in said.out


def test_growth_is_measured_after_settling() -> None:
    rows = [{"minute": float(n), "rss_mib": 50.0 if n < 2 else 100.0 + n} for n in range(11)]
    assert growth(rows, settle=2, span=1) == {
        "rss_settled_mib": 102.5,
        "rss_end_mib": 109.5,
        "rss_peak_mib": 110.0,
        "growth_percent": 6.83,
    }


def test_a_soak_that_never_settles_is_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["soak", "--minutes", "2", "--settle", "3"]) == 2
    assert capsys.readouterr().err == "error: --settle 3 is not less than --minutes 2\n"


def test_a_wait_ends_with_what_has_not_happened() -> None:
    looks = iter([False, False, True])
    wait_until(lambda: next(looks), "nothing", patience=60, pause=0)
    with pytest.raises(EdgeEmotionError, match=r"^no bus within 0.01 s$"):
        wait_until(lambda: False, "no bus", patience=0.01, pause=0.001)


def test_a_broker_that_is_not_there_is_not_waited_for_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(publisher, "PATIENCE", 0.05)
    (tmp_path / "state").mkdir()
    with (
        pytest.raises(EdgeEmotionError, match=r"no connection to the broker within 0\.05 s"),
        Publisher(usual_event(), tmp_path / "state", free_port()),
    ):
        pass
    assert not [one.name for one in threading.enumerate() if "mqtt" in one.name]


def test_events_that_are_never_acknowledged_are_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(publisher, "PATIENCE", 0.05)
    silent = Publisher(usual_event(), tmp_path, free_port())
    silent.sink = SimpleNamespace(waiting=2)  # type: ignore[assignment]
    silent.drain(2)
    with pytest.raises(EdgeEmotionError, match=r"the broker has not acknowledged an event within 0\.05 s"):
        silent.drain()


def test_a_camera_that_never_comes_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(marks, "PATIENCE", 0.01)
    node: Any = SimpleNamespace(check=lambda: None, log="starting\nno such file", last_words="no such file")
    with pytest.raises(EdgeEmotionError, match=r"^the camera is not online within 0.01 s: no such file$"):
        marks.await_online(node)


def test_one_process_that_fails_does_not_take_the_others_with_it() -> None:
    def fail(error: Exception) -> Callable[[], str]:
        def run() -> str:
            raise error

        return run

    absent: dict[str, str] = {}
    things = {
        "no answer": lambda: ask("benchmarks.harness.drift", "{}", 60),
        "no process": fail(OSError(12, "Cannot allocate memory")),
        "nonsense": lambda: Plan.model_validate_json('{"rounds": "many"}').detector,
        "good": lambda: "fine",
    }
    found = in_turns(things, 2, absent, lambda line: None, str)
    assert found == {"no answer": [], "no process": [], "nonsense": [], "good": ["fine", "fine"]}
    assert absent["no answer"] == "its process has ended without an answer"
    assert "Cannot allocate memory" in absent["no process"] and "rounds" in absent["nonsense"]
    assert not any("\n" in why for why in absent.values())


@needs_mosquitto
def test_marks_are_measured_on_the_real_daemon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(marks, "WARM_UP", 0.5)
    assert main(["marks", "--seconds", "0.5", "--json", str(tmp_path / "r.json")]) == 0
    found = read_result(tmp_path / "r.json")
    result = {one.subject: one.value for one in found.measurements}
    assert {one.subject: one.unit for one in found.measurements}["outbox_events_per_s"] == "1/s"
    assert 0 < result["start_to_first_event_s"] < marks.PATIENCE
    parts = [result[f"{name}_cpu_ms"] for name in ("decode", "models", "own_work")]
    assert sum(parts) == pytest.approx(result["frame_cpu_ms"])
    assert 0 < result["own_work_share"] < 1
    assert 0 < result["publish_p50_ms"] <= result["publish_p99_ms"]
    assert found.details["outbox_n"] >= 1 and result["outbox_events_per_s"] > 0
    assert result["idle_to_busy"] == pytest.approx(result["idle_cpu_percent"] / result["busy_cpu_percent"])
