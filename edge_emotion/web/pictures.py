"""Emotions of the faces in a picture that was sent, and the models that can be chosen for it."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from typing import Any

from edge_emotion.config.settings import ClassifierSettings, DetectorSettings, QualitySettings, Settings
from edge_emotion.datatypes import EmotionScores, Face, Image
from edge_emotion.errors import UnknownModel
from edge_emotion.factory.models import configured_classifier, photograph_detector
from edge_emotion.models.classifier import EmotionClassifier
from edge_emotion.models.folder import find_model, load_manifest, shipped_models
from edge_emotion.models.manifest import Metrics, ModelManifest
from edge_emotion.pipeline.face_quality import face_quality
from edge_emotion.pipeline.quality_gate import Doubt, NeededConfidence, QualityGate
from edge_emotion.protocols import FaceDetector
from edge_emotion.system.image_files import decode_picture
from edge_emotion.system.image_header import MAX_PIXELS
from edge_emotion.web.frame_view import placed, rounded
from edge_emotion.wire.payloads import DIGITS

MAX_BYTES = 10_000_000
"""Largest picture that is taken, in bytes."""

__all__ = ["MAX_BYTES", "MAX_PIXELS", "PictureClassifier"]


class PictureClassifier:
    """Classifies one picture at a time, with models of its own: those of the cameras are busy. Nothing is stored.

    Models are loaded when they are asked for, and the last one is kept.
    """

    def __init__(self, settings: Settings | None) -> None:
        """The node's models are the defaults; without settings those that ship as defaults."""
        self._options = ClassifierSettings() if settings is None else settings.classifier
        self._finds = DetectorSettings() if settings is None else settings.detector
        quality = QualitySettings() if settings is None else settings.quality
        self._needed = NeededConfidence(**quality.model_dump())
        self._turn = threading.Lock()
        self._detector: FaceDetector | None = None
        self._loaded: tuple[str, EmotionClassifier] | None = None

    def cards(self) -> list[dict[str, Any]]:
        """Labels, points and figures of each classifier that can be chosen. Raises ModelError for a damaged folder."""
        return [_card(manifest, default=name == self._default) for name, manifest in self._manifests().items()]

    def classify(
        self, data: bytes, model: str | None = None, point: str | None = None, classes: Sequence[str] | None = None
    ) -> dict[str, Any]:
        """The faces in the picture that a file holds. ``model`` is one of ``cards``, never a path.

        Raises SourceError for a picture that cannot be read or is too large, UnknownModel, ModelError, ConfigError.
        """
        with self._turn:
            begun = time.perf_counter()
            chosen = self._classifier(model or self._default, point, classes)
            image = decode_picture(data, "the picture", MAX_PIXELS)
            faces = self._find(image)
            crops = chosen.crops(image, faces)
            doubts = QualityGate(self._needed, chosen.manifest.input).doubts(crops, faces)
            found = zip(faces, chosen.judge(crops), doubts, strict=True)
            height, width = image.shape[:2]
            return {
                "width": width,
                "height": height,
                "faces": [_face(*one, width, height, chosen.manifest.input.detail) for one in found],
                "model": {"name": chosen.manifest.name, "version": chosen.manifest.version},
                "ms": round(1000 * (time.perf_counter() - begun), 1),
            }

    @property
    def _default(self) -> str:
        return load_manifest(find_model(self._options.model)).name

    def _manifests(self) -> dict[str, ModelManifest]:
        """Name -> manifest of the node's own model and of those that ship."""
        folders = [find_model(self._options.model), *shipped_models()]
        found = [manifest for folder in folders if isinstance(manifest := load_manifest(folder), ModelManifest)]
        return {manifest.name: manifest for manifest in reversed(found)}

    def _classifier(self, name: str, point: str | None, classes: Sequence[str] | None) -> EmotionClassifier:
        known = self._manifests()
        if name not in known:
            raise UnknownModel(f"no model {name[:70]!r}; there are: {', '.join(known)}")
        if self._loaded is None or self._loaded[0] != name:
            self._loaded = None  # two are never held
            options = self._options if name == self._default else ClassifierSettings(model=name)
            plain = options.model_copy(update={"operating_point": None, "classes": None})
            self._loaded = name, configured_classifier(plain)
        _, shared = self._loaded
        return EmotionClassifier(
            shared.manifest,
            shared.backend,
            operating_point=point or (self._options.operating_point if name == self._default else None),
            classes=classes,
            entry=shared.entry,
        )

    def _find(self, image: Image) -> Sequence[Face]:
        if self._detector is None:
            self._detector = photograph_detector(self._finds.model, threads=self._finds.threads)
        return self._detector.detect(image)


def _face(
    face: Face, scores: EmotionScores, doubt: Doubt | None, width: int, height: int, detail: int
) -> dict[str, Any]:
    emotion = scores.named(0.0 if doubt is None else doubt.confidence)
    return {
        **placed(face, width, height),
        "emotion": emotion,
        "confidence": round(scores.confidence, DIGITS),
        "probabilities": rounded(scores.as_dict()),
        "quality": round(face_quality(face, detail), DIGITS),
        **({"reason": doubt.reason} if doubt is not None and emotion != scores.emotion else {}),
    }


def _card(manifest: ModelManifest, *, default: bool) -> dict[str, Any]:
    calibration, spec = manifest.calibration, manifest.input
    points = [calibration.default, *(name for name in calibration.operating_points if name != calibration.default)]
    return {
        "name": manifest.name,
        "version": manifest.version,
        "default": default,
        "labels": list(manifest.labels),
        "points": points,
        "input": f"{spec.width} x {spec.height} {'grey' if spec.colour == 'gray' else spec.colour}",
        "figures": [_figures(key, metrics) for key, metrics in manifest.metrics.items()],
        "protocol": f"{manifest.training.dataset} {manifest.training.protocol}",
        "intended_use": manifest.intended_use,
        "limits": manifest.limits,
        "licence": manifest.licence,
    }


def _figures(key: str, metrics: Metrics) -> dict[str, Any]:
    split, precision, point = (*key.split("/"), None)[:3]
    kept = metrics.model_dump(include={"n", "accuracy", "interval", "macro_f1", "ece"}, mode="json")
    return {"split": split, "precision": precision, "point": point, **kept}
