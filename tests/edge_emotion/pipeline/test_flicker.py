"""The floor of the reported emotion over time: smoothing and policy that ship, on stored answers of the classifier.

``scripts/store_face_scores.py`` has stored them: 25 faces of each of six emotions, for two seconds each.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.quality.stability import PEOPLE, SEGMENTS, Observation, count_changes, temporal_figures
from edge_emotion.config.settings import PolicySettings
from edge_emotion.datatypes import EmotionScores
from edge_emotion.pipeline.policy import Policy
from edge_emotion.pipeline.smoothing import Smoother

STORED = Path(__file__).parents[2] / "support" / "face_scores.npz"
RATE = 7.5
"""Samples a second."""


def shown_scores(faces: dict[str, Any], generator: np.random.Generator) -> Iterator[tuple[str, EmotionScores]]:
    """A sequence as the benchmark makes it: each emotion by several faces in turn, then another emotion."""
    labels, shown = tuple(map(str, faces.pop("labels"))), ""
    for _ in range(SEGMENTS):
        shown = str(generator.choice([name for name in faces if name != shown]))
        for number in generator.choice(len(faces[shown]), PEOPLE, replace=False):
            for row in faces[shown][number] / 255:
                yield shown, EmotionScores(labels, tuple((row / row.sum()).tolist()))


def reported(settings: PolicySettings, seed: int) -> list[Observation]:
    """What is reported for each sample of one sequence."""
    smoother = Smoother(settings.time_constant)
    policy = Policy(
        threshold=settings.threshold,
        hysteresis=settings.hysteresis,
        margin=settings.margin,
        min_dwell=settings.min_dwell,
        unknown_dwell=settings.unknown_dwell,
    )
    observations = []
    with np.load(STORED) as stored:
        faces = dict(stored)
    for number, (shown, scores) in enumerate(shown_scores(faces, np.random.default_rng(seed))):
        policy.update("a", smoother.update("a", scores, number / RATE), number / RATE)
        settled = policy.settled("a")
        observations.append(Observation(number / RATE, shown, None if settled is None else settled.emotion))
    return observations


def figures(**changes: float) -> dict[str, Any]:
    settings = PolicySettings(**changes)  # type: ignore[arg-type]
    return temporal_figures([count_changes(reported(settings, seed)) for seed in range(30)])


def test_what_is_reported_flickers_no_more_than_the_floor_and_follows_the_truth() -> None:
    """Measured: 2.2 false changes and 3.9 changes too many in a minute, 90 % settled, after 0.67 s."""
    shipped = figures()
    assert shipped["false_changes_per_minute"] <= 2.5
    assert shipped["flicker_per_minute"] <= 4.3
    assert shipped["settled"]["share"] >= 0.88
    assert shipped["settle_p50_s"] <= 0.81


def test_without_smoothing_it_flickers_many_times_as_often() -> None:
    raw = figures(threshold=0, hysteresis=0, margin=0, min_dwell=0, unknown_dwell=0, time_constant=0)
    assert raw["false_changes_per_minute"] > 10
