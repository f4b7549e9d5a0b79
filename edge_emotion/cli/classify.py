"""``edge-emotion classify``: emotions of the faces in picture files, and in recordings."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path

import numpy as np

from edge_emotion.cli.annotate import annotate
from edge_emotion.cli.picture_list import RowFile
from edge_emotion.cli.recordings import RecordingReader, SecondsShown, described
from edge_emotion.config.settings import Range
from edge_emotion.config.source_spec import IMAGE_SUFFIXES
from edge_emotion.datatypes import EmotionScores, Face, Image
from edge_emotion.detectors.whole_picture import WholePicture
from edge_emotion.errors import ConfigError, SinkError, SourceError
from edge_emotion.factory.models import make_classifier, photograph_detector
from edge_emotion.models.classifier import EmotionClassifier
from edge_emotion.pipeline.face_quality import face_quality
from edge_emotion.protocols import FaceDetector
from edge_emotion.system.image_files import read_picture, write_png
from edge_emotion.system.image_header import is_recording_file

Findings = list[tuple[Face, EmotionScores]]


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassifyOptions:
    """The options of ``classify``; the defaults stand in the command line.

    ``range`` and ``threshold`` None: a room and 0 for pictures, the defaults of ``run`` for recordings.
    """

    model: str
    detector: str
    range: Range | None
    classes: Sequence[str] | None
    operating_point: str | None
    threshold: float | None
    cropped: bool
    as_json: bool
    annotate_into: Path | None
    force: bool
    max_pixels: int
    output: Path | None
    resume: bool


def classify(found: tuple[list[Path], int], options: ClassifyOptions) -> int:
    """Find and classify the faces in pictures and recordings, print or write them; 0, or the last fault's exit code.

    ``found`` are the files, and the code of a fault while they were listed. A file that cannot be read is reported on
    standard error and the others are still done. Raises SinkError, ConfigError for files that cannot be written.
    """
    files, code = found
    work = _Work(options)
    targets = _targets(files, options.annotate_into, force=options.force)
    with ExitStack() as stack:
        emit: Callable[[str], None] = print
        if options.output is not None:
            rows = stack.enter_context(closing(RowFile(options.output, _model(work.classifier), resume=options.resume)))
            emit, files = rows.write, rows.due(files)
        for number, path in enumerate(files, start=1):
            _show_progress(number, len(files))
            try:
                if is_recording_file(path):
                    text = work.recording(path, SecondsShown(partial(_show_progress, number, len(files))))
                else:
                    text = work.picture(path, targets.get(path))
            except SourceError as error:
                _clear_progress()
                print(f"error: {error}", file=sys.stderr)
                code = error.exit_code
            else:
                _clear_progress()
                emit(text)
    return code


class _Work:
    """The models, and what is done with one file. The models that only recordings need are made for the first one."""

    def __init__(self, options: ClassifyOptions) -> None:
        self._options = options
        self.classifier = make_classifier(
            options.model, classes=options.classes, operating_point=options.operating_point
        )
        self._detector = _detector(self.classifier, options)

    def picture(self, path: Path, target: Path | None) -> str:
        """The output for one picture, which is drawn into ``target``. Raises SourceError if it cannot be read."""
        image, threshold = read_picture(path, self._options.max_pixels), self._options.threshold or 0.0
        findings = find_emotions(image, self._detector, self.classifier)
        if target is not None:
            write_png(target, annotate(image, findings, threshold=threshold))
        as_output = _findings_as_json if self._options.as_json else _findings_as_text
        return as_output(path, findings, self.classifier, threshold, target)

    def recording(self, path: Path, progress: Callable[[float], None]) -> str:
        """The output for one recording. Raises SourceError if it cannot be read."""
        if self._options.cropped or self._options.annotate_into is not None:
            option = "--cropped" if self._options.cropped else "--annotate"
            raise SourceError(f"{path} is a recording, and {option} is for pictures: leave one of them out")
        found = self._reader.read(path, progress)
        if not self._options.as_json:
            return described(path, found)
        return json.dumps({"image": str(path), "model": _model(self.classifier), **found.as_dict()})

    @cached_property
    def _reader(self) -> RecordingReader:
        options = self._options
        return RecordingReader(
            self.classifier,
            detector=options.detector,
            reach=options.range,
            threshold=options.threshold,
            classes=options.classes,
            operating_point=options.operating_point,
        )


def _model(classifier: EmotionClassifier) -> dict[str, str]:
    return {"name": classifier.manifest.name, "version": classifier.manifest.version}


def _show_progress(number: int, total: int, part: str = "") -> None:
    """One line on the terminal, which the next output replaces; ``part`` is how much of the file is done."""
    if (total > 1 or part) and sys.stderr.isatty():
        print(f"\r{number} of {total} files{part}", end="", file=sys.stderr, flush=True)


def _clear_progress() -> None:
    if sys.stderr.isatty():
        print("\r\x1b[K", end="", file=sys.stderr, flush=True)


def _detector(classifier: EmotionClassifier, options: ClassifyOptions) -> FaceDetector:
    crop = classifier.manifest.input.crop
    if options.cropped and crop:
        return WholePicture(crop.margin, crop.shift)
    return photograph_detector(options.detector, reach=options.range or "room")


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
    annotated = {} if drawn is None else {"annotated": str(drawn)}
    return json.dumps({"image": str(path), **annotated, "model": _model(classifier), "faces": faces})
