"""Settings: one tree. The environment (``EDGE_EMOTION_MQTT__HOST``) overrides a YAML file, the command line both.

Unknown keys and impossible values are errors that name the key and where it stands.
"""

from __future__ import annotations

import os
import re
import socket
from pathlib import Path
from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    StringConstraints,
    field_validator,
    model_validator,
)
from pydantic_settings import BaseSettings, SettingsConfigDict

from edge_emotion.config.geometry import PolygonSetting, checked_crop, checked_fourcc, checked_rotation
from edge_emotion.config.mqtt_settings import HEARTBEAT as HEARTBEAT
from edge_emotion.config.mqtt_settings import STATS_INTERVAL as STATS_INTERVAL
from edge_emotion.config.mqtt_settings import DiscoverySettings as DiscoverySettings
from edge_emotion.config.mqtt_settings import MqttSettings as MqttSettings
from edge_emotion.config.mqtt_settings import TlsSettings as TlsSettings
from edge_emotion.config.section import Section, as_text, listed
from edge_emotion.config.source_spec import is_one_picture
from edge_emotion.config.update_settings import UpdateSettings
from edge_emotion.config.web_settings import WebSettings
from edge_emotion.errors import ConfigError
from edge_emotion.labels import canonical
from edge_emotion.system.paths import expand
from edge_emotion.wire.topics import NAME_PATTERN, RESERVED

ENV_PREFIX = "EDGE_EMOTION_"

Name = Annotated[str, BeforeValidator(as_text), StringConstraints(pattern=NAME_PATTERN)]
"""Part of a topic: letters, digits, - and _."""


SourceText = Annotated[
    str,
    BeforeValidator(as_text),
    StringConstraints(min_length=1, strip_whitespace=True),
]
"""A source; a bare number in YAML is a device index."""


Range = Literal["near", "room", "hall"]


class CameraSettings(Section):
    """One camera. Values of ``source``: docs/how-to/cameras.md; times are seconds."""

    source: SourceText
    width: int | None = Field(default=None, ge=32, le=7680)
    height: int | None = Field(default=None, ge=32, le=4320)
    fps: float | None = Field(default=None, gt=0, le=240)
    open_timeout: float = Field(default=10.0, gt=0, le=120)
    read_timeout: float = Field(default=4.0, gt=0, le=120)
    loop: bool = Field(default=False, description="a file or folder starts again at its end")
    realtime: bool = Field(default=True, description="a file is played at its own speed, not as fast as possible")
    max_fps: float = Field(default=15.0, gt=0, le=240, description="more frames than this are not processed")
    fourcc: Annotated[str | None, AfterValidator(checked_fourcc)] = None
    rotate: Annotated[int | Literal["auto"], BeforeValidator(checked_rotation)] = Field(
        default=0, description="degrees clockwise by which pictures are turned; auto: told from the faces"
    )
    range: Range = Field(
        default="near", description="room, hall: parts of large pictures are searched, too, for faces further away"
    )
    flip: Literal["none", "horizontal", "vertical"] = "none"
    crop: Annotated[tuple[float, float, float, float] | None, AfterValidator(checked_crop)] = None
    mask: tuple[PolygonSetting, ...] = ()
    zones: dict[Name, PolygonSetting] = Field(default={}, description="named parts of the picture, for events")
    ignore_still: bool = Field(default=False, description="a face that never moves is reported once, then ignored")


class DetectorSettings(Section):
    """Finding faces."""

    model: str = "blazeface_back"
    quick_model: str = Field(
        default="auto",
        description="a faster detector that searches between two searches by model; auto: yunet, unless model is a "
        "fast one itself; none",
    )
    threshold: float = Field(default=0.5, gt=0, lt=1)
    min_size: int = Field(default=40, ge=8, description="pixels; smaller faces are ignored")
    max_faces: int = Field(default=8, ge=1, le=64)
    idle_interval: float = Field(
        default=0.2, ge=0, le=10, description="seconds between two detections while no face is tracked; 0: every frame"
    )
    refresh_interval: float = Field(
        default=1.0,
        ge=0,
        le=60,
        description="seconds between two detections in the whole picture while following",
    )
    idle_refresh_interval: float = Field(
        default=2.0, ge=0, le=60, description="the same while nobody is there, with a quick_model"
    )
    threads: int = Field(default=1, ge=1, le=64)


class ClassifierSettings(Section):
    """Classifying emotions."""

    model: str = "mobilenet_v2"
    backend: Literal["auto", "tflite", "onnxruntime", "tensorrt"] = Field(
        default="auto", description="what runs the model; auto: by the format of its first file"
    )
    precision: Literal["int8", "float16", "float32"] | None = None
    operating_point: str | None = None
    classes: Annotated[tuple[str, ...] | None, BeforeValidator(listed)] = None
    interval: float = Field(
        default=0.1, ge=0, le=60, description="seconds between two classifications of the same face"
    )
    threads: int = Field(default=1, ge=1, le=64)

    @model_validator(mode="after")
    def _emotions_exist(self) -> ClassifierSettings:
        for name in self.classes or ():
            canonical(name)
        return self


