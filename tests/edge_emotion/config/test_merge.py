"""One nested mapping over another one."""

from __future__ import annotations

from edge_emotion.config.merge import merged, nested
from edge_emotion.config.settings import DiscoverySettings, MqttSettings


def test_mappings_are_merged_at_any_depth_and_everything_else_is_replaced() -> None:
    below = {"a": {"b": 1, "c": [1]}, "d": {"e": 1}, "f": 1}
    above = {"a": {"c": [2], "g": {"h": 3}}, "d": 4, "f": {"i": 5}}
    assert merged(below, above) == {"a": {"b": 1, "c": [2], "g": {"h": 3}}, "d": 4, "f": {"i": 5}}
    assert below == {"a": {"b": 1, "c": [1]}, "d": {"e": 1}, "f": 1}, "the lower one is unchanged"


def test_a_model_is_merged_by_its_fields() -> None:
    tree = merged(MqttSettings(port=1884), {"discovery": {"enabled": False}, "keepalive": 7})
    read = MqttSettings.model_validate(tree)
    assert (read.port, read.keepalive, read.discovery) == (1884, 7, DiscoverySettings(enabled=False))


def test_a_key_with_dots_is_nested() -> None:
    assert nested("mqtt.tls.ca", "file") == {"mqtt": {"tls": {"ca": "file"}}}
    assert nested("node", {"a": 1}) == {"node": {"a": 1}}
