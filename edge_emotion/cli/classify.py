"""What ``classify``, ``models`` and ``check-config`` do; ``cli`` only parses their arguments."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from edge_emotion.cli.annotate import annotate
from edge_emotion.datatypes import EmotionScores, Face, Image
from edge_emotion.detectors.whole_picture import WholePicture
from edge_emotion.errors import SinkError, SourceError
from edge_emotion.factory.models import make_classifier, make_detector
from edge_emotion.models.classifier import EmotionClassifier
from edge_emotion.pipeline.face_quality import face_quality
from edge_emotion.protocols import FaceDetector
from edge_emotion.system.image_files import read_picture, write_png

Findings = list[tuple[Face, EmotionScores]]


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
