"""``edge-emotion classify``: emotions of the faces in picture files."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edge_emotion.cli.annotate import annotate
from edge_emotion.config.settings import Range
from edge_emotion.config.source_spec import IMAGE_SUFFIXES, may_be_picture
from edge_emotion.datatypes import EmotionScores, Face, Image
from edge_emotion.detectors.whole_picture import WholePicture
from edge_emotion.errors import ConfigError, SinkError, SourceError
from edge_emotion.factory.models import make_classifier, photograph_detector
from edge_emotion.models.classifier import EmotionClassifier
from edge_emotion.pipeline.face_quality import face_quality
from edge_emotion.protocols import FaceDetector
from edge_emotion.system.image_files import read_picture, write_png
from edge_emotion.system.image_header import files_below

Findings = list[tuple[Face, EmotionScores]]


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassifyOptions:
    """The options of ``classify``; the defaults stand in the command line."""

    model: str
    detector: str
    range: Range
    classes: Sequence[str] | None
    operating_point: str | None
    threshold: float
    cropped: bool
    as_json: bool
    annotate_into: Path | None
    force: bool
    max_pixels: int


def classify(images: Sequence[Path], options: ClassifyOptions) -> int:
    """Find and classify the faces in picture files and folders, print them; 0, or the exit code of the last fault.

    A picture that cannot be read is reported on standard error and the others are still done.
    """
    classifier = make_classifier(options.model, classes=options.classes, operating_point=options.operating_point)
    detector = _detector(classifier, options)
    pictures, code = _pictures(images)
    targets = _targets(pictures, options.annotate_into, force=options.force)
    for number, path in enumerate(pictures, start=1):
        _show_progress(number, len(pictures))
        try:
            image = read_picture(path, options.max_pixels)
        except SourceError as error:
            _clear_progress()
            print(f"error: {error}", file=sys.stderr)
            code = error.exit_code
            continue
        findings = find_emotions(image, detector, classifier)
        _clear_progress()
        as_output = _findings_as_json if options.as_json else _findings_as_text
        if path in targets:
            write_png(targets[path], annotate(image, findings, threshold=options.threshold))
        print(as_output(path, findings, classifier, options.threshold, targets.get(path)))
    return code


def _show_progress(number: int, total: int) -> None:
    """One line on the terminal, which the next output replaces."""
    if total > 1 and sys.stderr.isatty():
        print(f"\r{number} of {total} pictures", end="", file=sys.stderr, flush=True)


def _clear_progress() -> None:
    if sys.stderr.isatty():
        print("\r\x1b[K", end="", file=sys.stderr, flush=True)


def _detector(classifier: EmotionClassifier, options: ClassifyOptions) -> FaceDetector:
    crop = classifier.manifest.input.crop
    if options.cropped and crop:
        return WholePicture(crop.margin, crop.shift)
    return photograph_detector(options.detector, reach=options.range)


def _pictures(paths: Sequence[Path]) -> tuple[list[Path], int]:
    """Files as given, and all below folders that are pictures or named like one; exit code, 3 if a folder has none."""
    found, code = [], 0
    for path in paths:
        if not path.is_dir():
            found.append(path)
            continue
        inside = list(files_below(path))
        pictures = [file for file in inside if may_be_picture(file)]
        found += pictures
        _report_left_out(path, [file for file in inside if file not in set(pictures)], len(pictures))
        code = code if pictures else SourceError.exit_code
    return found, code


def _report_left_out(folder: Path, others: Sequence[Path], pictures: int) -> None:
    """Count on standard error what a folder has, and name some of the files that are no pictures."""
    names = ", ".join(file.name for file in others[:3]) + (", ..." if len(others) > 3 else "")
    left_out = f"; {len(others)} other files are left out: {names}" if others else ""
    print(f"{folder}: {pictures} pictures{left_out}", file=sys.stderr)


def find_emotions(image: Image, detector: FaceDetector, classifier: EmotionClassifier) -> Findings:
    """Every face in an H x W x 3 BGR picture with its scores, best detection first."""
    faces = detector.detect(image)
    return list(zip(faces, classifier.classify(image, faces), strict=True))


def _targets(images: Sequence[Path], folder: Path | None, *, force: bool) -> dict[Path, Path]:
    """The file of each annotated picture; numbered where another one or an original already has the name.

    Raises SinkError if the folder cannot be made, ConfigError if one of the files is there already, without ``force``,
    and for the name of a picture where a folder is wanted.
    """
    if folder is None:
        return {}
    if folder.suffix.lower() in IMAGE_SUFFIXES and not folder.is_dir():
        raise ConfigError(
            f"--annotate takes a folder, and {folder} is the name of a picture: give --annotate {folder.stem}"
        )
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
    there = [target for target in targets.values() if target.exists()]
    if there and not force:
        more = f" (and {len(there) - 1} more)" if len(there) > 1 else ""
        raise ConfigError(f"{there[0]}{more} is there already: give another folder, or --force to write over it")
    return targets


def _findings_as_text(
    path: Path, findings: Findings, classifier: EmotionClassifier, threshold: float, drawn: Path | None
) -> str:
    lines = [f"{path}: {len(findings) or 'no'} face{'' if len(findings) == 1 else 's'}"]
    for number, (face, scores) in enumerate(findings, start=1):
        box = face.box
        lines.append(
            f"  {number}  {scores.named(threshold)} {scores.confidence:.1%}  "
            f"at x {box.x:.0f} y {box.y:.0f}, {box.width:.0f} x {box.height:.0f} px"
        )
        ranked = sorted(scores.as_dict().items(), key=lambda item: -item[1])
        lines.append("    " + "  ".join(f"{label} {probability:.1%}" for label, probability in ranked))
        if likely := classifier.likely(scores):
            lines.append(f"    9 times in 10 one of: {', '.join(likely)}")
    if drawn is not None:
        lines.append(f"  drawn: {drawn}")
    return "\n".join(lines)


def _findings_as_json(
    path: Path, findings: Findings, classifier: EmotionClassifier, threshold: float, drawn: Path | None
) -> str:
    """A line of JSON: the picture, the model and the faces, each with its box (x, y, width, height) in pixels."""
    manifest = classifier.manifest
    faces = [
        {
            "emotion": scores.named(threshold),
            "confidence": round(scores.confidence, 4),
            **({"likely": list(likely)} if (likely := classifier.likely(scores)) else {}),
            "probabilities": {label: round(value, 4) for label, value in scores.as_dict().items()},
            "box": [round(value, 1) for value in (face.box.x, face.box.y, face.box.width, face.box.height)],
            "score": round(face.score, 4),
            "quality": round(face_quality(face, manifest.input.detail), 4),
            "roll_degrees": round(float(np.degrees(face.roll)), 1),
        }
        for face, scores in findings
    ]
    model = {"name": manifest.name, "version": manifest.version}
    annotated = {} if drawn is None else {"annotated": str(drawn)}
    return json.dumps({"image": str(path), **annotated, "model": model, "faces": faces})
