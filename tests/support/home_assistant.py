"""Home Assistant's rules for MQTT discovery, written down with the place where each one stands."""

from __future__ import annotations

import re
from typing import Any

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
    "update": {"command_topic", "latest_version_topic", "latest_version_template", "payload_install", "title"},
}
REQUIRED = {
    "sensor": {"state_topic"},  # mqtt/config.py, MQTT_RO_SCHEMA
    "binary_sensor": {"state_topic"},
    "event": {"state_topic", "event_types"},  # mqtt/event.py
    "switch": {"command_topic"},  # mqtt/config.py, MQTT_RW_SCHEMA
    "number": {"command_topic"},
    "update": {"state_topic"},  # mqtt/config.py, MQTT_RO_SCHEMA
}
BINARY = {"occupancy", "problem"}  # binary_sensor/__init__.py, BinarySensorDeviceClass: those that are used here
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
    if platform == "binary_sensor":
        assert component["device_class"] in BINARY
    if platform in ("sensor", "binary_sensor", "update"):
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
