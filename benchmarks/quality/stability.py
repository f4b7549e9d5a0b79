"""How steadily the pipeline speaks over time: flicker, settling and false changes on sequences whose truth is known."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta, timezone
from itertools import count, pairwise
from typing import Any, NamedTuple

import numpy as np

from benchmarks.harness.defaults import shipped_pipeline
from benchmarks.harness.progress import show_progress
from benchmarks.quality.faces import percent, scored, share
from benchmarks.results.results import Measurement
from edge_emotion.datatypes import Frame
from edge_emotion.errors import ConfigError
from edge_emotion.factory.models import Models
from edge_emotion.labels import UNKNOWN
from edge_emotion.pipeline.pipeline import Pipeline
from train.data.crop import FRAME, place
from train.data.faces import Faces

FPS = 15
SEGMENTS, SEGMENT_SECONDS, PEOPLE = 4, 6.0, 3
"""A sequence shows so many emotions one after the other, each for so long, by so many faces in turn."""

SIDE, SHAKE, BREATH, FLICKER, NOISE = 160, 1.5, 1.5, 4.0, 3.0
"""Pixels across a face; how far place and size (pixels), light and noise (grey levels) vary between frames."""

START = datetime(2000, 1, 1, tzinfo=timezone.utc)
WAYS = "shipped", "raw"


class Moment(NamedTuple):
    """One frame of a sequence: seconds, the emotion shown, the emotion said; None while nobody is seen."""

    seconds: float
    shown: str
    said: str | None


class Course(NamedTuple):
    """What one sequence came to.

    ``flicker``: changes that were not needed; ``false_changes``: those of them to a wrong emotion. ``settled``: seconds
    from each true change to its first right answer, None if there was none.
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
    """Each model on sequences of its own emotions, through the pipeline as it ships and frame by frame ('raw').

    Both ways see the same sequences, and so do models that know the same emotions; others are shown other ones. A
    sequence is made of faces whose label is known: several of one emotion in turn, which move, breathe and flicker a
    little, then of another emotion. Raises ConfigError if fewer than two emotions have enough faces.
    """
    figures: dict[str, Any] = {}
    total = len(models) * len(WAYS) * sequences
    progress = count(1)
    for name, used in models.items():
        rows = usable(faces, classes, used.classifier.labels)
        figures[name] = {}
        for way in WAYS:
            courses = []
            for number in range(sequences):
                generator = np.random.default_rng((seed, number))
                frames = sequence(faces, rows, generator)
                courses.append(follow(watch(make(used, way=way), frames)))
                show_progress("sequences", next(progress), total)
            figures[name][way] = summarise(courses)
    return figures


def make(models: Models, *, way: str) -> Pipeline:
    """The pipeline with the settings that ship, or with no smoothing, no threshold and no patience.

    Both find faces alike: everywhere, and then near their last place.
    """
    if way == "shipped":
        return shipped_pipeline(models)
    return shipped_pipeline(
        models, threshold=0, hysteresis=0, min_dwell=0, time_constant=0, interval=0, idle_interval=0
    )


def usable(faces: Faces, classes: Sequence[str], known: Sequence[str]) -> dict[str, np.ndarray[Any, Any]]:
    """Rows of each emotion that the model knows and that enough faces show. Raises ConfigError if there are not two."""
    rows = {name: np.flatnonzero(faces.labels == column) for column, name in enumerate(classes) if name in known}
    enough = {name: found for name, found in rows.items() if len(found) >= PEOPLE}
    if len(enough) < 2:
        raise ConfigError(f"sequences need two emotions with {PEOPLE} faces each: take more --faces")
    return enough


