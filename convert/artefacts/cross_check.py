"""Three writers, one network: the Q/DQ ONNX file against the TFLite file with the same scales, and against tf2onnx.

The reference is the ONNX file in onnxruntime without its optimisations, which computes every rounding as it is written.
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from convert.int8.quantise_aware import scales_of, unwrap
from convert.onnx.from_keras import export_graph
from convert.onnx.write import OPSETS, write_onnx
from convert.tflite.write import quantisation_aware
from edge_emotion.backends.onnx import OnnxBackend
from edge_emotion.backends.tflite import TfliteBackend
from edge_emotion.errors import BackendUnavailable
from edge_emotion.protocols import FloatArray, InferenceBackend

MIN_AGREEMENT = 0.97
"""Least share of faces on which an int8 TFLite file and the Q/DQ ONNX file must say the same."""


class Agreement(NamedTuple):
    """How like two sets of logits are: share of equal winners, mean and largest difference of a logit."""

    top1: float
    mean: float
    worst: float

    def __str__(self) -> str:
        return f"agreement {self.top1:.2%}, logits differ by {self.mean:.4f} (mean), {self.worst:.3f} (at most)"


def agreement(logits: FloatArray, reference: FloatArray) -> Agreement:
    """Of two arrays N x C."""
    difference = np.abs(logits - reference)
    same = logits.argmax(axis=1) == reference.argmax(axis=1)
    return Agreement(float(same.mean()), float(difference.mean()), float(difference.max()))


def cross_check(simulated: Any, logits: Callable[[InferenceBackend], FloatArray]) -> dict[str, Agreement]:
    """Each way to run a network that simulates symmetric int8 against the reference.

    ``logits`` runs a backend over the same faces. Raises BackendUnavailable without tf2onnx or onnxruntime.
    """
    with tempfile.TemporaryDirectory() as workshop:
        folder = Path(workshop)
        ours = write_onnx(export_graph(unwrap(simulated)), folder / "int8.onnx", scales=scales_of(simulated))
        tflite = folder / "int8.tflite"
        # Float ends only spare tf2onnx an integer input; the integers between are the same.
        tflite.write_bytes(quantisation_aware(simulated, integer_ends=False))
        theirs = tf2onnx_from(tflite, folder / "tf2onnx.onnx")
        reference = logits(OnnxBackend(ours, optimise=False))
        others: dict[str, InferenceBackend] = {
            "onnx, optimised": OnnxBackend(ours),
            "tflite": TfliteBackend(tflite),
            "tflite, plain kernels": TfliteBackend(tflite, plain_kernels=True),
            "tflite by tf2onnx": OnnxBackend(theirs, optimise=False),
        }
        return {name: agreement(logits(backend), reference) for name, backend in others.items()}


def tf2onnx_from(tflite: Path, target: Path) -> Path:
    """What tf2onnx makes of a TFLite file. Raises BackendUnavailable where it is not installed."""
    try:
        from tf2onnx.convert import from_tflite
    except ImportError as error:
        raise BackendUnavailable("tf2onnx is not installed: pip install --group convert") from error
    logging.getLogger("tf2onnx").setLevel(logging.WARNING)
    from_tflite(str(tflite), opset=OPSETS[0], output_path=str(target))
    return target
