"""The shapes of requests and answers, from which openapi.json is made. Fields as in docs/reference/mqtt.md."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, RootModel

Four = tuple[float, float, float, float]


class Shape(BaseModel):
    """Base of every shape."""

    model_config = ConfigDict(extra="forbid")


class Problem(Shape):
    """Why a request is not answered, in one line (RFC 9457)."""

    type: Literal["about:blank"]
    title: str
    status: int
    detail: str


class ModelName(Shape):
    """Name and version of a model."""

    name: str
    version: str


class Track(Shape):
    """The visit of one face; ``duration`` in seconds."""

    id: str
    started: str
    duration: float


class Event(Shape):
    """One event as on the topic ``<camera>/events``; ``box`` in fractions of the frame."""

    model_config = ConfigDict(extra="forbid", protected_namespaces=())

    schema_: int = Field(alias="schema")
    type: Literal["start", "change", "end"]
    id: str
    seq: int
    node: str
    camera: str
    ts: str
    event_type: str
    emotion: str
    confidence: float
    probabilities: dict[str, float]
    previous: str | None
    track: Track
    box: Four
    quality: float
    latency_ms: float
    model: ModelName
    replayed: bool
    zone: str | None = None
    reason: str | None = None


class Events(Shape):
    """Events of the past, oldest first, and the numbers of the oldest and the newest one that is kept."""

    events: list[Event]
    oldest: int | None
    newest: int | None


class State(Shape):
    """The state of a camera, as on the topic ``<camera>/state``."""

    ts: str | None
    faces: int
    emotion: str | None
    confidence: float | None
    probabilities: dict[str, float]
    counts: dict[str, int]


class StateNow(State):
    """The same, and whether the camera is available."""

    available: bool


class States(RootModel[dict[str, StateNow]]):
    """Camera -> its state."""


class CameraNow(Shape):
    """Whether a camera is available, and its features in effect."""

    available: bool
    enabled: bool
    threshold: float
    classes: list[str]


class Cameras(RootModel[dict[str, CameraNow]]):
    """Camera -> its features."""


class Page(Shape):
    """The abilities of this page; ``failure`` is why there is none, which can only be read over MQTT."""

    listen: str | None = None
    failure: str | None = None
    daemon: bool
    preview: bool
    broker: bool
    writes: bool
    login: bool
    max_picture_bytes: int
    max_picture_pixels: int


class Info(BaseModel):
    """The node, as on the topic ``info``, and this page."""

    model_config = ConfigDict(extra="allow")
    version: str
    cameras: list[str]
    web: Page


class Stats(BaseModel):
    """The last statistics, as on the topic ``stats``; without a broker without ``outbox`` and ``mqtt``."""

    model_config = ConfigDict(extra="allow")
    ts: str
    uptime: float
    interval: float
    cameras: dict[str, dict[str, Any]]
    machine: dict[str, Any]


class PictureFace(Shape):
    """A face in a picture: places in fractions of the picture as shown upright."""

    box: Four
    landmarks: list[tuple[float, float]]
    score: float
    emotion: str
    confidence: float
    probabilities: dict[str, float]
    quality: float
    reason: str | None = None


class Classification(Shape):
    """The faces in a picture, best detection first; ``ms`` is the time that it took."""

    width: int
    height: int
    faces: list[PictureFace]
    model: ModelName
    ms: float


class Figures(Shape):
    """Quality of a model on one split: number of faces, accuracy with its 95 % interval, macro F1, calibration error.

    ``point`` is the operating point; null for the default one.
    """

    split: str
    precision: str
    point: str | None
    n: int
    accuracy: float
    interval: tuple[float, float]
    macro_f1: float
    ece: float


class ModelCard(Shape):
    """A model that a picture can be classified with; the first of its ``points`` is the default."""

    name: str
    version: str
    default: bool
    labels: list[str]
    points: list[str]
    input: str
    figures: list[Figures]
    protocol: str
    intended_use: str
    limits: str
    licence: str


class Models(RootModel[list[ModelCard]]):
    """All of them."""


class Finding(Shape):
    """The result of one check, and what to do about it."""

    name: str
    status: Literal["ok", "warn", "fail"]
    detail: str
    fix: str | None


class Doctor(Shape):
    """The result of ``edge-emotion doctor``."""

    model_config = ConfigDict(extra="forbid", protected_namespaces=())

    schema_: int = Field(alias="schema")
    version: str
    status: Literal["ok", "warn", "fail"]
    checks: list[Finding]


class Changes(Shape):
    """Keys of settings that were applied, and those that wait for a restart."""

    applied: list[str]
    restart: list[str]


class Setting(Shape):
    """A feature of a camera; null is the configured value."""

    camera: str
    feature: Literal["enabled", "threshold", "classes"]
    value: bool | float | list[str] | None


class Nothing(Shape):
    """An empty object."""


class NodeCamera(Shape):
    """A camera of a node."""

    available: bool
    state: State | None


class NodeNow(Shape):
    """A node that the broker knows; ``gaps`` is the number of events that were missed."""

    node: str
    available: bool
    info: dict[str, Any] | None
    cameras: dict[str, NodeCamera]
    last_event: Event | None
    gaps: int


class Nodes(RootModel[list[NodeNow]]):
    """All of them, by name."""