def sequence(
    faces: Faces, rows: Mapping[str, np.ndarray[Any, Any]], generator: np.random.Generator
) -> Iterator[tuple[Frame, str]]:
    """Frames at FPS, each with the emotion that it shows; neighbouring segments show different ones."""
    names, number, shown = list(rows), 0, ""
    per_face = round(SEGMENT_SECONDS * FPS / PEOPLE)
    for _ in range(SEGMENTS):
        shown = str(generator.choice([name for name in names if name != shown]))
        for row in generator.choice(rows[shown], PEOPLE, replace=False):
            for _ in range(per_face):
                second = number / FPS
                image = _picture(faces.images[row], generator)
                yield Frame(image, second, START + timedelta(seconds=second), number), shown
                number += 1


def _picture(face: np.ndarray[Any, Any], generator: np.random.Generator) -> Any:
    side = round(SIDE + generator.normal(0, BREATH))
    left, top = (round((size - SIDE) / 2 + generator.normal(0, SHAKE)) for size in FRAME[::-1])
    image = place(face, side, left, top)
    grain = generator.standard_normal((*FRAME, 1), np.float32) * np.float32(NOISE)
    return np.clip(image + grain + np.float32(generator.normal(0, FLICKER)), 0, 255).astype(np.uint8)


def watch(pipeline: Pipeline, frames: Iterator[tuple[Frame, str]]) -> list[Moment]:
    """What the pipeline says of the most prominent face after each frame."""
    moments = []
    for frame, shown in frames:
        pipeline.process(frame)
        state = pipeline.state()
        moments.append(Moment(frame.timestamp, shown, None if state is None else state.emotion))
    return moments


def follow(moments: Sequence[Moment]) -> Course:
    """Count what was said against what was shown.

    A change is one emotion (or 'unknown') said after another. Needed is the one that first says what has come to be
    shown; all others are flicker, and false those to an emotion that is neither shown then nor 'unknown'.
    """
    last: str | None = None
    shown, arrived = "", False
    flicker = false = 0
    for moment in moments:
        arrived = arrived and moment.shown == shown
        shown = moment.shown
        if None not in (moment.said, last) and moment.said != last:
            flicker += arrived or moment.said != shown
            false += moment.said not in (shown, UNKNOWN)
        arrived = arrived or moment.said == shown
        last = moment.said or last
    seconds = moments[-1].seconds - moments[0].seconds
    right = sum(moment.said == moment.shown for moment in moments)
    return Course(seconds, len(moments), right, flicker, false, _settled(moments))


def _settled(moments: Sequence[Moment]) -> tuple[float | None, ...]:
    """Of each true change but the beginning."""
    starts = [i for i in range(1, len(moments)) if moments[i].shown != moments[i - 1].shown]
    return tuple(
        next((now.seconds - moments[begin].seconds for now in moments[begin:end] if now.said == now.shown), None)
        for begin, end in pairwise([*starts, len(moments)])
    )


def summarise(courses: Sequence[Course]) -> dict[str, Any]:
    """All sequences of one model together.

    Times to settle are of the true changes that settled at all; ``settled`` says how many did.
    """
    minutes = sum(course.seconds for course in courses) / 60
    every = [seconds for course in courses for seconds in course.settled]
    times = [seconds for seconds in every if seconds is not None]
    quantiles = np.quantile(times, (0.5, 0.9)).round(3).tolist() if times else [None, None]
    return {
        "sequences": len(courses),
        "minutes": round(minutes, 3),
        "flicker_per_minute": round(sum(course.flicker for course in courses) / minutes, 3),
        "false_changes_per_minute": round(sum(course.false_changes for course in courses) / minutes, 3),
        "settled": share(len(times), len(every)),
        "settle_p50_s": quantiles[0],
        "settle_p90_s": quantiles[1],
        "right_time": round(sum(course.right for course in courses) / sum(course.frames for course in courses), 5),
    }


def temporal_measurements(measured: Mapping[str, Any]) -> Iterator[Measurement]:
    """What ``measure_temporal`` found, as figures of each model and way."""
    for model, ways in measured.items():
        for way, one in ways.items():
            subject, n = f"{model}, {way}", one["sequences"]
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
