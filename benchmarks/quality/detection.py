"""Recall and precision of face detectors on photographs with annotated faces, by size, roll and light."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any, NamedTuple

import numpy as np

from benchmarks.harness.progress import show_progress
from benchmarks.quality.boxed_pictures import BoxedPicture, BoxedPictures, face_side, windows_without_faces
from benchmarks.quality.corruptions import darkened, turned
from benchmarks.quality.faces import percent, share
from benchmarks.results.results import Measurement
from edge_emotion.datatypes import Box, Image
from edge_emotion.protocols import FaceDetector
from train.data.crop import FRAME
from train.data.layouts.finder import OVERLAP
from train.evaluation.mcnemar import mcnemar_test

IGNORED = 16
"""Faces of fewer pixels count neither as found nor as missed, nor does a box that finds one."""

SIZES = (IGNORED, 24, 40, 60, 100, 150)
"""Least longer sides of the bands of face sizes, in pixels of a picture that is fitted to 640 x 480."""

TARGET = 60
"""Pixels from which on the largest face of a picture is also looked for in a turned and in a dark picture."""

ROLLS = (30, 45, 60)
LIGHTS = (0.12, 0.06)
WINDOWS = 2
"""Parts without faces that are taken from each picture, at most."""

UPRIGHT = "upright"

ONE_FACE, NO_FACE = "one face", "no face"
RUNS = 4
"""Parts of the pictures, every fourth each, whose median times are runs of a figure."""


@dataclass
class Tally:
    """What one detector found. Sizes are of faces and boxes as fitted to 640 x 480.

    ``faces``: size, found; ``boxes``: size, right; ``targets``: by condition, found; ``windows``: number of boxes;
    ``seconds``: CPU time of each search of a picture with one face, and of a window without a face.
    """

    faces: list[tuple[float, bool]] = field(default_factory=list)
    boxes: list[tuple[float, bool]] = field(default_factory=list)
    targets: dict[str, list[bool]] = field(default_factory=dict)
    windows: list[int] = field(default_factory=list)
    seconds: dict[str, list[float]] = field(default_factory=lambda: {NO_FACE: [], ONE_FACE: []})

    def search(self, detector: FaceDetector, image: Image, kind: str | None) -> list[Box]:
        """The boxes that the detector finds; the time that it takes is kept under ``kind``, if there is one."""
        begin = time.process_time()
        boxes = [face.box for face in detector.detect(image)]
        if kind is not None:
            self.seconds[kind].append(time.process_time() - begin)
        return boxes


class Target(NamedTuple):
    """One face that is looked for in one picture."""

    condition: str
    image: Image
    box: Box


def measure_detection(detectors: Mapping[str, FaceDetector], pictures: BoxedPictures, *, seed: int) -> dict[str, Any]:
    """By detector: recall and precision at an IoU of 0.3, in all and by size, turned and dark; false boxes; times.

    Which way a picture is turned, its noise and its windows depend on ``seed`` and the picture alone, so that
    detectors differ in nothing else. Raises DataError for a picture or box that cannot be used.
    """
    tallies = {name: Tally() for name in detectors}
    digest = hashlib.sha256()
    for row, picture in enumerate(pictures):
        show_progress("detection", row, len(pictures))
        digest.update(picture.image.tobytes() + repr(picture.boxes).encode())
        _look(detectors, tallies, picture, np.random.default_rng((seed, row)))
    show_progress("detection", len(pictures), len(pictures))
    measured = {name: _shares(tally) | {"milliseconds": _times(tally)} for name, tally in tallies.items()}
    return {"detectors": measured, "duels": _mcnemar_tests(tallies), "pictures": digest.hexdigest()}


def _look(
    detectors: Mapping[str, FaceDetector],
    tallies: Mapping[str, Tally],
    picture: BoxedPicture,
    generator: np.random.Generator,
) -> None:
    """Add what each detector finds in one picture, its variants and its windows to the tallies."""
    scale = fitted(picture.image)
    targets = list(_targets(picture, scale, generator))
    windows = windows_without_faces(picture, generator, WINDOWS)
    for name, detector in detectors.items():
        tally = tallies[name]
        found = tally.search(detector, picture.image, ONE_FACE if len(picture.boxes) == 1 else None)
        pairs = match(found, picture.boxes)
        _count(tally, found, picture.boxes, pairs, scale)
        for condition, image, box in targets:
            boxes = found if condition == UPRIGHT else [face.box for face in detector.detect(image)]
            tally.targets.setdefault(condition, []).append(any(one.iou(box) >= OVERLAP for one in boxes))
        tally.windows += [len(tally.search(detector, window, NO_FACE)) for window in windows]


def fitted(image: Image) -> float:
    """The factor that fits a picture into 640 x 480."""
    height, width = image.shape[:2]
    return float(min(FRAME[0] / height, FRAME[1] / width))


def match(found: Sequence[Box], true: Sequence[Box]) -> dict[int, int]:
    """Position of a found box -> that of its face: the pairs of most overlap first, from an IoU of 0.3 on."""
    pairs = sorted(
        ((overlap, i, j) for i, one in enumerate(found) for j, face in enumerate(true) if (overlap := one.iou(face))),
        reverse=True,
    )
    matches: dict[int, int] = {}
    for overlap, i, j in pairs:
        if overlap >= OVERLAP and i not in matches and j not in matches.values():
            matches[i] = j
    return matches


def _count(tally: Tally, found: Sequence[Box], true: Sequence[Box], pairs: Mapping[int, int], scale: float) -> None:
    sizes = [face_side(face) * scale for face in true]
    tally.faces += [(size, j in pairs.values()) for j, size in enumerate(sizes) if size >= IGNORED]
    tally.boxes += [
        (face_side(box) * scale, i in pairs)
        for i, box in enumerate(found)
        if i not in pairs or sizes[pairs[i]] >= IGNORED
    ]


def _targets(picture: BoxedPicture, scale: float, generator: np.random.Generator) -> Iterator[Target]:
    """The largest face of a picture as it is, turned about its middle, and in less light; none if it is small."""
    face = max(picture.boxes, key=face_side)
    if face_side(face) * scale < TARGET:
        return
    yield Target(UPRIGHT, picture.image, face)
    side, (x, y) = face.area**0.5, face.centre
    square = Box(x - side / 2, y - side / 2, side, side)
    for degrees in ROLLS:
        image = turned(picture.image, face.centre, degrees * generator.choice((-1, 1)))
        yield Target(f"rolled {degrees}", image, square)
    for gain in LIGHTS:
        yield Target(f"light {gain}", darkened(picture.image, gain, generator), face)


def bands() -> Iterator[tuple[str, float, float]]:
    """Name, least and excluded size of each band of SIZES."""
    for low, high in zip(SIZES, (*SIZES[1:], float("inf")), strict=True):
        yield (f"{low}-{high - 1} px" if high < float("inf") else f"{low}+ px"), low, high


def _shares(tally: Tally) -> dict[str, Any]:
    def within(values: Sequence[tuple[float, bool]], low: float, high: float) -> dict[str, Any]:
        hits = [hit for size, hit in values if low <= size < high]
        return share(sum(hits), len(hits))

    return {
        "recall": share(sum(hit for _, hit in tally.faces), len(tally.faces)),
        "precision": share(sum(hit for _, hit in tally.boxes), len(tally.boxes)),
        "recall_by_size": {name: within(tally.faces, low, high) for name, low, high in bands()},
        "precision_by_size": {name: within(tally.boxes, low, high) for name, low, high in bands()},
        "targets": {condition: share(sum(hits), len(hits)) for condition, hits in tally.targets.items()},
        "false_boxes": sum(tally.windows),
        "clean_windows": share(sum(not boxes for boxes in tally.windows), len(tally.windows)),
        "found": "".join("01"[hit] for _, hit in tally.faces),
    }


def _times(tally: Tally) -> dict[str, list[float]]:
    """By kind of picture: median CPU times of a search in ms, one for each of RUNS parts; none for too few searches."""
    return {
        kind: [round(1e3 * float(np.median(seconds[part::RUNS])), 4) for part in range(RUNS)]
        for kind, seconds in tally.seconds.items()
        if len(seconds) >= RUNS
    }


def _mcnemar_tests(tallies: Mapping[str, Tally]) -> list[dict[str, Any]]:
    """McNemar's exact test of every two detectors finding equally many of the faces."""
    found = {name: np.array([hit for _, hit in tally.faces], np.bool_) for name, tally in tallies.items()}
    return [mcnemar_test(a, found[a], b, found[b])._asdict() for a, b in combinations(found, 2)]


