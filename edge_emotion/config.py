"""Settings: one tree, from a YAML file < the environment (``EDGE_EMOTION_MQTT__HOST``) < the command line.

Unknown keys and impossible values are errors that name the key and where it stands.
"""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    StringConstraints,
    ValidationError,
    model_validator,
)
from pydantic_settings import BaseSettings, InitSettingsSource, PydanticBaseSettingsSource, SettingsConfigDict

from edge_emotion.errors import ConfigError
from edge_emotion.labels import canonical
from edge_emotion.sources.spec import redact

ENV_PREFIX = "EDGE_EMOTION_"

Name = Annotated[str, StringConstraints(pattern=r"^[a-zA-Z0-9_-]{1,64}$")]
"""Part of a topic: letters, digits, - and _."""

TopicPrefix = Annotated[str, StringConstraints(pattern=r"^[a-zA-Z0-9_-]+(/[a-zA-Z0-9_-]+)*$", max_length=200)]


SourceText = Annotated[
    str,
    BeforeValidator(lambda value: str(value) if type(value) is int else value),
    StringConstraints(min_length=1, strip_whitespace=True),
]
"""A source; a bare number in YAML is a device index."""


class Section(BaseModel):
    """Base of every part of the tree."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class CameraSettings(Section):
    """One camera. What ``source`` may be stands in docs/sources.md; times are seconds."""

    source: SourceText
    width: int | None = Field(default=None, ge=32, le=7680)
    height: int | None = Field(default=None, ge=32, le=4320)
    fps: float | None = Field(default=None, gt=0, le=240)
    open_timeout: float = Field(default=10.0, gt=0, le=120)
    read_timeout: float = Field(default=4.0, gt=0, le=120)
    loop: bool = Field(default=False, description="a file or folder starts again at its end")
    realtime: bool = Field(default=True, description="a file is played at its own speed, not as fast as possible")
    max_fps: float = Field(default=15.0, gt=0, le=240, description="more frames than this are not processed")


class DetectorSettings(Section):
    """Finding faces."""

    model: str = "blazeface_back"
    threshold: float = Field(default=0.5, gt=0, lt=1)
    min_size: int = Field(default=40, ge=8, description="pixels; smaller faces are ignored")
    max_faces: int = Field(default=8, ge=1, le=64)
    threads: int = Field(default=1, ge=1, le=64)


class ClassifierSettings(Section):
    """From face to emotion."""

    model: str = "mobilenet_v2"
    precision: Literal["int8", "float16", "float32"] | None = None
    operating_point: str | None = None
    classes: tuple[str, ...] | None = None
    interval: float = Field(default=0.1, ge=0, le=60, description="seconds between two looks at the same face")
    threads: int = Field(default=1, ge=1, le=64)

    @model_validator(mode="after")
    def _emotions_exist(self) -> ClassifierSettings:
        for name in self.classes or ():
            canonical(name)
        return self


class TrackingSettings(Section):
    """Keeping faces apart over time."""

    iou: float = Field(default=0.2, gt=0, lt=1, description="least overlap with the last box")
    confirm_hits: int = Field(default=3, ge=1, description="sightings before a face counts")
    max_gap: float = Field(default=0.8, gt=0, le=60, description="seconds without a sight before a face has left")


class PolicySettings(Section):
    """When an emotion counts as settled."""

    threshold: float = Field(default=0.5, ge=0, le=1, description="less confidence than this is 'unknown'")
    hysteresis: float = Field(default=0.1, ge=0, le=0.5, description="the settled emotion may fall this far below")
    min_dwell: float = Field(default=0.5, ge=0, le=60, description="seconds a new emotion must hold")
    time_constant: float = Field(default=0.4, ge=0, le=60, description="smoothing of probabilities, seconds")


class TlsSettings(Section):
    """TLS towards the broker. Without ``ca`` the system's authorities count."""

    ca: Path | None = None
    certificate: Path | None = None
    key: Path | None = None
    insecure: bool = Field(default=False, description="do not check the broker's name and certificate")

    @model_validator(mode="after")
    def _pair(self) -> TlsSettings:
        if (self.certificate is None) != (self.key is None):
            raise ValueError("certificate and key go together: give both or none")
        return self


