"""Stability of the pipeline's output over time: flicker, settling and false changes on sequences of known emotions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta, timezone
from itertools import count, pairwise
from typing import Any, NamedTuple

import numpy as np

from benchmarks.harness.defaults import default_pipeline
from benchmarks.harness.progress import show_progress
from benchmarks.quality.faces import percent, scored, share
from benchmarks.results.results import Measurement
from edge_emotion.datatypes import Frame
from edge_emotion.errors import ConfigError
from edge_emotion.factory.models import Models
from edge_emotion.labels import UNKNOWN
from edge_emotion.pipeline.pipeline import Pipeline
from edge_emotion.pipeline.quality_gate import NeededConfidence
from train.data.crop import FRAME, place
from train.data.faces import Faces

FPS = 15
SEGMENTS, SEGMENT_SECONDS, PEOPLE = 4, 6.0, 3
"""Emotions per sequence, seconds per emotion, and faces that show one emotion in turn."""

SIDE, SHAKE, BREATH, FLICKER, NOISE = 160, 1.5, 1.5, 4.0, 3.0
"""Side of a face in pixels; standard deviations per frame of position and size (pixels), light and noise (levels)."""

START = datetime(2000, 1, 1, tzinfo=timezone.utc)
VARIANTS = "shipped", "raw"
SMOOTHED_BY = (
    *("threshold", "hysteresis", "margin", "min_dwell", "unknown_dwell", "time_constant"),
    *("interval", "idle_interval"),
)
"""Settings of the pipeline that are 0 in ``raw``."""


class Observation(NamedTuple):
    """One frame of a sequence: seconds, emotion shown, emotion reported (None while no face is tracked)."""

    seconds: float
    shown: str
    reported: str | None


class SequenceCounts(NamedTuple):
    """Counts on one sequence.

    ``flicker``: changes that were not needed; ``false_changes``: those of them to a wrong emotion. ``settled``: seconds
    from each true change to the first correct report, None if there was none.
    """

    seconds: float
    frames: int
    right: int
    flicker: int
    false_changes: int
    settled: tuple[float | None, ...]


def measure_temporal(
    models: Mapping[str, Models],
    faces: Faces,
    classes: Sequence[str],
    *,
    sequences: int,
    seed: int = 0,
) -> dict[str, Any]:
    """Run each model on sequences of its emotions, through the default pipeline ('shipped') and unsmoothed ('raw').

    Both see the same sequences, and so do models with the same emotions. A sequence is made from faces with known
    labels: several of one emotion in turn, with small changes of position, size and light, then of another emotion.
    Raises ConfigError if fewer than two emotions have enough faces.
    """
    figures: dict[str, Any] = {}
    total = len(models) * len(VARIANTS) * sequences
    progress = count(1)
    for name, used in models.items():
        rows = usable_rows(faces, classes, used.classifier.labels)
        figures[name] = {}
        for variant in VARIANTS:
            counts = []
            for number in range(sequences):
                generator = np.random.default_rng((seed, number))
                frames = sequence_frames(faces, rows, generator)
                counts.append(count_changes(observe(pipeline_variant(used, variant=variant), frames)))
                show_progress("sequences", next(progress), total)
            figures[name][variant] = temporal_figures(counts)
    return figures


def pipeline_variant(models: Models, *, variant: str) -> Pipeline:
    """The default pipeline, or one without smoothing, threshold, dwell time and quality gate.

    Both detect faces in the same way: in the whole frame first, then near their last position.
    """
    if variant == "shipped":
        return default_pipeline(models)
    none: dict[str, Any] = dict.fromkeys(SMOOTHED_BY, 0.0)
    return default_pipeline(models, needed_confidence=NeededConfidence(), **none)


def usable_rows(faces: Faces, classes: Sequence[str], known: Sequence[str]) -> dict[str, np.ndarray[Any, Any]]:
    """Emotion -> rows, for emotions of the model with at least PEOPLE faces. Raises ConfigError for fewer than two."""
    rows = {name: np.flatnonzero(faces.labels == column) for column, name in enumerate(classes) if name in known}
    enough = {name: found for name, found in rows.items() if len(found) >= PEOPLE}
    if len(enough) < 2:
        raise ConfigError(f"sequences need two emotions with {PEOPLE} faces each: take more --faces")
    return enough


def sequence_frames(
    faces: Faces, rows: Mapping[str, np.ndarray[Any, Any]], generator: np.random.Generator
) -> Iterator[tuple[Frame, str]]:
    """Frames at FPS, each with the emotion shown; neighbouring segments show different emotions."""
    names, number, shown = list(rows), 0, ""
    per_face = round(SEGMENT_SECONDS * FPS / PEOPLE)
    for _ in range(SEGMENTS):
        shown = str(generator.choice([name for name in names if name != shown]))
        for row in generator.choice(rows[shown], PEOPLE, replace=False):
            for _ in range(per_face):
                second = number / FPS
                image = picture(faces.images[row], generator)
                yield Frame(image, second, START + timedelta(seconds=second), number), shown
                number += 1


def picture(face: np.ndarray[Any, Any], generator: np.random.Generator) -> Any:
    """A grey face crop in the middle of a 480 x 640 BGR picture, with small changes of place, size and light."""
    side = round(SIDE + generator.normal(0, BREATH))
    left, top = (round((size - SIDE) / 2 + generator.normal(0, SHAKE)) for size in FRAME[::-1])
    image = place(face, side, left, top)
    grain = generator.standard_normal((*FRAME, 1), np.float32) * np.float32(NOISE)
    return np.clip(image + grain + np.float32(generator.normal(0, FLICKER)), 0, 255).astype(np.uint8)


def observe(pipeline: Pipeline, frames: Iterator[tuple[Frame, str]]) -> list[Observation]:
    """The emotion that the pipeline reports for the most prominent face after each frame."""
    observations = []
    for frame, shown in frames:
        pipeline.process(frame)
        state = pipeline.state()
        observations.append(Observation(frame.timestamp, shown, None if state is None else state.emotion))
    return observations


def count_changes(observations: Sequence[Observation]) -> SequenceCounts:
    """Compare the reported emotions with those shown.

    A change is a report that differs from the one before, 'unknown' included. The first report of a newly shown emotion
    is needed; all other changes are flicker, and false if to an emotion that is neither shown nor 'unknown'.
    """
    last: str | None = None
    shown, arrived = "", False
    flicker = false = 0
    for observation in observations:
        arrived = arrived and observation.shown == shown
        shown = observation.shown
        if None not in (observation.reported, last) and observation.reported != last:
            flicker += arrived or observation.reported != shown
            false += observation.reported not in (shown, UNKNOWN)
        arrived = arrived or observation.reported == shown
        last = observation.reported or last
    seconds = observations[-1].seconds - observations[0].seconds
    right = sum(observation.reported == observation.shown for observation in observations)
    return SequenceCounts(seconds, len(observations), right, flicker, false, _settled(observations))


def _settled(observations: Sequence[Observation]) -> tuple[float | None, ...]:
    """Seconds to settle after each true change; the beginning of the sequence is none."""
    starts = [i for i in range(1, len(observations)) if observations[i].shown != observations[i - 1].shown]
    return tuple(
        next(
            (now.seconds - observations[begin].seconds for now in observations[begin:end] if now.reported == now.shown),
            None,
        )
        for begin, end in pairwise([*starts, len(observations)])
    )


def temporal_figures(counts: Sequence[SequenceCounts]) -> dict[str, Any]:
    """Figures over all sequences of one model.

    Settling times are of the true changes that settled; ``settled`` is the proportion that did.
    """
    minutes = sum(counted.seconds for counted in counts) / 60
    every = [seconds for counted in counts for seconds in counted.settled]
    times = [seconds for seconds in every if seconds is not None]
    quantiles = np.quantile(times, (0.5, 0.9)).round(3).tolist() if times else [None, None]
    return {
        "sequences": len(counts),
        "minutes": round(minutes, 3),
        "flicker_per_minute": round(sum(counted.flicker for counted in counts) / minutes, 3),
        "false_changes_per_minute": round(sum(counted.false_changes for counted in counts) / minutes, 3),
        "settled": share(len(times), len(every)),
        "settle_p50_s": quantiles[0],
        "settle_p90_s": quantiles[1],
        "right_time": round(sum(counted.right for counted in counts) / sum(counted.frames for counted in counts), 5),
    }


def temporal_measurements(measured: Mapping[str, Any]) -> Iterator[Measurement]:
    """The measurements in ``measure_temporal``' result, of each model and pipeline."""
    for model, variants in measured.items():
        for variant, one in variants.items():
            subject, n = f"{model}, {variant}", one["sequences"]
            for metric in ("flicker", "false_changes"):
                yield Measurement(
                    subject=subject, metric=metric.replace("_", " "), unit="/min", better="lower",
                    runs=(one[f"{metric}_per_minute"],), n=n,
                )  # fmt: skip
            yield from percent(subject, "settled", one["settled"])
            if one["settle_p50_s"] is not None:
                settled = (one["settle_p50_s"],)
                yield Measurement(subject=subject, metric="settles in", unit="s", better="lower", runs=settled, n=n)
            yield scored(subject, "right of the time", one["right_time"], n=n)