def detection_measurements(measured: Mapping[str, Any]) -> Iterator[Measurement]:
    """What ``measure_detection`` found, as figures of each detector."""
    for name, one in measured["detectors"].items():
        yield from percent(name, "recall", one["recall"])
        yield from percent(name, "precision", one["precision"])
        for kind in ("recall", "precision"):
            for band, value in one[f"{kind}_by_size"].items():
                yield from percent(name, f"{kind}, {band}", value)
        for condition, value in one["targets"].items():
            yield from percent(name, f"found, {condition}", value)
        if one["clean_windows"]["n"]:
            yield from percent(name, "windows without a box", one["clean_windows"])
            yield Measurement(
                subject=name, metric="false boxes", unit="", better="lower", runs=(one["false_boxes"],),
                n=one["clean_windows"]["n"],
            )  # fmt: skip
    yield from _time_measurements(measured["detectors"])


def _time_measurements(detectors: Mapping[str, Mapping[str, Any]]) -> Iterator[Measurement]:
    """CPU time of a search, and that of the first detector over it where there are several."""
    first = next(iter(detectors))
    for name, one in detectors.items():
        for kind, times in one["milliseconds"].items():
            yield Measurement(subject=name, metric=f"CPU time, {kind}", unit="ms", better="lower", runs=tuple(times))
            theirs = detectors[first]["milliseconds"][kind]
            if name != first and all(times):
                ratios = tuple(round(other / own, 3) for other, own in zip(theirs, times, strict=True))
                yield Measurement(
                    subject=name, metric=f"{first} over it, {kind}", unit="", better="higher", runs=ratios
                )


def detection_notes(measured: Mapping[str, Any]) -> Iterator[str]:
    """How the figures are counted, and the tests of every two detectors, a line each."""
    yield f"found: intersection over union of at least {OVERLAP}; faces under {IGNORED} px do not count"
    yield "sizes: longer side of the face, of precision that of the box found, fitted to 640 x 480"
    yield f"turned and dark: the largest face of each picture, from {TARGET} px on"
    yield "CPU time: median of a search, of pictures with one face and of those parts; ± over every fourth picture"
    yield f"false boxes: in up to {WINDOWS} parts of each picture that hold no face, enlarged to 640 x 480"
    for one in measured["duels"]:
        yield (
            f"found only by {one['first']}: {one['only_first']}, only by {one['second']}: {one['only_second']}, "
            f"of {one['n']}: p = {one['p']:.3g} (McNemar, exact)"
        )
