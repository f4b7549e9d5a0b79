"""The profile ``fleet``: what a hundred thousand nodes send while nothing happens."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from edge_emotion.config.diff import compare_settings
from edge_emotion.config.loader import load
from edge_emotion.config.settings import MqttSettings, Settings
from edge_emotion.factory.models import make_models
from edge_emotion.factory.node_info import describe_node
from edge_emotion.system.backoff import Jitter

NODES = 100_000
CAMERA = {"desk": {"source": "0"}}


def node(**mqtt: Any) -> Settings:
    return Settings.model_validate({"cameras": CAMERA, "mqtt": mqtt})


def idle_messages(settings: Settings) -> float:
    """Messages that an idle node publishes in a second: the state of each camera, and its statistics."""
    return len(settings.cameras) / settings.heartbeat + 1 / settings.stats_interval


def test_100_000_idle_nodes_publish_fewer_than_400_messages_a_second_and_keep_alive_as_rarely() -> None:
    fleet = node(profile="fleet")
    assert fleet.mqtt is not None
    assert 300 < NODES * idle_messages(fleet) < 400
    assert NODES / fleet.mqtt.keepalive < 400
    assert NODES / fleet.mqtt.reconnect_spread < 4_000, "connections a second after the broker was away"
    assert NODES * idle_messages(node()) > 3_000


def test_a_node_of_a_fleet_is_no_device_in_home_assistant() -> None:
    models = make_models(node(profile="fleet"))
    assert describe_node(node(profile="fleet"), models.classifier, models.detector)[1] is None
    assert describe_node(node(), models.classifier, models.detector)[1] is not None


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"heartbeat": 60}, (60, 600, False)),
        ({"stats_interval": 30}, (600, 30, False)),
        ({"discovery": True}, (600, 600, True)),
        ({"discovery": {"prefix": "ha"}}, (600, 600, False)),
        ({"discovery": {"enabled": True, "prefix": "ha"}}, (600, 600, True)),
    ],
)
def test_explicit_settings_win_over_the_profile(given: dict[str, Any], expected: tuple[float, float, bool]) -> None:
    mqtt = MqttSettings.model_validate({"profile": "fleet", **given})
    assert (mqtt.heartbeat, mqtt.stats_interval, mqtt.discovery.enabled) == expected


def test_explicit_settings_of_any_layer_win(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "settings.yaml"
    file.write_text("cameras: {desk: {source: 0}}\nmqtt: {heartbeat: 50}\n", encoding="utf-8")
    monkeypatch.setenv("EDGE_EMOTION_MQTT__JITTER", "0.1")
    mqtt = load(file, {"mqtt": {"profile": "fleet"}}).mqtt
    assert mqtt is not None
    assert (mqtt.heartbeat, mqtt.jitter, mqtt.stats_interval, mqtt.reconnect_spread) == (50, 0.1, 600, 30)


def test_a_reload_applies_the_profile_and_takes_it_back() -> None:
    changes = compare_settings(node(), node(profile="fleet"))
    assert "mqtt.profile" in changes.applied and "mqtt.heartbeat" in changes.applied
    assert set(changes.restart) == {"mqtt.keepalive", "mqtt.reconnect_spread"}
    assert (changes.settings.heartbeat, changes.settings.jitter) == (600, 0.2)
    back = compare_settings(changes.settings, node())
    assert (back.settings.heartbeat, back.settings.stats_interval, back.settings.jitter) == (60, 60, 0)
    assert back.settings.mqtt is not None and back.settings.mqtt.discovery.enabled


def test_nodes_that_start_at_the_same_moment_drift_apart_around_the_interval() -> None:
    due = []
    for _ in range(500):
        jitter, at = Jitter(), 0.0
        for _ in range(20):
            at += 600 * jitter.factor(0.2)
            jitter.renew()
        due.append(at)
    assert 11_900 < sum(due) / len(due) < 12_100
    assert max(due) - min(due) > 600
    assert Jitter().factor(0.0) == 1.0
