"""The schema of ``manifest.json``: a model's input, output, origin and measured quality.

A model folder is ``manifest.json`` plus the files that it names. Nothing about a model is written anywhere else.
"""

from __future__ import annotations

from math import prod
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from edge_emotion.errors import ModelError
from edge_emotion.labels import EMOTIONS, own_label

VERSION = r"^[0-9]+\.[0-9]+\.[0-9]+$"
Precision = Literal["int8", "float16", "float32"]


MAX_GOLDEN_VALUES = 50_000_000
"""Most values in the inputs of a self-test together: 200 MB as float32."""


class Part(BaseModel):
    """Base of every part of a manifest: unknown fields are errors, values never change."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class CropSpec(Part):
    """The square around a face that a classifier sees, relative to the detector's box.

    The square's side is the longer side of the box, grown by ``margin`` of it on each side; its middle lies
    ``shift`` sides of the box below the middle of the box, along the face's own axis. Both are measured against
    the framing of the training data (``python -m train crop``). The square is first sampled at ``detail`` pixels,
    the resolution of the training faces, so that the model never sees sharper pictures than those of its training.
    """

    margin: float = Field(ge=-0.4, le=1.0)
    shift: float = Field(ge=-0.5, le=0.5)
    detail: int = Field(ge=16, le=512)


class InputSpec(Part):
    """The input tensor: ``pixel * scale + offset``, H x W x C."""

    height: int = Field(ge=16, le=1024)
    width: int = Field(ge=16, le=1024)
    channels: Literal[1, 3]
    colour: Literal["gray", "rgb", "bgr"]
    interpolation: Literal["linear"] = "linear"
    scale: float = Field(ge=-1000.0, le=1000.0)
    offset: float = Field(ge=-1000.0, le=1000.0)
    crop: CropSpec | None = None

    @model_validator(mode="after")
    def _channels_fit(self) -> InputSpec:
        if (self.channels == 1) != (self.colour == "gray"):
            raise ValueError(f"channels {self.channels} and colour {self.colour}: gray has 1, rgb and bgr have 3")
        return self

    @property
    def shape(self) -> tuple[int, int, int]:
        """Height, width, channels."""
        return self.height, self.width, self.channels

    @property
    def detail(self) -> int:
        """Largest useful size of a face in pixels: ``crop.detail``, without ``crop`` the longer side of the input."""
        return max(self.height, self.width) if self.crop is None else self.crop.detail


class Golden(Part):
    """A self-test without pictures: each input follows from its seed.

    ``labels`` name the columns of the logits as the file was trained. ``expected`` are its logits for each input,
    ``emotions`` what the default operating point makes of them. Kernels differ between machines by a few steps of an
    integer: logits may differ by ``tolerance``.
    """

    labels: tuple[str, ...]
    seeds: tuple[Annotated[int, Field(ge=0, lt=2**32)], ...] = Field(min_length=1, max_length=1000)
    tolerance: float = Field(gt=0.0, le=10.0)
    emotions: tuple[str, ...]
    expected: tuple[tuple[float, ...], ...]

    @model_validator(mode="after")
    def _complete(self) -> Golden:
        if not len(self.seeds) == len(self.emotions) == len(self.expected):
            raise ValueError("golden: as many seeds as emotions and rows of expected logits")
        if any(len(row) != len(self.labels) for row in self.expected):
            raise ValueError("golden: each row of expected logits has one for each of its labels")
        return self


class ModelFile(Part):
    """One artefact in the folder; ``sha256`` is of the whole file."""

    format: Literal["tflite", "onnx"]
    precision: Precision
    file: Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]+$")]
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    input_type: str
    output_type: str
    quantisation: str | None = None
    golden: Golden | None = None


class OperatingPoint(Part):
    """A small map from logits to the probabilities that are wanted in one place.

    ``prior_strength`` times the log of the class prior is subtracted from the logits (logit adjustment, Menon et al.
    2021), the ``offsets`` of the emotions that it names are added, and all are divided by ``temperature`` (Guo et al.
    2017). 0, none and 1 leave them as they are.
    ``likely_from`` is the probability from which on an emotion belongs to the set that holds the truth 9 times in 10
    (conformal prediction, Sadinle et al. 2019).
    """

    prior_strength: float = Field(default=0.0, ge=0.0, le=2.0)
    offsets: dict[str, Annotated[float, Field(ge=-10.0, le=10.0)]] | None = None
    temperature: float = Field(default=1.0, ge=0.01, le=10.0)
    likely_from: Annotated[float, Field(gt=0.0, le=1.0)] | None = None


class Calibration(Part):
    """From logits to probabilities. ``class_prior`` is the training distribution in the order of the labels."""

    class_prior: tuple[Annotated[float, Field(ge=1e-6, le=1.0)], ...]
    operating_points: dict[str, OperatingPoint] = Field(min_length=1)
    default: str

    @model_validator(mode="after")
    def _default_exists(self) -> Calibration:
        if self.default not in self.operating_points:
            raise ValueError(f"default operating point {self.default!r} is not among {list(self.operating_points)}")
        return self


class Training(Part):
    """The training run that the weights come from."""

    dataset: str
    protocol: str
    recipe: str
    seed: int
    epochs: int
    start: str
    commit: str


class Metrics(Part):
    """Quality of one artefact on one split. ``interval`` is the 95 % interval of the accuracy.

    On sets from elsewhere also ``false_alarms``, the share of neutral faces that are called something else with a
    confidence of at least a half, and ``coverage``, the share of faces whose emotion is among the likely ones.
    """

    n: int = Field(gt=0)
    accuracy: float = Field(ge=0.0, le=1.0)
    interval: tuple[float, float]
    macro_f1: float = Field(ge=0.0, le=1.0)
    ece: float = Field(ge=0.0, le=1.0)
    recall: dict[str, float]
    count: dict[str, int]
    false_alarms: float | None = None
    coverage: float | None = None


class Parity(Part):
    """One artefact against the float model that it was made from, on the same faces of one split.

    ``agreement`` is the share of faces with the same winner; ``mean_difference`` and ``max_difference`` are of
    probabilities; ``p_value`` is McNemar's, exact, of both being equally often right.
    """

    split: str
    n: int = Field(gt=0)
    accuracy: float = Field(ge=0.0, le=1.0)
    interval: tuple[float, float]
    float_accuracy: float = Field(ge=0.0, le=1.0)
    agreement: float = Field(ge=0.0, le=1.0)
    mean_difference: float
    max_difference: float
    p_value: float
    ece: float


class Origin(Part):
    """The source of third-party weights."""

    package: str
    version: str
    path: str
    sha256: str


class BaseManifest(Part):
    """The fields that every manifest has."""

    schema_version: Literal[1] = Field(alias="schema")
    name: Annotated[str, Field(pattern=r"^[a-z0-9_]+$")]
    version: Annotated[str, Field(pattern=VERSION)]
    input: InputSpec
    files: tuple[ModelFile, ...] = Field(min_length=1)
    licence: str
    intended_use: str
    limits: str

    def file(self, precision: str | None = None, file_format: str | None = None) -> ModelFile:
        """The first file, or the first of a given precision or format. Raises ModelError if there is none."""
        for entry in self.files:
            if precision in (None, entry.precision) and file_format in (None, entry.format):
                return entry
        wanted = " ".join(filter(None, (precision, file_format)))
        have = ", ".join(sorted({f"{entry.precision} {entry.format}" for entry in self.files}))
        raise ModelError(f"model {self.name} has no {wanted} file; it has {have}")


class ModelManifest(BaseManifest):
    """An emotion classifier: one output of logits in the order of ``labels``.

    ``own_labels`` are those of them that are none of our emotions; only imported models have some.
    """

    task: Literal["emotion-classification"]
    labels: tuple[str, ...] = Field(min_length=2)
    own_labels: tuple[str, ...] | None = None
    calibration: Calibration
    training: Training
    metrics: dict[str, Metrics] = Field(description="keyed '<split>/<precision>'")
    parity: dict[str, Parity] = Field(default={}, description="keyed by file and what ran it")

    @model_validator(mode="after")
    def _labels_fit(self) -> ModelManifest:
        known = (*EMOTIONS, *(label for label in self.own_labels or () if own_label(label)))
        strangers = [label for label in self.labels if label not in known]
        if strangers or len(set(self.labels)) != len(self.labels):
            raise ValueError(
                f"labels must be distinct canonical emotions ({', '.join(EMOTIONS)}), not {self.labels}; others must "
                "stand in own_labels, too, and consist of a-z, 0-9 and _"
            )
        if missing := [label for label in self.own_labels or () if label not in self.labels]:
            raise ValueError(f"own_labels has {missing[0]}, which is not among the labels")
        if len(self.calibration.class_prior) != len(self.labels):
            raise ValueError(
                f"class_prior has {len(self.calibration.class_prior)} values for {len(self.labels)} labels"
            )
        for entry in self.files:
            if entry.golden and len(entry.golden.seeds) * prod(self.input.shape) > MAX_GOLDEN_VALUES:
                raise ValueError(f"golden of {entry.file} has {len(entry.golden.seeds)} inputs, too many of their size")
        for name, point in self.calibration.operating_points.items():
            strangers = [label for label in point.offsets or () if label not in self.labels]
            if strangers:
                raise ValueError(f"operating point {name} has an offset for {strangers[0]}, which is not a label")
        return self


class AnchorSpec(Part):
    """The SSD anchor grid of BlazeFace: ``anchors`` boxes per cell on a grid of ``stride`` pixels, per layer."""

    stride: int = Field(ge=1, le=1024)
    anchors: int = Field(ge=1, le=64)


class SquareSpec(Part):
    """The square from brow to chin within a detector's own box: what crops are calibrated for.

    Its side is ``side`` heights of the box; its middle lies ``shift`` heights below the middle of the box.
    """

    side: float = Field(gt=0.2, le=2.0)
    shift: float = Field(ge=-0.5, le=0.5)


class DetectorManifest(BaseManifest):
    """A face detector.

    ``blazeface``: outputs are box regressors and scores over the anchors. ``yunet``: two outputs for each stride of the
    grid, scores and boxes, and boxes become squares by ``square``.
    """

    task: Literal["face-detection"]
    family: Literal["blazeface", "yunet"] = "blazeface"
    grid: tuple[AnchorSpec, ...] = Field(min_length=1, max_length=16)
    keypoints: int = Field(ge=0, le=1000)
    square: SquareSpec | None = None
    origin: Origin
