from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from edge_emotion.config.loader import load, parse_override, redacted
from edge_emotion.config.settings import MqttSettings
from edge_emotion.errors import ConfigError

GOOD = """
node: pi5
cameras:
  desk: {source: 0, fps: 10}
mqtt: {host: broker, username: me, password: s3cret}
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "edge-emotion.yaml"
    path.write_text(GOOD)
    return path


def fault(file: Path | None, overrides: dict[str, Any] | None = None) -> str:
    with pytest.raises(ConfigError) as caught:
        load(file, overrides)
    message = str(caught.value)
    assert "\n" not in message
    assert "s3cret" not in message
    return message


def test_the_command_line_wins_over_the_environment_over_the_file(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGE_EMOTION_MQTT__HOST", "from-environment")
    monkeypatch.setenv("EDGE_EMOTION_MQTT__PORT", "1999")
    monkeypatch.setenv("EDGE_EMOTION_CAMERAS__DESK__FPS", "5")
    settings = load(file, {"mqtt": {"port": 2000}})
    assert settings.mqtt is not None
    assert (settings.mqtt.host, settings.mqtt.port, settings.mqtt.username) == ("from-environment", 2000, "me")
    assert settings.cameras["desk"].fps == 5
    assert settings.cameras["desk"].source == "0"


@pytest.mark.parametrize("name", ["FrontDoor", "front-door", "frontdoor"])
def test_the_environment_reaches_cameras_of_any_name(file: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    file.write_text(GOOD.replace("desk", name))
    variable = name.upper().replace("-", "_")
    monkeypatch.setenv(f"EDGE_EMOTION_CAMERAS__{variable}__SOURCE", "rtsp://other")
    assert {key: camera.source for key, camera in load(file).cameras.items()} == {name: "rtsp://other"}


def test_a_camera_of_the_command_line_does_not_hide_those_of_the_file(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file.write_text(GOOD.replace("desk", "FrontDoor"))
    monkeypatch.setenv("EDGE_EMOTION_CAMERAS__FRONTDOOR__SOURCE", "rtsp://other")
    cameras = load(file, {"cameras": {"camera": {"source": "1"}}}).cameras
    assert {key: camera.source for key, camera in cameras.items()} == {"FrontDoor": "rtsp://other", "camera": "1"}


@pytest.mark.parametrize("host", ["broker", "192.0.2.1", "[::1]", "fe80::1%eth0", "a.b-c.local"])
def test_hosts_are_names_or_addresses(host: str) -> None:
    assert MqttSettings(host=host).host == host.strip("[]")


def test_what_yaml_takes_for_numbers_or_text_is_understood(file: Path) -> None:
    file.write_text("node: 5\ncameras: {1: {source: 0}}\nmqtt: {protocol: 5}\nclassifier: {classes: 'happy, sad'}")
    settings = load(file)
    assert (settings.node, settings.cameras["1"].source) == ("5", "0")
    assert settings.classifier.classes == ("happy", "sad")


def test_discovery_is_switched_by_a_word_or_a_section(file: Path) -> None:
    for text, expected in (("off", False), ("{prefix: ha}", True), ("{enabled: false}", False)):
        file.write_text(f"cameras: {{a: {{source: 0}}}}\nmqtt: {{discovery: {text}}}")
        mqtt = load(file).mqtt
        assert mqtt is not None and mqtt.discovery.enabled is expected


def test_without_a_home_the_state_directory_must_be_named(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("XDG_STATE_HOME")
    monkeypatch.setattr("os.path.expanduser", lambda path: path)
    with pytest.raises(ConfigError, match="set state_dir"):
        _ = load(file).state_path


def test_everything_can_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGE_EMOTION_CAMERAS__DOOR__SOURCE", "/dev/video2")
    monkeypatch.setenv("EDGE_EMOTION_JSONL__PATH", "-")
    settings = load()
    assert settings.cameras["door"].source == "/dev/video2"


def test_the_node_defaults_to_a_name_that_topics_allow(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("socket.gethostname", lambda: "my pi.local")
    file.write_text(GOOD.replace("node: pi5", ""))
    assert load(file).node == "my-pi"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("cameras: {desk: {sorce: 0}}\nmqtt: {}", "cameras.desk.sorce: unknown key; did you mean 'source'?"),
        (GOOD + "mqtt_: {}", "mqtt_: unknown key; did you mean 'mqtt'?"),
        ("mqtt: {}", "cameras: is required"),
        ("cameras: {}\nmqtt: {}", "cameras: "),
        ("cameras: {}", "must have at least 1 item"),
        ("cameras: {a: {source: 0}}", "events have nowhere to go: set mqtt (host), jsonl (path) or web (listen)"),
        ("cameras: {a b: {source: 0}}\nmqtt: {}", "cameras.a b: only letters, digits, - and _"),
        ("node: a/b\ncameras: {a: {source: 0}}\nmqtt: {}", "node: only letters, digits, - and _"),
        ("cameras: {a: {source: 0}}\nmqtt: {port: 99999}", "mqtt.port: must be less than or equal to 65535"),
        ("cameras: {a: {source: 0}}\nmqtt: {prefix: a/#}", "mqtt.prefix: "),
        ("cameras: {a: {source: 0}}\nmqtt: {password: s3cret}", "mqtt: a password needs a username"),
        ("cameras: {a: {source: 0}}\nmqtt: {tls: {key: k}}", "mqtt.tls: certificate and key go together"),
        ("cameras: {a: {source: 0}}\nmqtt: {}\nclassifier: {classes: [hapy]}", "did you mean 'happiness'?"),
        ("cameras: {a: {source: 0}}\nmqtt: {}\npolicy: {threshold: 1.5}", "policy.threshold: "),
        ("cameras: {a: {source: true}}\nmqtt: {}", "cameras.a.source: "),
        ("cameras: [1", "is not YAML"),
        ("cameras: {a: {source: 0}, a: {source: 1}}\nmqtt: {}", "line 1, column 27: the key 'a' stands twice"),
        ("cameras: {a: {source: 0}}\nmqtt: {username: u, password: @s3cret}", "is not YAML: line 2, column 31"),
        ("cameras: {info: {source: 0}}\nmqtt: {}", "cameras: a camera cannot be called 'info'"),
        ("cameras: {a: {source: 0}}\nmqtt: {host: 'mqtt://x'}", "mqtt.host: expected a host name or address"),
        ("cameras: {a: {source: 0}}\nmqtt: {host: 'x:abc'}", "mqtt.host: expected a host name or address"),
        ("cameras: {a: {source: 0}}\nmqtt: {host: 'a b'}", "mqtt.host: expected a host name or address"),
        (
            "cameras: {a: {source: 0}}\nmqtt: {discovery: {prefx: ha}}",
            "mqtt.discovery.prefx: unknown key; did you mean 'prefix'?",
        ),
        ("cameras: {a: {source: 0}}\nmqtt: {discovery: {prefix: 'a/#'}}", "mqtt.discovery.prefix: "),
        ("just text", "must hold keys and values"),
    ],
)
def test_a_fault_is_one_line_that_names_file_and_key(file: Path, text: str, expected: str) -> None:
    file.write_text(text)
    message = fault(file)
    assert str(file) in message or "settings" in message
    assert expected in message


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    assert "nowhere.yaml: No such file" in fault(tmp_path / "nowhere.yaml")


def test_a_fault_is_blamed_on_its_layer(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert fault(file, {"mqtt": {"hots": "x"}}).startswith("command line: mqtt.hots")
    monkeypatch.setenv("EDGE_EMOTION_MQTT__PORT", "many")
    assert fault(file).startswith("environment: mqtt.port")


def test_a_typo_in_the_environment_does_not_pass_silently(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGE_EMOTION_MQT__HOST", "x")
    assert "EDGE_EMOTION_MQT__HOST: no setting 'mqt'; did you mean 'mqtt'?" in fault(file)


def test_secrets_are_redacted(file: Path) -> None:
    file.write_text(GOOD.replace("source: 0", "source: 'rtsp://admin:hunter2@cam/stream'"))
    shown = str(redacted(load(file)))
    assert "s3cret" not in shown
    assert "hunter2" not in shown
    assert "rtsp://***@cam/stream" in shown
    assert "s3cret" not in repr(load(file))


def test_a_password_may_come_from_a_file(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("s3cret\n")
    assert MqttSettings(username="me", password_file=secret).read_password() == "s3cret"
    with pytest.raises(ConfigError, match=r"mqtt\.password_file .*nowhere"):
        MqttSettings(username="me", password_file=tmp_path / "nowhere").read_password()


def test_the_port_follows_tls() -> None:
    assert MqttSettings().effective_port == 1883
    assert MqttSettings.model_validate({"tls": {}}).effective_port == 8883


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("mqtt.host=broker", {"mqtt": {"host": "broker"}}),
        ("policy.threshold=0.6", {"policy": {"threshold": 0.6}}),
        ("classifier.classes=[happy, sad]", {"classifier": {"classes": ["happy", "sad"]}}),
    ],
)
def test_overrides_are_keys_and_yaml_values(text: str, expected: dict[str, Any]) -> None:
    assert parse_override(text) == expected


@pytest.mark.parametrize("text", ["mqtt.host", "=1", "a..b=1", "a=[1"])
def test_a_malformed_override_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="--set"):
        parse_override(text)