class TrackingSettings(Section):
    """Tracking faces over time."""

    iou: float = Field(default=0.2, gt=0, lt=1, description="least overlap with the last box")
    confirm_hits: int = Field(default=3, ge=1, description="detections before a face counts")
    max_gap: float = Field(default=0.8, gt=0, le=60, description="seconds without a detection before a track ends")


class PolicySettings(Section):
    """Rules for reporting an emotion."""

    threshold: float = Field(default=0.5, ge=0, le=1, description="less confidence than this is 'unknown'")
    hysteresis: float = Field(default=0.25, ge=0, le=0.5, description="the reported emotion may fall this far below")
    margin: float = Field(default=0.55, ge=0, le=1, description="a new emotion must be better by this; unknown is 0")
    min_dwell: float = Field(default=0.4, ge=0, le=60, description="seconds a new emotion must hold")
    unknown_dwell: float = Field(default=1.5, ge=0, le=60, description="seconds an emotion is kept that is below")
    time_constant: float = Field(default=0.2, ge=0, le=60, description="smoothing of probabilities, seconds")


class QualitySettings(Section):
    """Least confidence of an emotion that is named although the picture of the face is not good; 0: as any other."""

    dark: float = Field(default=0.7, ge=0, le=1)
    blurred: float = Field(default=0.75, ge=0, le=1)
    turned: float = Field(
        default=0.65, ge=0, le=1, description="to the side, or by more than 60 degrees in the picture"
    )
    hidden_eyes: float = Field(default=0.9, ge=0, le=1)
    hidden_mouth: float = Field(default=0.8, ge=0, le=1)
    small: float = Field(default=0.75, ge=0, le=1, description="less than 24 pixels")


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
    quality: QualitySettings = QualitySettings()
    mqtt: MqttSettings | None = None
    jsonl: JsonlSettings | None = None
    web: WebSettings | None = None
    update: UpdateSettings = UpdateSettings()
    state_dir: Path | None = Field(
        default=None, description="default: $STATE_DIRECTORY, else ~/.local/state/edge-emotion"
    )
    max_rss: int | None = Field(
        default=None, ge=64, description="MiB of memory; a daemon that holds more ends (exit 8)"
    )
    log_level: Literal["debug", "info", "warning", "error"] = "info"

    @field_validator("cameras")
    @classmethod
    def _names_are_free(cls, cameras: dict[str, CameraSettings]) -> dict[str, CameraSettings]:
        for name in cameras:
            if name in RESERVED:
                raise ValueError(f"a camera cannot be called {name!r}: that is a topic of the node")
        return cameras

    @model_validator(mode="after")
    def _somewhere_to_go(self) -> Settings:
        if self.mqtt is None and self.jsonl is None and self.web is None:
            pictures = (camera.source for camera in self.cameras.values() if is_one_picture(camera.source))
            hint = next((f"; for the emotions of a picture: edge-emotion classify {path}" for path in pictures), "")
            options = "as options --mqtt, --jsonl, run --show"
            raise ValueError(
                f"events have nowhere to go: set mqtt (host), jsonl (path) or web (listen); {options}{hint}"
            )
        return self

    @model_validator(mode="after")
    def _orders_come_over_mqtt(self) -> Settings:
        if self.update.group is not None and self.mqtt is None:
            raise ValueError("update.group needs mqtt: orders come over the broker")
        return self

    @property
    def heartbeat(self) -> float:
        """Seconds between unchanged states, for every sink."""
        return HEARTBEAT if self.mqtt is None else self.mqtt.heartbeat

    @property
    def stats_interval(self) -> float:
        """Seconds between two reports of statistics."""
        return STATS_INTERVAL if self.mqtt is None else self.mqtt.stats_interval

    @property
    def jitter(self) -> float:
        """Share by which the two times above vary."""
        return 0.0 if self.mqtt is None else self.mqtt.jitter

    @property
    def state_path(self) -> Path:
        """The directory of the files that must survive a restart."""
        if self.state_dir is not None:
            return expand(self.state_dir)
        if systemd := os.environ.get("STATE_DIRECTORY"):
            return Path(systemd.split(":")[0])
        base = expand(os.environ.get("XDG_STATE_HOME") or "~/.local/state")
        if not base.is_absolute():
            raise ConfigError("there is no home directory for the event counter: set state_dir")
        return base / "edge-emotion"
