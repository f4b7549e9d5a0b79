"""The device payload against Home Assistant's rules, written down here with the place where each one stands."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from edge_emotion.labels import EMOTIONS
from edge_emotion.wire.home_assistant import device_config
from edge_emotion.wire.topics import Topics

TOPICS = Topics("home/emotion", "pi5")
BARE = {"rss_mb": 1.0, "cpu_percent": 1.0, "temperature_c": None, "throttling": None}
PI = {**BARE, "temperature_c": 50.0, "throttling": []}

# Files of Home Assistant core, release 2025.12, below homeassistant/components/.
ENTITY = {  # mqtt/schemas.py, MQTT_ENTITY_COMMON_SCHEMA, and config.py, MQTT_BASE_SCHEMA
    "availability", "availability_mode", "default_entity_id", "entity_category", "icon", "name", "platform", "qos",
    "state_topic", "unique_id", "value_template",
}  # fmt: skip
OWN = {  # mqtt/<platform>.py, PLATFORM_SCHEMA_MODERN
    "sensor": {"device_class", "options", "state_class", "suggested_display_precision", "unit_of_measurement"},
    "binary_sensor": {"device_class"},
    "event": {"event_types"},
    "switch": {"command_topic"},
    "number": {"command_topic", "max", "min", "mode", "step"},
}
REQUIRED = {
    "sensor": {"state_topic"},  # mqtt/config.py, MQTT_RO_SCHEMA
    "binary_sensor": {"state_topic"},
    "event": {"state_topic", "event_types"},  # mqtt/event.py
    "switch": {"command_topic"},  # mqtt/config.py, MQTT_RW_SCHEMA
    "number": {"command_topic"},
}
UNITS = {  # sensor/const.py, DEVICE_CLASS_UNITS
    "data_size": {"kB", "MB", "GB"},
    "duration": {"s", "min", "h"},
    "temperature": {"°C", "°F", "K"},
}
NAME = re.compile(r"[a-zA-Z0-9_-]+")  # mqtt/discovery.py, TOPIC_MATCHER
ENTITY_ID = re.compile(r"(?!.+__)(?!_)[\da-z_]+(?<!_)\.(?!_)[\da-z_]+(?<!_)")  # core.py, VALID_ENTITY_ID


def check_topic(topic: str) -> None:
    """mqtt/util.py, valid_topic and valid_publish_topic."""
    assert topic and len(topic.encode()) <= 65_535 and not set("+#\0") & set(topic)


def check_availability(entries: list[dict[str, str]]) -> None:
    """mqtt/schemas.py, MQTT_AVAILABILITY_LIST_SCHEMA; what is offline is the default payload."""
    assert entries
    for entry in entries:
        assert set(entry) <= {"topic", "payload_available", "payload_not_available", "value_template"}
        check_topic(entry["topic"])


def check_component(component: dict[str, Any]) -> None:
    platform = component["platform"]
    assert REQUIRED[platform] | {"unique_id"} <= set(component) <= ENTITY | OWN[platform]
    assert ENTITY_ID.fullmatch(component["default_entity_id"])
    assert component["default_entity_id"].split(".")[0] == platform
    for key in ("state_topic", "command_topic"):
        check_topic(component.get(key, "x"))
    check_availability(component.get("availability", [{"topic": "x"}]))
    assert component.get("entity_category") in (None, "config", "diagnostic")  # const.py, EntityCategory
    if platform == "sensor":
        check_sensor(component)
    if platform in ("sensor", "binary_sensor"):
        # helpers/entity.py: only what can be set is configuration.
        assert component.get("entity_category") != "config"


def check_sensor(component: dict[str, Any]) -> None:
    """mqtt/sensor.py, validate_sensor_state_and_device_class_config; sensor/const.py."""
    kind = component.get("device_class")
    if "options" in component:
        assert kind == "enum" and "state_class" not in component and "unit_of_measurement" not in component
        assert len(set(component["options"])) == len(component["options"]) > 0
    assert kind is None or kind == "enum" or component["unit_of_measurement"] in UNITS[kind]


def check_device(payload: dict[str, Any]) -> None:
    """mqtt/schemas.py, MQTT_DEVICE_DISCOVERY_SCHEMA: shared options, then device, origin and components."""
    assert set(payload) == {"device", "origin", "availability", "availability_mode", "qos", "components"}
    assert payload["availability_mode"] in ("all", "any", "latest")  # mqtt/schemas.py, AVAILABILITY_MODES
    check_availability(payload["availability"])
    device, origin = payload["device"], payload["origin"]  # mqtt/schemas.py, MQTT_ENTITY_DEVICE_INFO_SCHEMA
    assert set(device) <= {"identifiers", "name", "manufacturer", "model", "sw_version"} and device["identifiers"]
    assert set(origin) <= {"name", "sw_version", "support_url"} and origin["name"]  # MQTT_ORIGIN_INFO_SCHEMA
    ids = [component["unique_id"] for component in payload["components"].values()]
    assert len(set(ids)) == len(ids)
    for key, component in payload["components"].items():
        assert NAME.fullmatch(key)
        check_component(component)


def made(cameras: list[str], machine: dict[str, Any] = PI, topics: Topics = TOPICS) -> dict[str, Any]:
    payload: dict[str, Any] = json.loads(json.dumps(device_config(topics, cameras, EMOTIONS, "tiny", machine)))
    return payload


@pytest.mark.parametrize("machine", [BARE, PI])
@pytest.mark.parametrize(
    ("node", "cameras"),
    [("pi5", ["desk"]), ("Pi-5", ["Front-Door", "_x_", "a--b"]), ("a" * 64, ["b" * 64]), ("5", ["1"])],
)
def test_the_device_obeys_home_assistants_rules(node: str, cameras: list[str], machine: dict[str, Any]) -> None:
    payload = made(cameras, machine, Topics("p", node))
    check_device(payload)
    assert len(payload["components"]) == 7 * len(cameras) + (5 if machine is BARE else 7)


@pytest.mark.parametrize(
    "damage",
    [
        lambda c: c["desk_emotion"].update(object_id="x"),
        lambda c: c["desk_emotion"].update(unit_of_measurement="%"),
        lambda c: c["desk_emotion"].pop("unique_id"),
        lambda c: c["desk_expression"].pop("event_types"),
        lambda c: c["desk_enabled"].pop("command_topic"),
        lambda c: c["desk_faces"].update(state_topic="a/+/b"),
        lambda c: c["desk_faces"].update(default_entity_id="sensor.Desk-faces"),
        lambda c: c["memory"].update(unit_of_measurement="s"),
        lambda c: c["cpu"].update(unique_id=c["memory"]["unique_id"]),
        lambda c: c.update({"a b": c["cpu"]}),
    ],
)
def test_the_rules_find_what_home_assistant_would_refuse(damage: Any) -> None:
    payload = made(["desk"])
    damage(payload["components"])
    with pytest.raises((AssertionError, KeyError)):
        check_device(payload)


def test_what_a_camera_shows_needs_the_camera_and_what_can_be_set_does_not() -> None:
    components = made(["desk"])["components"]
    both = [{"topic": "home/emotion/pi5/availability"}, {"topic": "home/emotion/pi5/desk/availability"}]
    for key in ("emotion", "confidence", "faces", "expression", "fps"):
        assert components[f"desk_{key}"]["availability"] == both
    for key in ("enabled", "threshold"):
        assert "availability" not in components[f"desk_{key}"], "a camera that is off can be switched on"


def test_ids_do_not_depend_on_other_cameras_or_the_prefix_and_are_never_shared() -> None:
    def ids(cameras: list[str], topics: Topics = TOPICS) -> dict[str, str]:
        return {key: value["unique_id"] for key, value in made(cameras, topics=topics)["components"].items()}

    one = ids(["desk"])
    assert one.items() <= ids(["hall", "desk"]).items()
    assert one == ids(["desk"], Topics("other", "pi5"))
    assert not set(ids(["b_c"], Topics("p", "a")).values()) & set(ids(["c"], Topics("p", "a_b")).values())


def test_topics_are_those_of_the_contract() -> None:
    components = made(["desk"])["components"]
    assert components["desk_emotion"]["state_topic"] == "home/emotion/pi5/desk/state"
    assert components["desk_emotion"]["options"] == [*EMOTIONS, "unknown", "nobody"]
    assert components["desk_expression"]["state_topic"] == "home/emotion/pi5/desk/events"
    assert components["desk_expression"]["event_types"] == [*EMOTIONS, "unknown"]
    assert components["desk_enabled"]["command_topic"] == "home/emotion/pi5/desk/enabled/set"
    assert components["desk_threshold"]["state_topic"] == "home/emotion/pi5/desk/threshold/state"
    assert components["outbox"]["state_topic"] == "home/emotion/pi5/stats"
