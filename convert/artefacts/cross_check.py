"""Comparison of the Q/DQ ONNX file with the TFLite file of the same scales, and with tf2onnx' conversion of the latter.

The reference is the ONNX file in onnxruntime without optimisations, which computes every rounding as written.
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from convert.int8.quantise_aware import explicit
from convert.onnx.write import OPSETS, write_onnx
from convert.tflite.write import quantisation_aware
from edge_emotion.backends.onnx import OnnxBackend
from edge_emotion.backends.tflite import TfliteBackend
from edge_emotion.errors import BackendUnavailable
from edge_emotion.protocols import FloatArray, InferenceBackend
from train.choices import INSTALL

MIN_AGREEMENT = 0.97
"""Least share of faces with the same winner in an int8 TFLite file and in the Q/DQ ONNX file."""


class Agreement(NamedTuple):
    """Similarity of two sets of logits: share of equal winners, mean and largest absolute difference of a logit."""

    top1: float
    mean: float
    worst: float

    def __str__(self) -> str:
        return f"agreement {self.top1:.2%}, logits differ by {self.mean:.4f} (mean), {self.worst:.3f} (at most)"


def agreement(logits: FloatArray, reference: FloatArray) -> Agreement:
    """The agreement of two arrays N x C."""
    difference = np.abs(logits - reference)
    same = logits.argmax(axis=1) == reference.argmax(axis=1)
    return Agreement(float(same.mean()), float(difference.mean()), float(difference.max()))


def cross_check(simulated: Any, logits: Callable[[InferenceBackend], FloatArray]) -> dict[str, Agreement]:
    """Compare each way to run a network that simulates symmetric int8 with the reference.

    ``logits`` runs a backend on the same faces. Raises BackendUnavailable without tf2onnx or onnxruntime.
    """
    with tempfile.TemporaryDirectory() as workshop:
        folder = Path(workshop)
        graph, scales = explicit(simulated)
        ours = write_onnx(graph, folder / "int8.onnx", scales=scales)
        tflite = folder / "int8.tflite"
        # Float input and output, because tf2onnx cannot read an integer input; the integers between are the same.
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
    """Convert a TFLite file with tf2onnx; returns ``target``. Raises BackendUnavailable if it is not installed."""
    try:
        from tf2onnx.convert import from_tflite
    except ImportError as error:
        raise BackendUnavailable(f"tf2onnx is not installed: {INSTALL}") from error
    logging.getLogger("tf2onnx").setLevel(logging.WARNING)
    from_tflite(str(tflite), opset=OPSETS[0], output_path=str(target))
    return target