class MqttSettings(Section):
    """The broker."""

    host: str = Field(default="localhost", min_length=1)
    port: int | None = Field(default=None, ge=1, le=65535, description="default 1883, with TLS 8883")
    username: str | None = None
    password: SecretStr | None = None
    password_file: Path | None = None
    protocol: Literal["5", "3.1.1"] = "5"
    prefix: TopicPrefix = "edge-emotion"
    client_id: str | None = None
    keepalive: int = Field(default=30, ge=5, le=3600)
    tls: TlsSettings | None = None
    outbox: int = Field(default=10_000, ge=1, description="events that wait for the broker; the oldest are dropped")
    drain_timeout: float = Field(default=3.0, ge=0, le=60, description="seconds to deliver the rest at a stop")
    heartbeat: float = Field(default=60.0, gt=0, le=3600, description="seconds between unchanged states")

    @model_validator(mode="after")
    def _one_password(self) -> MqttSettings:
        if self.password is not None and self.password_file is not None:
            raise ValueError("password and password_file exclude each other")
        if self.username is None and (self.password is not None or self.password_file is not None):
            raise ValueError("a password needs a username")
        return self

    @property
    def effective_port(self) -> int:
        """The port that is used."""
        return self.port or (1883 if self.tls is None else 8883)

    def read_password(self) -> str | None:
        """The password from the setting or its file. Raises ConfigError for a file that cannot be read."""
        if self.password_file is None:
            return None if self.password is None else self.password.get_secret_value()
        try:
            return self.password_file.expanduser().read_text(encoding="utf-8").rstrip("\r\n")
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"mqtt.password_file {self.password_file}: {error}") from error


class JsonlSettings(Section):
    """Events as JSON lines; ``-`` is standard output."""

    path: str = "-"


def _host_name() -> str:
    return re.sub(r"[^a-zA-Z0-9_-]", "-", socket.gethostname().split(".")[0])[:64] or "edge"


class Settings(BaseSettings):
    """The whole tree."""

    model_config = SettingsConfigDict(
        extra="forbid", frozen=True, env_prefix=ENV_PREFIX, env_nested_delimiter="__", hide_input_in_errors=True
    )

    node: Name = Field(default_factory=_host_name)
    cameras: dict[Name, CameraSettings] = Field(min_length=1)
    detector: DetectorSettings = DetectorSettings()
    classifier: ClassifierSettings = ClassifierSettings()
    tracking: TrackingSettings = TrackingSettings()
    policy: PolicySettings = PolicySettings()
    mqtt: MqttSettings | None = None
    jsonl: JsonlSettings | None = None
    state_dir: Path | None = Field(
        default=None, description="default: $STATE_DIRECTORY, else ~/.local/state/edge-emotion"
    )
    log_level: Literal["debug", "info", "warning", "error"] = "info"

    @model_validator(mode="after")
    def _somewhere_to_go(self) -> Settings:
        if self.mqtt is None and self.jsonl is None:
            raise ValueError("events have nowhere to go: set mqtt (host) or jsonl (path)")
        return self

    @property
    def state_path(self) -> Path:
        """Where the node remembers what must survive a restart."""
        if self.state_dir is not None:
            return self.state_dir.expanduser()
        if systemd := os.environ.get("STATE_DIRECTORY"):
            return Path(systemd.split(":")[0])
        base = os.environ.get("XDG_STATE_HOME") or "~/.local/state"
        return Path(base).expanduser() / "edge-emotion"


def load(file: Path | None = None, overrides: Mapping[str, Any] | None = None) -> Settings:
    """The settings from ``file``, under the environment, under ``overrides`` (a nested mapping).

    Raises ConfigError for the first fault: what, at which key, what to do.
    """
    from_file = {} if file is None else _read_yaml(file)
    _check_environment()

    class Layered(Settings):
        @classmethod
        def settings_customise_sources(
            cls,
            settings_cls: type[BaseSettings],
            init_settings: PydanticBaseSettingsSource,
            env_settings: PydanticBaseSettingsSource,
            dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
            file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        ) -> tuple[PydanticBaseSettingsSource, ...]:
            return init_settings, env_settings, InitSettingsSource(settings_cls, init_kwargs=from_file)

    try:
        return Layered(**(overrides or {}))
    except ValidationError as error:
        raise ConfigError(_explain(error, {"command line": overrides or {}, str(file): from_file})) from error
    except ValueError as error:  # pydantic-settings: a malformed JSON value in the environment
        raise ConfigError(f"environment: {error}") from error


