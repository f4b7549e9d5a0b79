"""A trial: the face detectors in int8, against the float files that ship. Result: docs/results/quantisation.md.

The published files hold weights in float16, which no quantiser takes: the network is built again from its operators,
and calibrated on faces in pictures.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import median
from time import thread_time
from typing import NamedTuple

import cv2
import numpy as np

from convert.tflite.read import from_tflite
from convert.tflite.write import calibrated
from edge_emotion.backends.tflite import TfliteBackend
from edge_emotion.config.settings import DetectorSettings
from edge_emotion.datatypes import Face, Image
from edge_emotion.detectors.blazeface import BlazeFaceDetector
from edge_emotion.errors import SourceError
from edge_emotion.factory.models import ModelDetector, make_detector
from edge_emotion.models.folder import checked_file, find_model
from edge_emotion.models.preprocess import letterbox
from edge_emotion.protocols import FloatArray, InferenceBackend, ModelInput
from train.data.crop import paste, require_found
from train.data.faces import Faces
from train.data.layouts.finder import chosen_face
from train.evaluation.metrics import difference_interval
from train.keras import K

CALIBRATION, CALLS = 256, 200


class Trial(NamedTuple):
    """Pairs are float, int8. ``found``: share of n pasted faces; ``clip``: share of the frames with a face.

    ``boxes``: how many there were in the n pictures of one face each; ``precision``: share of them that are that face,
    None where there is no box. A recall says nothing without it: a detector that reports everything finds everything.
    ``threshold`` is the least score of a box.

    ``interval`` holds 95 % of the bootstrap of the difference of ``found``, int8 less float. Of the faces that both
    find: ``overlap``, the median intersection over union of their boxes, and ``eyes``, the median distance between
    what each holds for an eye, as a share of the distance of the eyes. ``ms``: CPU time of a call, on one thread.
    """

    n: int
    threshold: float
    found: tuple[float, float]
    boxes: tuple[int, int]
    precision: tuple[float | None, float | None]
    interval: tuple[float, float]
    overlap: float | None
    eyes: float | None
    clip: tuple[float, float]
    ms: tuple[float, float]


def quantise_detector(name: str, faces: Faces) -> bytes:
    """A shipped detector as int8 throughout; ranges from every n-th of ``faces``, 256 in all, each in a picture."""
    detector = make_detector(name)
    folder, spec = find_model(name), detector.manifest.input
    network = from_tflite(checked_file(folder, detector.manifest.file()))
    generator = np.random.default_rng(0)
    rows = np.linspace(0, len(faces) - 1, CALIBRATION).astype(int)

    def batches() -> Iterator[FloatArray]:
        for row in rows:
            yield letterbox(paste(faces.images[row], generator)[0], spec)[0]

    source = K.Input(spec.shape, batch_size=1)
    return calibrated(K.Model(source, network(source)), batches)


def try_int8(
    name: str, file: Path, faces: Faces, frames: Sequence[Image], *, threshold: float = DetectorSettings().threshold
) -> Trial:
    """A shipped detector against the int8 ``file`` of the same network, on ``faces`` and on ``frames`` with a face.

    Raises DataError if the float detector finds no face.
    """
    exact = make_detector(name, threshold=threshold)
    backend = _Ordered(TfliteBackend(file), exact.backend.output_shapes)
    small = BlazeFaceDetector(exact.manifest, backend, threshold=threshold)
    generator = np.random.default_rng(0)
    pairs, boxes = [], np.zeros(2, int)
    for face in faces.images:
        picture, square = paste(face, generator)
        found = [detector.detect(picture) for detector in (exact, small)]
        pairs.append((chosen_face(found[0], square), chosen_face(found[1], square)))
        boxes += [len(some) for some in found]
    hits = np.array([[face is not None for face in pair] for pair in pairs])
    require_found(int(hits[:, 0].sum()), len(faces))
    both = [(one, other) for one, other in pairs if one is not None and other is not None]
    right = hits.sum(axis=0)
    seen = np.array([[bool(detector.detect(frame)) for detector in (exact, small)] for frame in frames])
    return Trial(
        n=len(faces),
        threshold=threshold,
        boxes=(int(boxes[0]), int(boxes[1])),
        precision=(_share(right[0], boxes[0]), _share(right[1], boxes[1])),
        found=_pair(hits.mean(axis=0)),
        interval=difference_interval(hits[:, 1], hits[:, 0]),
        overlap=median(one.box.iou(other.box) for one, other in both) if both else None,
        eyes=median(_eye_distance(one, other) for one, other in both) if both else None,
        clip=_pair(seen.mean(axis=0)),
        ms=_time(exact, small, frames),
    )


class _Ordered:
    """A backend with its outputs in the order of ``shapes``: the converter has an order of its own."""

    def __init__(self, inner: InferenceBackend, shapes: Sequence[tuple[int, ...]]) -> None:
        self._inner, self._order = inner, [inner.output_shapes.index(shape) for shape in shapes]
        self.name, self.input_shape, self.output_shapes = inner.name, inner.input_shape, tuple(shapes)

    def run(self, batch: ModelInput) -> tuple[FloatArray, ...]:
        outputs = self._inner.run(batch)
        return tuple(outputs[index] for index in self._order)

    def close(self) -> None:
        self._inner.close()


def describe_trial(name: str, trial: Trial) -> str:
    """The figures of one detector on five lines."""
    low, high = trial.interval
    agreement = "no face is found by both"
    if trial.overlap is not None and trial.eyes is not None:
        agreement = f"boxes overlap by {trial.overlap:.3f}, eyes lie {trial.eyes:.1%} of their distance apart (medians)"
    return (
        f"{name}: found {trial.found[0]:.2%} in float, {trial.found[1]:.2%} in int8 (difference {100 * low:+.2f} to "
        f"{100 * high:+.2f} points), n = {trial.n}, threshold {trial.threshold:g}\n"
        f"  precision {_percent(trial.precision[0])} of {trial.boxes[0]:,} boxes, {_percent(trial.precision[1])} of "
        f"{trial.boxes[1]:,}\n"
        f"  {agreement}\n"
        f"  frames of the clip with a face: {trial.clip[0]:.1%}, {trial.clip[1]:.1%}\n"
        f"  CPU time of a call: {trial.ms[0]:.3f} ms, {trial.ms[1]:.3f} ms: {trial.ms[0] / trial.ms[1]:.2f} x"
    )


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{share:.1%}"


def _share(part: int, whole: int) -> float | None:
    return float(part / whole) if whole else None


def _eye_distance(one: Face, other: Face) -> float:
    ours, theirs = (np.array(face.landmarks[:2]) for face in (one, other))
    return float(np.hypot(*(ours - theirs).T).mean() / np.hypot(*(ours[0] - ours[1])))


def read_frames(clip: Path) -> list[Image]:
    """All frames of a video. Raises SourceError if it has none."""
    capture, frames = cv2.VideoCapture(str(clip)), []
    while (read := capture.read())[0]:
        frames.append(np.asarray(read[1], np.uint8))
    capture.release()
    if not frames:
        raise SourceError(f"cannot read a frame of {clip}")
    return frames


def _time(exact: ModelDetector, small: ModelDetector, frames: Sequence[Image]) -> tuple[float, float]:
    """Median CPU time in ms of the networks alone, called in turns on the same inputs."""
    taken: tuple[list[float], list[float]] = ([], [])
    for call in range(CALLS):
        batch, _ = letterbox(frames[call % len(frames)], exact.manifest.input)
        for detector, times in zip((exact, small), taken, strict=True):
            begin = thread_time()
            detector.backend.run(batch)
            times.append((thread_time() - begin) * 1000)
    return median(taken[0]), median(taken[1])


def _pair(values: Sequence[float]) -> tuple[float, float]:
    return float(values[0]), float(values[1])
