"""Detectors by name: ``NAME``, ``haar``, ``PROPOSER+blazeface_short``, and several of these joined by commas."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.quality import haar
from edge_emotion.config.settings import DetectorSettings
from edge_emotion.datatypes import Face, Image
from edge_emotion.errors import ConfigError
from edge_emotion.factory.models import NEAR, fastest_precision, make_detector, quick_detector
from edge_emotion.models.folder import find_model, load_manifest
from edge_emotion.pipeline.searching import missing
from edge_emotion.protocols import FaceDetector

CASCADE, TOGETHER = "+", ","


class Together:
    """The faces of several detectors: of one that two of them find, the first one's.

    A daemon that looks with one and now and then with the other has the tracks of both.
    """

    def __init__(self, detectors: Sequence[FaceDetector]) -> None:
        self._detectors = tuple(detectors)

    def detect(self, image: Image) -> Sequence[Face]:
        """Faces in an H x W x 3 BGR picture: of the first detector, then what each next one finds in addition."""
        found: list[Face] = []
        for detector in self._detectors:
            found += missing(detector.detect(image), found)
        return found


def named_detector(name: str, *, precision: str | None, threshold: float, min_size: int) -> FaceDetector:
    """The detector of this name. Raises ConfigError for a cascade of others, and what ``make_detector`` raises."""
    if TOGETHER in name:
        parts = name.split(TOGETHER)
        return Together(
            [named_detector(part, precision=precision, threshold=threshold, min_size=min_size) for part in parts]
        )
    if name == haar.NAME:
        return haar.HaarDetector(min_size)
    proposer = proposer_of(name)
    if proposer is None:
        return make_detector(name, precision=precision, threshold=threshold, min_size=min_size)
    least = DetectorSettings.model_fields["min_size"].metadata[0].ge
    options = DetectorSettings(quick_model=proposer, threshold=threshold, min_size=max(min_size, least))
    found = quick_detector(options, make_detector(NEAR, threshold=threshold, min_size=min_size))
    assert isinstance(found, FaceDetector)
    return found


def proposer_of(name: str) -> str | None:
    """The first detector of a cascade; None for a name without one. Raises ConfigError for a cascade of others."""
    proposer, cascade, refiner = name.partition(CASCADE)
    if cascade and refiner != NEAR:
        raise ConfigError(f"{name}: what a detector proposes is confirmed by {NEAR}: write {proposer}{CASCADE}{NEAR}")
    return proposer if cascade else None


def daemon_settings(name: str) -> DetectorSettings:
    """The settings of a daemon that searches with the detector of this name: a cascade between two thorough searches.

    Raises ConfigError for several detectors joined by commas, and for a cascade of others.
    """
    if TOGETHER in name:
        raise ConfigError(
            f"{name}: a daemon searches with one detector at a time: give one, or PROPOSER{CASCADE}{NEAR}"
        )
    proposer = proposer_of(name)
    return DetectorSettings(model=name) if proposer is None else DetectorSettings(quick_model=proposer)


def files_of(name: str, precision: str | None) -> dict[str, str]:
    """The sha256 of each file that the detector of this name runs."""
    files: dict[str, str] = {}
    for part in name.split(TOGETHER):
        if part == haar.NAME:
            files |= haar.file_of_cascade()
            continue
        for one in part.split(CASCADE):
            entry = load_manifest(find_model(one)).file(fastest_precision(one) if CASCADE in part else precision)
            files[f"{one}: {entry.file}"] = entry.sha256
    return files
