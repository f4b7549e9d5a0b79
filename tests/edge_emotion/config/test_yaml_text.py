"""Settings as people write them in YAML: numbers that are names, variables, and what is no YAML at all."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from edge_emotion.config.loader import load, parse_override
from edge_emotion.config.settings import Settings
from edge_emotion.config.yaml_text import read_yaml
from edge_emotion.errors import ConfigError

REST = "cameras: {desk: {source: 0}}\njsonl: {}\n"


def read(text: str, folder: Path) -> Settings:
    file = folder / "edge-emotion.yaml"
    file.write_text(text)
    return load(file, environment=False)


@pytest.mark.parametrize("text", ["0123", "0778", "12345678", "1_000", "0x1f", "1e3", "1.50", "12:30", "2026-11-20"])
def test_a_number_where_text_belongs_is_taken_as_it_was_written(text: str, tmp_path: Path) -> None:
    mqtt = read(f"{REST}mqtt: {{username: {text}, password: {text}, client_id: {text}}}", tmp_path).mqtt
    assert mqtt is not None and mqtt.password is not None
    assert (mqtt.username, mqtt.password.get_secret_value(), mqtt.client_id) == (text, text, text)
    assert parse_override(f"mqtt.username={text}")["mqtt"]["username"] is not None


def test_a_leading_zero_does_not_make_a_number_octal(tmp_path: Path) -> None:
    assert read(f"{REST}max_rss: 0100", tmp_path).max_rss == 100


@pytest.mark.parametrize("text", ["yes", "on", "true"])
def test_a_truth_value_where_text_belongs_is_explained(text: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="node: YAML reads yes, no, on and off as true and false: quote a text"):
        read(f"{REST}node: {text}", tmp_path)


def test_variables_are_replaced_in_values_but_not_in_single_quotes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CAMERA_PASSWORD", "p@ss: #1")
    monkeypatch.setenv("BROKER_PORT", "1884")
    found = read(
        "cameras:\n"
        '  desk: {source: "rtsp://admin:${CAMERA_PASSWORD}@cam/1"}\n'
        "  hall: {source: 'a${CAMERA_PASSWORD}'}\n"
        '  door: {source: "a$${CAMERA_PASSWORD}"}\n'
        "jsonl:\n  path: ${EVENT_FILE:-events.jsonl}\n"
        "mqtt:\n  port: ${BROKER_PORT}\n  username: me\n  password: ${CAMERA_PASSWORD}\n",
        tmp_path,
    )
    sources = {name: camera.source for name, camera in found.cameras.items()}
    assert sources["desk"] == "rtsp://admin:p@ss: #1@cam/1"
    assert sources["hall"] == "a${CAMERA_PASSWORD}"
    assert sources["door"] == "a${CAMERA_PASSWORD}"
    assert found.jsonl is not None and found.jsonl.path == "events.jsonl"
    assert found.mqtt is not None and found.mqtt.port == 1884
    assert found.mqtt.read_password() == "p@ss: #1"


def test_a_variable_that_is_not_set_is_named_with_its_line(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"line 3, column 7: the environment variable NOT_SET_ANYWHERE is not set"):
        read(f"{REST}node: ${{NOT_SET_ANYWHERE}}", tmp_path)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("node: {{ hostname }}", "line 3, column 8: a key must be plain text; quote a value that begins with"),
        ("? [a]\n: b", "a key must be plain text"),
        ("node: a\nnode: b", "the key 'node' stands twice"),
        ("node: !secret name", "unknown tag !secret: ${NAME} reads an environment variable, mqtt.password_file a file"),
        ("node: " + "[" * 3000, "a value cannot be read (RecursionError)"),
        ("node: " + "1" * 5000, "a value cannot be read (ValueError)"),
        ("node: !!binary x", "failed to decode base64"),
        ("node: &a [*a]", "node: must be text"),
    ],
    ids=["template", "list as key", "twice", "tag", "deep", "digits", "binary", "itself"],
)
def test_whatever_is_in_the_file_is_one_line(text: str, fault: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        read(REST + text, tmp_path)
    assert fault in str(caught.value) and "\n" not in str(caught.value)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.dates(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(sorted(Settings.model_fields)), VALUES)
@example("cameras", {"\n": None})
@example("mqtt", {"ho\rst": 1})
def test_any_value_of_any_key_is_read_or_refused_in_one_line(key: str, value: object) -> None:
    text = yaml.safe_dump({"cameras": {"desk": {"source": 0}}, "jsonl": {}, key: value}, allow_unicode=True)
    try:
        layers = read_yaml(text)
        load(None, layers, environment=False)
    except (ConfigError, ValueError) as error:
        assert isinstance(error, (ConfigError, ValueError)) and "\n" not in str(error)


@settings(deadline=None)
@given(st.text(alphabet="{}[]:,-?&*!|>'\"%@`#~ \n\tab01.e", max_size=60))
def test_any_text_is_read_or_refused_with_a_value_error(text: str) -> None:
    try:
        read_yaml(text)
    except ValueError as error:
        assert "\n" not in str(error)
