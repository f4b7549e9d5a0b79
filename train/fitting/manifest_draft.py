"""What a manifest says about a model before any artefact exists: everything but files, golden set and test figures."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from edge_emotion.models.classifier import softmax
from edge_emotion.models.manifest import Calibration, Training
from edge_emotion.protocols import FloatArray
from edge_emotion.system.atomic_file import write_text
from train.data.faces import Faces
from train.evaluation.metrics import measure
from train.evaluation.operating_points import adjust, choose_operating_points
from train.runs.run_directory import Run

DRAFT = "manifest.draft.json"

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
    """The prior of the training votes; operating points and their temperatures from the validation split.

    logits: N x C of what is calibrated, for the N faces of ``validation``.
    """
    prior = tuple(run.record["class_prior"])
    points = choose_operating_points(logits, validation.labels, np.array(prior), run.classes)
    return Calibration(class_prior=prior, operating_points=points, default=next(iter(points)))


def training_of(run: Run) -> Training:
    """How a finished run was trained."""
    return Training(
        dataset=run.record["dataset"],
        protocol=run.record["protocol"],
        recipe=run.recipe.name,
        seed=run.recipe.seed,
        epochs=run.record["epochs"],
        start=run.record["start"],
        commit=run.record["commit"],
    )


def facts(run: Run) -> dict[str, Any]:
    """Fields of a manifest that follow from the run alone."""
    return {
        "schema": 1,
        "name": run.recipe.name,
        "task": "emotion-classification",
        "input": run.recipe.input,
        "labels": run.classes,
        "training": training_of(run),
        "licence": "Apache-2.0",
        "intended_use": INTENDED_USE,
        "limits": LIMITS,
    }


def write_draft(run: Run, logits: FloatArray, validation: Faces) -> None:
    """Write manifest.draft.json beside the record: what the manifest of the float model would say.

    logits: N x C for the faces of ``validation``. Conversion calibrates each artefact anew.
    """
    calibration = calibrate(run, logits, validation)
    point = calibration.operating_points[calibration.default]
    shipped = adjust(logits, np.array(calibration.class_prior), point.prior_strength, point.temperature)
    figures = measure(validation.labels, softmax(shipped), run.classes)
    draft = {**facts(run), "calibration": calibration, "metrics": {"validation/float32": figures}}
    text = json.dumps(draft, indent=2, default=lambda value: value.model_dump(mode="json", by_alias=True))
    write_text(run.path / DRAFT, text + "\n")
