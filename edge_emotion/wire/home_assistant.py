"""Device discovery for Home Assistant: one device for a node, with its entities.

The format is that of its MQTT integration, "Device discovery payload" and the pages of the platforms sensor, event,
switch, number, binary_sensor and update (https://www.home-assistant.io/integrations/mqtt).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from edge_emotion import __version__
from edge_emotion.labels import UNKNOWN
from edge_emotion.wire.topics import Topics

NOBODY = "nobody"
"""Value of a camera's emotion entity when no face is in the picture."""

Component = dict[str, Any]


def device_config(
    topics: Topics,
    cameras: Sequence[str],
    labels: Sequence[str],
    model: str,
    machine: Mapping[str, Any],
    *,
    follows_orders: bool = False,
) -> dict[str, Any]:
    """The payload for ``<discovery prefix>/device/<id>/config``, plain JSON values.

    ``labels`` are all emotions of the ``model``. ``machine`` is the result of ``Machine.readings`` on this machine: a
    sensor that it does not have gets no entity. A node that ``follows_orders`` has an entity for updates of its model.
    """
    components: dict[str, Component] = {}
    for camera in cameras:
        components |= {f"{camera}_{key}": value for key, value in _camera(topics, camera, labels).items()}
    components |= _node(topics, machine)
    if follows_orders:
        components["model_update"] = _named(topics, ("model_update",), _update(topics))
    return {
        "device": {
            "identifiers": [f"edge-emotion_{topics.node}"],
            "name": topics.node,
            "manufacturer": "edge-emotion",
            "model": model,
            "sw_version": __version__,
        },
        "origin": {"name": "edge-emotion", "sw_version": __version__},
        "availability": [_available(topics.availability)],
        "availability_mode": "all",
        "qos": 1,
        "components": components,
    }


def _camera(topics: Topics, camera: str, labels: Sequence[str]) -> dict[str, Component]:
    state, stats = topics.camera(camera, "state"), f"value_json.cameras['{camera}'].processed_fps"
    # Values that the camera measures need the camera; values that can be set need only the node.
    seen = {"availability": [_available(topics.availability), _available(topics.camera(camera, "availability"))]}
    made: dict[str, Component] = {
        "emotion": {
            "device_class": "enum",
            "options": [*labels, UNKNOWN, NOBODY],
            "state_topic": state,
            "value_template": f"{{{{ value_json.emotion or '{NOBODY}' }}}}",
            "icon": "mdi:emoticon-outline",
            **seen,
        },
        "confidence": {
            "unit_of_measurement": "%",
            "state_class": "measurement",
            "suggested_display_precision": 0,
            "state_topic": state,
            "value_template": "{{ (100 * value_json.confidence) | round(2) if value_json.faces else None }}",
            **seen,
        },
        "faces": {
            "state_class": "measurement",
            "state_topic": state,
            "value_template": "{{ value_json.faces }}",
            "icon": "mdi:account-multiple-outline",
            **seen,
        },
        "occupancy": {
            "platform": "binary_sensor",
            "device_class": "occupancy",
            "state_topic": state,
            "value_template": "{{ 'ON' if value_json.faces > 0 else 'OFF' }}",
            **seen,
        },
        "expression": {
            "platform": "event",
            "event_types": [*labels, UNKNOWN],
            "state_topic": topics.camera(camera, "events"),
            # Neither the end of a track nor a replayed event is an expression at this moment.
            "value_template": "{{ value if value_json.type != 'end' and not value_json.replayed }}",
            **seen,
        },
        "enabled": {**_settable(topics, camera, "enabled"), "platform": "switch", "icon": "mdi:cctv"},
        "threshold": {
            **_settable(topics, camera, "threshold"),
            "platform": "number",
            "min": 0,
            "max": 1,
            "step": 0.01,
            "mode": "slider",
        },
        "fps": {**_figure(topics, stats, "fps"), **seen},
    }
    return {key: _named(topics, (camera, key), value) for key, value in made.items()}


def _node(topics: Topics, machine: Mapping[str, Any]) -> dict[str, Component]:
    made = {
        "outbox": _figure(topics, "value_json.outbox.depth", "events"),
        "dropped": _figure(topics, "value_json.outbox.dropped", "events"),
        "memory": {**_figure(topics, "value_json.machine.rss_mb", "MB"), "device_class": "data_size"},
        "cpu": _figure(topics, "value_json.machine.cpu_percent", "%"),
        "uptime": {**_figure(topics, "value_json.uptime", "s"), "device_class": "duration"},
    }
    if machine["temperature_c"] is not None:
        figure = _figure(topics, "value_json.machine.temperature_c", "°C")
        made["temperature"] = {**figure, "device_class": "temperature"}
    if machine["throttling"] is not None:
        made["throttled"] = {
            "platform": "binary_sensor",
            "device_class": "problem",
            "entity_category": "diagnostic",
            "state_topic": topics.stats,
            "value_template": "{{ 'ON' if value_json.machine.throttling else 'OFF' }}",
        }
    return {key: _named(topics, (key,), value) for key, value in made.items()}


_UPDATE = (
    "{% set update = value_json.model_update %}{% set installed = value_json.model.version %}"
    "{% set wanted = update is defined and update.release and update.state not in ('returned', 'refused') %}"
    "{{ {'installed_version': installed, 'latest_version': update.release.version if wanted else installed, "
    "'in_progress': update is defined and update.state in ('fetching', 'checking')} | to_json }}"
)
"""From ``info`` to what the platform reads. An order that this node has left or refused is no update for it."""


def _update(topics: Topics) -> Component:
    """Shown only: there is no command topic, because orders come from whoever has the key."""
    return {
        "platform": "update",
        "state_topic": topics.info,
        "value_template": _UPDATE,
        "entity_category": "diagnostic",
    }


def _settable(topics: Topics, camera: str, feature: str) -> Component:
    state = topics.feature(camera, feature)
    command = state.removesuffix("state") + "set"
    return {"command_topic": command, "state_topic": state, "entity_category": "config"}


def _figure(topics: Topics, value: str, unit: str) -> Component:
    return {
        "state_topic": topics.stats,
        "value_template": f"{{{{ {value} }}}}",
        "unit_of_measurement": unit,
        "state_class": "measurement",
        "entity_category": "diagnostic",
    }


def _named(topics: Topics, path: tuple[str, ...], component: Component) -> Component:
    """With its names. Dots, which no name contains, keep the ids of ``a_b``, ``c`` and of ``a``, ``b_c`` apart."""
    platform = component.get("platform", "sensor")
    slug = re.sub(r"[^a-z0-9]+", "_", "_".join((topics.node, *path)).lower()).strip("_")
    return {
        "platform": platform,
        "unique_id": ".".join(("edge-emotion", topics.node, *path)),
        "default_entity_id": f"{platform}.{slug}",
        "name": " ".join(path),
        **component,
    }


def _available(topic: str) -> dict[str, str]:
    return {"topic": topic}
