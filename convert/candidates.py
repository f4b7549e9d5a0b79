"""The ways in which a run can become an int8 file, side by side, and the choice between them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal, NamedTuple, get_args

import numpy as np

from convert import tflite
from convert.fold import require_convertible
from convert.parity import compare
from convert.qat import calibration_pixels, load_qat, qat_directory
from convert.quantise_aware import Scheme
from edge_emotion.backends.tflite import TfliteBackend
from edge_emotion.manifest import Parity
from edge_emotion.protocols import FloatArray
from train.draft import calibrate
from train.faces import DataSet, Faces
from train.logits import logits_of
from train.metrics import negative_log_likelihood
from train.operating_points import adjust
from train.predict import KerasBackend
from train.run_directory import RECORD, Run

Way = Literal["post-training", "symmetric", "asymmetric"]
"""The converter's own ranges after training, or quantisation-aware training with one of two kinds of ranges."""


class Candidate(NamedTuple):
    """An int8 file on the validation split. ``loss``: nats per face at its own default operating point."""

    way: Way
    file: Path
    parity: Parity
    loss: float


def ways(run: Path) -> list[Way]:
    """What is there of a run: post-training always, the others where they were trained."""
    return [
        "post-training",
        *(scheme for scheme in get_args(Scheme) if (qat_directory(run, scheme) / RECORD).is_file()),
    ]


def make_candidates(run: Run, ways: Sequence[Way], data: DataSet, folder: Path) -> list[Candidate]:
    """Write the int8 file of each way into a folder and measure it on the validation split.

    Raises ModelError for a network that cannot be converted, before anything is made of it, and if a file is not fully
    integer; ConfigError if its training is not finished.
    """
    model, spec, faces = run.build(), run.recipe.input, data["validation"].majority()
    require_convertible(model)
    reference = logits_of(KerasBackend(model), faces, spec)
    candidates = []
    for way in ways:
        file = folder / f"{run.recipe.name}_{way}.tflite"
        if way == "post-training":
            content = tflite.post_training(model, calibration_pixels(data["train"], spec), spec)
        else:
            content = tflite.quantisation_aware(load_qat(run.path, way).build())
        file.write_bytes(content)
        tflite.check_integer_only(file)
        logits = logits_of(TfliteBackend(file), faces, spec)
        parity = compare("validation", logits, reference, faces.labels)
        candidates.append(Candidate(way, file, parity, _loss(run, logits, faces)))
    return candidates


def choose(candidates: Sequence[Candidate]) -> Candidate:
    """The one with the least loss on the validation split, which sees more than its right and wrong answers do."""
    return min(candidates, key=lambda candidate: candidate.loss)


def _loss(run: Run, logits: FloatArray, faces: Faces) -> float:
    calibration = calibrate(run, logits, faces)
    point = calibration.operating_points[calibration.default]
    adjusted = adjust(logits, np.array(calibration.class_prior), point.prior_strength, point.temperature)
    return negative_log_likelihood(adjusted, faces.labels, 1.0)