def parse_override(text: str) -> dict[str, Any]:
    """``mqtt.host=broker`` as ``{"mqtt": {"host": "broker"}}``; the value is YAML. Raises ConfigError."""
    key, equals, value = text.partition("=")
    if not equals or not all(key.split(".")):
        raise ConfigError(f"--set {text!r}: expected KEY=VALUE, for example mqtt.host=broker.local")
    try:
        nested: Any = yaml.safe_load(value)
    except yaml.YAMLError as error:
        raise ConfigError(f"--set {text!r}: the value is not YAML: {_one_line(error)}") from error
    for part in reversed(key.split(".")):
        nested = {part: nested}
    return dict(nested)


def redacted(settings: Settings) -> dict[str, Any]:
    """The resolved tree as plain values, secrets shown as asterisks."""
    tree = settings.model_dump(mode="json", exclude_none=True)
    for camera in tree["cameras"].values():
        camera["source"] = redact(camera["source"])
    return tree


def _read_yaml(file: Path) -> dict[str, Any]:
    try:
        data = yaml.safe_load(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"cannot read configuration {file}: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file} is not YAML: {_one_line(error)}") from error
    if data is None:
        return {}
    if not isinstance(data, dict):
        raise ConfigError(f"{file} must hold keys and values at its top level, not a {type(data).__name__}")
    return {str(key): value for key, value in data.items()}


def _check_environment() -> None:
    """pydantic-settings ignores variables that fit no field; a typo there must not pass silently."""
    for variable in os.environ:
        if variable.upper().startswith(ENV_PREFIX):
            first = variable[len(ENV_PREFIX) :].lower().split("__")[0]
            if first not in Settings.model_fields:
                raise ConfigError(f"environment variable {variable}: no setting {first!r}{_hint(first, Settings)}")


def _explain(error: ValidationError, layers: Mapping[str, Mapping[str, Any]]) -> str:
    """One fault in one line, typos first: they explain what is missing. The nearest key is the hint."""
    faults = sorted(error.errors(), key=lambda fault: fault["type"] != "extra_forbidden")
    fault, path = faults[0], [part for part in faults[0]["loc"] if part != "[key]"]
    layer = next((name for name, data in layers.items() if _holds(data, path)), None)
    if layer is None:
        layer = "environment" if path and fault["type"] != "missing" and _in_environment(path) else "settings"
    message = fault["msg"].removeprefix("Value error, ")
    if fault["type"] == "extra_forbidden":
        message = "unknown key" + _hint(str(path[-1]), _section(path[:-1]))
    if fault["type"] == "missing":
        message = "is required"
    if fault["type"] == "string_pattern_mismatch":
        message = "only letters, digits, - and _ are allowed here"
    key = ".".join(map(str, path)) + ": " if path else ""
    return f"{layer}: {key}{message}" + (f" (and {len(faults) - 1} more)" if len(faults) > 1 else "")


def _holds(data: Any, path: Sequence[int | str]) -> bool:
    """True if a layer sets the value that the path leads to."""
    for part in path:
        if not isinstance(data, Mapping):
            return True
        if part not in data:
            return False
        data = data[part]
    return bool(path)


def _in_environment(path: Sequence[int | str]) -> bool:
    variable = ENV_PREFIX + "__".join(map(str, path))
    return any(name.upper().startswith(variable.upper()) for name in os.environ)


def _section(path: Sequence[int | str]) -> type[BaseModel]:
    """The model that a path of keys leads to."""
    model: type[BaseModel] = Settings
    for part in path:
        field = model.model_fields.get(str(part))
        kinds = [] if field is None else [field.annotation, *getattr(field.annotation, "__args__", ())]
        model = next((kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel)), model)
    return model


def _hint(key: str, model: type[BaseModel]) -> str:
    near = get_close_matches(key, model.model_fields, n=1)
    return f"; did you mean {near[0]!r}?" if near else f"; known here: {', '.join(model.model_fields)}"


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
