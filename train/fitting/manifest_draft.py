"""Draft of a manifest before any artefact exists: all fields except files, self-test and test figures."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from edge_emotion.models.classifier import softmax
from edge_emotion.models.manifest import Calibration, Training
from edge_emotion.protocols import FloatArray
from edge_emotion.system.atomic_file import write_text
from train.data.faces import Faces
from train.evaluation.metrics import measure_metrics
from train.evaluation.operating_points import apply_point, choose_operating_points
from train.runs.run_directory import Run

DRAFT = "manifest.draft.json"

NO_LICENCE = "not stated"

INTENDED_USE = (
    "Telling which expression a face shows, on the device, for art, research and home automation with the consent "
    "of the people in view."
)
LIMITS = (
    "An expression is not a felt emotion. Groups, ages and situations that are rare in the data set it was trained on "
    "are recognised worse. Not for decisions about people, not at work or in "
    "education (EU AI Act, Article 5(1)(f)), not for identification."
)


def calibrate(run: Run, logits: FloatArray, validation: Faces) -> Calibration:
    """The prior of the training votes, and operating points with temperatures chosen on the validation split.

    logits: N x C of the model or artefact to calibrate, for the N faces of ``validation``.
    """
    prior = tuple(run.record["class_prior"])
    points = choose_operating_points(logits, validation.labels, np.array(prior), run.classes)
    return Calibration(class_prior=prior, operating_points=points, default=next(iter(points)))


def training_of(run: Run) -> Training:
    """The training facts of a finished run."""
    return Training(
        dataset=run.record["dataset"],
        protocol=run.record["protocol"],
        recipe=run.recipe.name,
        seed=run.recipe.seed,
        epochs=run.record["epochs"],
        start=run.record["start"],
        commit=run.record["commit"],
    )


def facts(run: Run, licence: str = NO_LICENCE) -> dict[str, Any]:
    """The fields of a manifest that follow from the run, and the licence of its weights."""
    return {
        "schema": 1,
        "name": run.recipe.name,
        "task": "emotion-classification",
        "input": run.recipe.input,
        "labels": run.classes,
        "training": training_of(run),
        "licence": licence,
        "intended_use": INTENDED_USE,
        "limits": LIMITS,
    }


def write_draft(run: Run, logits: FloatArray, validation: Faces) -> None:
    """Write manifest.draft.json beside the record: the manifest of the float model.

    logits: N x C for the faces of ``validation``. Conversion calibrates each artefact again.
    """
    calibration = calibrate(run, logits, validation)
    point = calibration.operating_points[calibration.default]
    shipped = apply_point(logits, calibration.class_prior, point, run.classes)
    figures = measure_metrics(validation.labels, softmax(shipped), run.classes)
    draft = {**facts(run), "calibration": calibration, "metrics": {"validation/float32": figures}}
    text = json.dumps(draft, indent=2, default=lambda value: value.model_dump(mode="json", by_alias=True))
    write_text(run.path / DRAFT, text + "\n")
