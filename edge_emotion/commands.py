"""What ``classify``, ``models`` and ``check-config`` do; ``cli`` only parses their arguments."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from edge_emotion.annotate import annotate
from edge_emotion.classifier import EmotionClassifier
from edge_emotion.config import Settings
from edge_emotion.datatypes import Box, EmotionScores, Face, Image
from edge_emotion.errors import SinkError, SourceError
from edge_emotion.factory import make_models, make_sinks, make_source
from edge_emotion.layers import redacted
from edge_emotion.loading import make_classifier, make_detector
from edge_emotion.manifest import (
    DetectorManifest,
    Metrics,
    ModelFile,
    ModelManifest,
    Parity,
    load_manifest,
    shipped_models,
)
from edge_emotion.pictures import read_picture, write_png
from edge_emotion.protocols import FaceDetector
from edge_emotion.quality import face_quality

Findings = list[tuple[Face, EmotionScores]]


class WholePicture:
    """A detector for pictures that are face crops already: the crop that it leads to is the picture itself."""

    def __init__(self, margin: float, shift: float) -> None:
        self._margin, self._shift = margin, shift

    def detect(self, image: Image) -> Sequence[Face]:
        """One face, whose square after margin and shift is the middle square of the picture."""
        height, width = image.shape[:2]
        side = min(height, width) / (1 + 2 * self._margin)
        left, top = width / 2 - side / 2, height / 2 - side / 2 - self._shift * side
        return (Face(Box(left, top, side, side), 1.0),)


def classify(
    images: Sequence[Path],
    *,
    model: str,
    detector_name: str,
    classes: Sequence[str] | None = None,
    operating_point: str | None = None,
    threshold: float = 0.0,
    cropped: bool = False,
    as_json: bool = False,
    annotate_into: Path | None = None,
) -> int:
    """Find and classify the faces in picture files, print them; 0, or SourceError's exit code if one was unreadable.

    A picture that cannot be read is reported on standard error and the others are still done.
    """
    classifier = make_classifier(model, classes=classes, operating_point=operating_point)
    crop = classifier.manifest.input.crop
    detector: FaceDetector = WholePicture(crop.margin, crop.shift) if cropped and crop else make_detector(detector_name)
    targets = _targets(images, annotate_into)
    code = 0
    for path in images:
        try:
            image = read_picture(path)
        except SourceError as error:
            print(f"error: {error}", file=sys.stderr)
            code = error.exit_code
            continue
        findings = find_emotions(image, detector, classifier)
        print(_as_json(path, findings, classifier, threshold) if as_json else _as_text(path, findings, threshold))
        if path in targets:
            write_png(targets[path], annotate(image, findings, threshold=threshold))
    return code


def find_emotions(image: Image, detector: FaceDetector, classifier: EmotionClassifier) -> Findings:
    """Every face in an H x W x 3 BGR picture with its scores, best detection first."""
    faces = detector.detect(image)
    return list(zip(faces, classifier.classify(image, faces), strict=True))


def _targets(images: Sequence[Path], folder: Path | None) -> dict[Path, Path]:
    """Where each annotated picture goes: numbered where the name is taken by another of them or by an original."""
    if folder is None:
        return {}
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SinkError(f"cannot make the folder {folder}: {error.strerror}") from error
    targets: dict[Path, Path] = {}
    taken = {path.resolve() for path in images}
    for path in images:
        number, target = 1, folder / f"{path.stem}.png"
        while target.resolve() in taken:
            number, target = number + 1, folder / f"{path.stem}-{number + 1}.png"
        taken.add(target.resolve())
        targets[path] = target
    return targets


def _as_text(path: Path, findings: Findings, threshold: float) -> str:
    lines = [f"{path}: {len(findings) or 'no'} face{'' if len(findings) == 1 else 's'}"]
    for face, scores in findings:
        box = face.box
        lines.append(
            f"  {scores.named(threshold)} {scores.confidence:.1%}  "
            f"at x {box.x:.0f} y {box.y:.0f}, {box.width:.0f} x {box.height:.0f} px"
        )
        ranked = sorted(scores.as_dict().items(), key=lambda item: -item[1])
        lines.append("    " + "  ".join(f"{label} {probability:.1%}" for label, probability in ranked))
    return "\n".join(lines)


def _as_json(path: Path, findings: Findings, classifier: EmotionClassifier, threshold: float) -> str:
    """One line: the picture, the model and its faces; boxes and landmarks in pixels."""
    manifest = classifier.manifest
    faces = [
        {
            "emotion": scores.named(threshold),
            "confidence": round(scores.confidence, 4),
            "probabilities": {label: round(value, 4) for label, value in scores.as_dict().items()},
            "box": [round(value, 1) for value in (face.box.x, face.box.y, face.box.width, face.box.height)],
            "score": round(face.score, 4),
            "quality": round(face_quality(face, manifest.input.detail), 4),
            "roll_degrees": round(float(np.degrees(face.roll)), 1),
        }
        for face, scores in findings
    ]
    model = {"name": manifest.name, "version": manifest.version}
    return json.dumps({"image": str(path), "model": model, "faces": faces})


def list_models(*, as_json: bool = False) -> None:
    """Print the models of this installation: name, task, precision, size, accuracy with n, licence."""
    manifests = [(folder, load_manifest(folder)) for folder in shipped_models()]
    rows = [_model_row(folder, manifest, entry) for folder, manifest in manifests for entry in manifest.files]
    if as_json:
        print(json.dumps(rows, indent=2))
        return
    for row in rows:
        print(
            f"{row['name']:18} {row['version']:8} {row['task']:22} {row['precision']:8} {row['format']:7} "
            f"{row['bytes'] / 1e6:5.2f} MB  {row['licence']:12} {row['quality']}"
        )


def measured_quality(manifest: ModelManifest, entry: ModelFile) -> Metrics | Parity | None:
    """How right a file is on the test split, at the default operating point; None where that was not measured."""
    compared = (one for name, one in manifest.parity.items() if name.startswith(f"{entry.file} ("))
    first = next(compared, None)
    if first is not None or entry.format != "tflite":
        return first
    return manifest.metrics.get(f"test/{entry.precision}")


def _model_row(folder: Path, manifest: ModelManifest | DetectorManifest, entry: ModelFile) -> dict[str, Any]:
    quality = ""
    if isinstance(manifest, ModelManifest):
        measured = measured_quality(manifest, entry)
        if measured is not None:
            low, high = measured.interval
            quality = (
                f"accuracy {measured.accuracy:.1%} (95% {low:.1%} to {high:.1%}, n = {measured.n}, "
                f"{manifest.training.dataset} {manifest.training.protocol} test)"
            )
    return {
        "name": manifest.name,
        "version": manifest.version,
        "task": manifest.task,
        "precision": entry.precision,
        "format": entry.format,
        "file": str(folder / entry.file),
        "bytes": (folder / entry.file).stat().st_size,
        "licence": manifest.licence,
        "quality": quality,
    }


def check_config(settings: Settings) -> None:
    """Print the resolved settings as YAML, secrets redacted, after making everything that they name.

    No camera, file or connection is opened. Raises what ``run`` would raise before it opens them: models that are
    not there or unfit, libraries that are missing, certificates and password files that cannot be read.
    """
    models = make_models(settings)
    for camera in settings.cameras.values():
        make_source(camera)
    for sink in make_sinks(settings, models.classifier, models.detector):
        sink.check()
    _ = settings.state_path
    print(yaml.safe_dump(redacted(settings), sort_keys=False).rstrip())
