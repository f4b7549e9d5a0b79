"""The metrics by the rules of Prometheus, and the dashboard and alerts by Prometheus itself in front of a daemon."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import urllib.parse
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import yaml
from support.broker import Broker, free_port, needs_mosquitto, wait_until
from support.page_stage import PageStage
from support.paths import ROOT
from support.samples import event

from edge_emotion.daemon.capture import Capture
from edge_emotion.web import metrics as metrics_module
from edge_emotion.web.live import LiveState
from edge_emotion.web.metrics import CameraTotals, Metrics

FOLDER = ROOT / "deploy" / "prometheus"
RULES, DASHBOARD = FOLDER / "edge-emotion-alerts.yml", FOLDER / "grafana-dashboard.json"

needs_prometheus = pytest.mark.skipif(
    shutil.which("prometheus") is None or shutil.which("promtool") is None,
    reason="Prometheus is not installed: apt-get install --no-install-recommends prometheus",
)
pytestmark = [needs_prometheus, needs_mosquitto]

OF_THE_MACHINE = ("temperature_celsius", "throttled")
"""Not every machine has a thermometer."""

OF_ITS_SPEED = ("frames_dropped", "stage_duration")
"""While others use the processor, a node that works is too slow."""


@dataclass
class Scraped:
    """A daemon that Prometheus has asked several times."""

    stage: PageStage
    port: int
    text: str = field(init=False)

    def query(self, expression: str) -> list[dict[str, Any]]:
        query = urllib.parse.urlencode({"query": expression})
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/api/v1/query?{query}", timeout=10) as answer:
            found = json.load(answer)
        assert found["status"] == "success"
        return list(found["data"]["result"])

    def ready(self) -> bool:
        try:
            return bool(self.query('rate(edge_emotion_frames_processed_total{job="edge-emotion"}[1m]) > 0'))
        except OSError:
            return False


@pytest.fixture(scope="module")
def scraped(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scraped]:
    folder = tmp_path_factory.mktemp("metrics")
    broker = Broker(folder).start()
    with PageStage(folder, mqtt={"host": "127.0.0.1", "port": broker.port}) as stage:
        config = yaml.safe_load((FOLDER / "prometheus.yml").read_text())
        job = config["scrape_configs"][0]
        job["static_configs"] = [{"targets": [f"127.0.0.1:{stage.port}"]}]
        job["scrape_interval"] = "500ms"
        del job["authorization"]
        config["rule_files"] = [str(RULES)]
        (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
        stage.wait(lambda: stage.page.get("/api/v1/events").json["events"])
        port = free_port()
        options = {"config.file": folder / "prometheus.yml", "storage.tsdb.path": folder / "data",
                   "web.listen-address": f"127.0.0.1:{port}", "log.level": "error"}  # fmt: skip
        prometheus = subprocess.Popen(["prometheus", *(f"--{key}={value}" for key, value in options.items())])
        try:
            found = Scraped(stage, port)
            wait_until(found.ready, 30)
            found.text = stage.page.get("/metrics").body.decode()
            yield found
        finally:
            prometheus.kill()
            prometheus.wait()
    broker.stop()


def promtool(*arguments: str | Path, text: str | None = None) -> str:
    done = subprocess.run(["promtool", *map(str, arguments)], input=text, capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def expressions() -> list[str]:
    """Every PromQL expression of the dashboard, its variables filled in as Grafana does."""
    panels = json.loads(DASHBOARD.read_text())["panels"]
    found = [target["expr"] for panel in panels for target in panel["targets"]]
    return [
        text.replace("$__rate_interval", "1m").replace("$instance", ".*").replace("$camera", ".*") for text in found
    ]


def test_promtool_finds_nothing_to_say_about_names_and_units(scraped: Scraped) -> None:
    # process_* are those of the Prometheus client itself.
    assert promtool("check", "metrics", text=scraped.text) == ""


def test_every_expression_of_the_dashboard_gives_a_value(scraped: Scraped) -> None:
    asked = expressions()
    assert len(asked) > 20
    for expression in asked:
        assert scraped.query(expression) or any(name in expression for name in OF_THE_MACHINE), expression


def test_the_dashboard_names_only_metrics_that_there_are(scraped: Scraped) -> None:
    known = set(re.findall(r"^# TYPE (\S+)", scraped.text, re.MULTILINE))
    text = DASHBOARD.read_text() + RULES.read_text()
    for name in set(re.findall(r"(?:edge_emotion|process)_[a-z_]+", text)):
        bare = re.sub(r"_(bucket|sum|count)$", "", name)
        assert bare in known or any(part in name for part in OF_THE_MACHINE), name


def test_the_rules_are_loaded_and_nothing_is_wrong_with_a_node_that_works(scraped: Scraped) -> None:
    assert promtool("check", "rules", RULES)
    for rule in rules():
        load = any(name in rule["expr"] for name in OF_THE_MACHINE + OF_ITS_SPEED)
        assert load or scraped.query(rule["expr"]) == [], rule["alert"]


FIRING: list[tuple[str, dict[str, str], dict[str, str], str]] = [
    ("EdgeEmotionDown", {'up{job="edge-emotion"}': "0x40"}, {"job": "edge-emotion"}, "0"),
    ("EdgeEmotionCameraDown", {'edge_emotion_camera_up{camera="desk"}': "0x40"}, {"camera": "desk"}, "0"),
    ("EdgeEmotionCameraStalls", {'edge_emotion_camera_stalls_total{camera="desk"}': "0+1x40"}, {"camera": "desk"}, ""),
    (
        "EdgeEmotionFramesDropped",
        {
            'edge_emotion_frames_dropped_total{camera="desk"}': "0+5x40",
            'edge_emotion_frames_captured_total{camera="desk"}': "0+15x40",
        },
        {"camera": "desk"},
        "",
    ),
    (
        "EdgeEmotionSlow",
        {
            'edge_emotion_stage_duration_seconds_bucket{camera="desk", stage="latency", le="0.5"}': "0x40",
            'edge_emotion_stage_duration_seconds_bucket{camera="desk", stage="latency", le="1.0"}': "0+9x40",
            'edge_emotion_stage_duration_seconds_bucket{camera="desk", stage="latency", le="+Inf"}': "0+9x40",
        },
        {"camera": "desk"},
        "",
    ),
    ("EdgeEmotionBrokerAway", {"edge_emotion_mqtt_connected": "0x40"}, {}, "0"),
    ("EdgeEmotionEventsLost", {"edge_emotion_outbox_dropped_total": "0x20 1x20"}, {}, ""),
    ("EdgeEmotionEventsLost", {"edge_emotion_outbox_refused_total": "0x20 1x20"}, {}, ""),
    ("EdgeEmotionHot", {"edge_emotion_temperature_celsius": "81x40"}, {}, "81"),
    (
        "EdgeEmotionThrottled",
        {'edge_emotion_throttled{reason="under-voltage"}': "1x40"},
        {"reason": "under-voltage"},
        "1",
    ),
]
"""Alert, the series with which it fires after 38 minutes, its labels beside the instance, and its value."""


def case(alert: str, series: dict[str, str], labels: dict[str, str], value: str) -> dict[str, Any]:
    """A test for promtool: the alert fires with these series, and without its cause nothing does."""
    rule = next(rule for rule in rules() if rule["alert"] == alert)
    filled = {name: fill(text, {**labels, "instance": "a"}, value) for name, text in rule["annotations"].items()}
    expected = {
        "exp_labels": {"severity": rule["labels"]["severity"], "instance": "a", **labels},
        "exp_annotations": filled,
    }
    return {
        "interval": "1m",
        "input_series": [{"series": with_instance(name), "values": values} for name, values in series.items()],
        "alert_rule_test": [
            {"eval_time": "38m", "alertname": alert, "exp_alerts": [expected]},
            {"eval_time": "0m", "alertname": alert, "exp_alerts": []},
        ],
    }


def rules() -> list[dict[str, Any]]:
    return list(yaml.safe_load(RULES.read_text())["groups"][0]["rules"])


def with_instance(series: str) -> str:
    name, _, labels = series.rstrip("}").partition("{")
    return f'{name}{{instance="a"{", " + labels if labels else ""}}}'


def fill(text: str, labels: dict[str, str], value: str) -> str:
    """A template of an annotation, filled in."""
    found = re.sub(r"{{ \$labels\.([a-z]+) }}", lambda match: labels[match[1]], text)
    return found.replace("{{ $value }}", value)


def test_each_alert_fires_when_it_should_and_not_before(tmp_path: Path) -> None:
    assert {alert for alert, *_ in FIRING} == {rule["alert"] for rule in rules()}
    file = tmp_path / "test.yml"
    tests = [case(*one) for one in FIRING]
    file.write_text(yaml.safe_dump({"rule_files": [str(RULES)], "evaluation_interval": "1m", "tests": tests}))
    assert "SUCCESS" in promtool("test", "rules", file)


def test_no_track_is_a_label_and_series_are_bounded(scraped: Scraped) -> None:
    labels = set(re.findall(r'[{,]([a-z_]+)="', scraped.text))
    assert labels == {"camera", "type", "emotion", "stage", "le", "version", "model", "model_version", "precision"} | (
        {"reason"} if "edge_emotion_throttled" in scraped.text else set()
    )
    assert re.search("01[0-9A-HJKMNP-TV-Z]{24}", scraped.text) is None


def test_counters_do_not_fall_when_a_camera_is_opened_by_another_thread() -> None:
    def capture(frames: int, dropped: int) -> Capture:
        return cast(
            Capture, SimpleNamespace(frames=frames, slot=SimpleNamespace(dropped=dropped), reconnects=1, stalls=2)
        )

    totals, first, second = CameraTotals(), capture(100, 7), capture(0, 0)
    totals.follow(first)
    assert totals.counts() == (100, 7, 1, 2)
    totals.follow(second)
    assert totals.counts() == (100, 7, 2, 4)
    second.frames = 5
    totals.follow(second)
    assert totals.counts() == (105, 7, 2, 4)


@pytest.mark.parametrize(("seconds", "renewed"), [(0.0, True), (3600.0, False)])
def test_a_text_is_made_anew_only_when_it_is_stale(
    seconds: float, renewed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(metrics_module, "FRESH_SECONDS", seconds)
    metrics = Metrics(LiveState(), None)
    assert b"edge_emotion_events_total{" not in metrics.recent_text()
    metrics.count_event(event(1))
    assert (b"edge_emotion_events_total{" in metrics.recent_text()) == renewed
    assert b"edge_emotion_events_total{" in metrics.text()
