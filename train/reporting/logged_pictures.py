"""Pictures of a run for experiment trackers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edge_emotion.models.classifier import softmax
from edge_emotion.protocols import FloatArray
from train.data.faces import Faces, every_class
from train.evaluation.model_figures import compute_figures
from train.reporting.plots import confusion_plot, faces_plot

SAMPLES = 24
"""Faces at most, of every class."""


def logged_pictures(faces: Faces, logits: FloatArray, classes: Sequence[str]) -> dict[str, bytes]:
    """Name -> PNG: the confusion matrix, and sample faces with true and predicted class. logits: N x C."""
    rows = every_class(faces)[:SAMPLES]
    captions = [
        f"{classes[label]}\npredicted {classes[int(chances.argmax())]} {chances.max():.0%}"
        for label, chances in zip(faces.labels[rows], softmax(logits[rows].astype(np.float64)), strict=True)
    ]
    figures = compute_figures(faces.labels, logits, classes)
    return {
        "confusion": confusion_plot({"validation": figures}).png,
        "samples": faces_plot(faces.images[rows], captions).png,
    }
