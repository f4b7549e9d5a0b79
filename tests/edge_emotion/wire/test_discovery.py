"""The device payload against Home Assistant's rules, written down here with the place where each one stands."""

from __future__ import annotations

import json
from datetime import datetime, timezone
from types import SimpleNamespace
from typing import Any

import pytest
from jinja2 import Environment
from support.home_assistant import check_device
from support.orders import RELEASE

from edge_emotion.datatypes import CameraState
from edge_emotion.labels import EMOTIONS
from edge_emotion.wire.home_assistant import device_config
from edge_emotion.wire.payloads import state_to_json
from edge_emotion.wire.topics import Topics
from edge_emotion.wire.update_report import UpdateReport, UpdateState, report_to_object

TOPICS = Topics("home/emotion", "pi5")
BARE = {"rss_mb": 1.0, "cpu_percent": 1.0, "temperature_c": None, "throttling": None}
PI = {**BARE, "temperature_c": 50.0, "throttling": []}


def made(cameras: list[str], machine: dict[str, Any] = PI, topics: Topics = TOPICS, **options: bool) -> dict[str, Any]:
    config = device_config(topics, cameras, EMOTIONS, "tiny", machine, **options)
    payload: dict[str, Any] = json.loads(json.dumps(config))
    return payload


@pytest.mark.parametrize("machine", [BARE, PI])
@pytest.mark.parametrize(
    ("node", "cameras"),
    [("pi5", ["desk"]), ("Pi-5", ["Front-Door", "_x_", "a--b"]), ("a" * 64, ["b" * 64]), ("5", ["1"])],
)
def test_the_device_obeys_home_assistants_rules(node: str, cameras: list[str], machine: dict[str, Any]) -> None:
    payload = made(cameras, machine, Topics("p", node))
    check_device(payload)
    assert len(payload["components"]) == 8 * len(cameras) + (5 if machine is BARE else 7)


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
        lambda c: c["desk_occupancy"].update(device_class="occupied"),
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
    for key in ("emotion", "confidence", "faces", "occupancy", "expression", "fps"):
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
    assert components["desk_occupancy"]["state_topic"] == "home/emotion/pi5/desk/state"
    assert components["desk_expression"]["state_topic"] == "home/emotion/pi5/desk/events"
    assert components["desk_expression"]["event_types"] == [*EMOTIONS, "unknown"]
    assert components["desk_enabled"]["command_topic"] == "home/emotion/pi5/desk/enabled/set"
    assert components["desk_threshold"]["state_topic"] == "home/emotion/pi5/desk/threshold/state"
    assert components["outbox"]["state_topic"] == "home/emotion/pi5/stats"


@pytest.mark.parametrize(("faces", "shown"), [(0, "OFF"), (1, "ON"), (7, "ON")])
def test_a_camera_is_occupied_while_its_state_counts_faces(faces: int, shown: str) -> None:
    """The template is an expression that Jinja and Python read alike; ON and OFF are Home Assistant's defaults."""
    template = made(["desk"])["components"]["desk_occupancy"]["value_template"]
    state = CameraState(datetime.now(timezone.utc), faces, None, None, {}, {})
    published = SimpleNamespace(**json.loads(state_to_json(state)))
    assert eval(template.strip("{} "), {"value_json": published}) == shown


@pytest.mark.parametrize(
    ("state", "latest", "in_progress"),
    [
        ("waiting", "2.0.0", False),
        ("fetching", "2.0.0", True),
        ("checking", "2.0.0", True),
        ("switched", "2.0.0", False),
        ("returned", "1.0.0", False),
        ("refused", "1.0.0", False),
    ],
)
def test_a_node_that_follows_orders_has_an_update_of_its_model(
    state: UpdateState, latest: str, in_progress: bool
) -> None:
    payload = made(["desk"], follows_orders=True)
    check_device(payload)
    component = payload["components"]["model_update"]
    assert (component["platform"], component["state_topic"]) == ("update", "home/emotion/pi5/info")
    environment = Environment(autoescape=False)
    environment.filters["to_json"] = json.dumps  # Home Assistant's own filter, helpers/template
    template = environment.from_string(component["value_template"])
    info: dict[str, Any] = {"model": {"version": "1.0.0"}}
    release = RELEASE.model_copy(update={"version": "2.0.0"})
    report = UpdateReport(group="cafes", order=1, release=release, state=state, since=datetime.now(timezone.utc))
    shown = json.loads(template.render(value_json=info | {"model_update": report_to_object(report)}))
    assert shown == {"installed_version": "1.0.0", "latest_version": latest, "in_progress": in_progress}
    without = {"installed_version": "1.0.0", "latest_version": "1.0.0", "in_progress": False}
    no_order = report_to_object(UpdateReport(group="cafes", since=datetime.now(timezone.utc)))
    for before in (info, info | {"model_update": no_order}):
        assert json.loads(template.render(value_json=before)) == without
