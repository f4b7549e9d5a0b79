"""From face to distribution over emotions: the only place where logits become probabilities."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt

from edge_emotion.datatypes import EmotionScores, Face, Image
from edge_emotion.errors import ConfigError, ModelError
from edge_emotion.labels import subset
from edge_emotion.models.manifest import ModelFile, ModelManifest, OperatingPoint
from edge_emotion.models.preprocess import brightened, face_batch
from edge_emotion.protocols import FloatArray, InferenceBackend


class EmotionClassifier:
    """A model with its manifest.

    ``operating_point`` names one of the manifest's (default: its default); ``classes`` restricts the emotions, whose
    probabilities then sum to 1 among themselves. ``entry`` is the file that the backend runs (default: the manifest's
    first), ``refused`` has the reasons why earlier ones were not taken.
    Raises ModelError if the model's tensors do not fit the manifest, ConfigError for an unknown operating
    point or class.
    """

    def __init__(
        self,
        manifest: ModelManifest,
        backend: InferenceBackend,
        *,
        operating_point: str | None = None,
        classes: Iterable[str] | None = None,
        entry: ModelFile | None = None,
        refused: Sequence[str] = (),
    ) -> None:
        calibration = manifest.calibration
        point = calibration.operating_points.get(operating_point or calibration.default)
        if point is None:
            known = ", ".join(calibration.operating_points)
            raise ConfigError(f"model {manifest.name} has no operating point {operating_point!r}; it has: {known}")
        check_shapes(manifest, backend)
        self.manifest = manifest
        self.backend = backend
        self.entry = manifest.file() if entry is None else entry
        self.refused = tuple(refused)
        columns = range(len(manifest.labels)) if classes is None else subset(manifest.labels, classes)
        self._columns = np.array(columns)
        self._shift = logit_shift(calibration.class_prior, point, manifest.labels)[self._columns]
        self._temperature = point.temperature
        # It was fitted to the choice among all of them.
        self._likely_from = point.likely_from if len(self._columns) == len(manifest.labels) else None
        self.labels = tuple(manifest.labels[column] for column in self._columns)

    def likely(self, scores: EmotionScores) -> tuple[str, ...] | None:
        """The emotions of which one is true 9 times in 10, the most probable first; None if not fitted."""
        return None if self._likely_from is None else scores.likely(self._likely_from)

    def classify(self, image: Image, faces: Sequence[Face]) -> list[EmotionScores]:
        """Scores of each face in an H x W x 3 BGR picture, in one batch; an empty list for no faces."""
        return self.judge(self.crops(image, faces))

    def crops(self, image: Image, faces: Sequence[Face]) -> FloatArray:
        """The model's input for each face: float32 N x H x W x C, N = len(faces)."""
        if not faces:
            return np.empty((0, *self.manifest.input.shape), np.float32)
        return face_batch(image, faces, self.manifest.input)

    def judge(self, crops: FloatArray) -> list[EmotionScores]:
        """Scores of each of ``crops`` (N x H x W x C, from ``crops``), in one batch; an empty list for none."""
        return self.scores(self.logits(brightened(crops, self.manifest.input))) if len(crops) else []

    def logits(self, batch: FloatArray) -> FloatArray:
        """Raw model output: normalised float32 N x H x W x C -> float32 N x len(manifest.labels)."""
        return self.backend.run(batch)[0]

    def scores(self, logits: FloatArray) -> list[EmotionScores]:
        """Prior adjustment, temperature, class subset, softmax: N x L logits -> N distributions."""
        adjusted = (logits.take(self._columns, axis=1) - self._shift) / self._temperature  # the shift has 64 bits
        return [EmotionScores(self.labels, tuple(row)) for row in softmax(adjusted).tolist()]


def prior_shift(class_prior: npt.ArrayLike, strength: float) -> npt.NDArray[np.float64]:
    """Logit adjustment (Menon et al. 2021): ``strength * log(prior)``, to be subtracted from logits; L shares above 0.

    0 leaves the logits as they are; 1 removes the prior of the training data.
    """
    return np.asarray(strength * np.log(np.asarray(class_prior, np.float64)))


def logit_shift(class_prior: npt.ArrayLike, point: OperatingPoint, labels: Sequence[str]) -> npt.NDArray[np.float64]:
    """Values that an operating point subtracts from the logits before it divides them; one for each of L labels."""
    offsets = point.offsets or {}
    added = np.array([offsets.get(label, 0.0) for label in labels])
    return np.asarray(prior_shift(class_prior, point.prior_strength) - added)


def softmax(logits: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """N x L values -> N distributions; large values do not overflow."""
    exponents = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(exponents / exponents.sum(axis=1, keepdims=True), np.float64)


def check_shapes(manifest: ModelManifest, backend: InferenceBackend) -> None:
    """Raises ModelError if the tensors do not fit the manifest's input and labels."""
    if backend.input_shape != manifest.input.shape:
        raise ModelError(
            f"model {manifest.name} takes {_by(backend.input_shape)} pixels, "
            f"its manifest says {_by(manifest.input.shape)}: file and manifest do not belong together"
        )
    expected = ((len(manifest.labels),),)
    if backend.output_shapes != expected:
        raise ModelError(
            f"model {manifest.name} gives {' and '.join(map(_by, backend.output_shapes))} values, "
            f"its manifest lists {len(manifest.labels)} labels: file and manifest do not belong together"
        )


def _by(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape))
