"""Keras models as TFLite files: int8 by either way of quantisation, half and single precision."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edge_emotion.backends.tflite import TfliteBackend
from edge_emotion.errors import ModelError
from edge_emotion.models.manifest import InputSpec
from edge_emotion.models.preprocess import normalise
from edge_emotion.protocols import FloatArray
from train.keras import tf

Model = Any

INT32_LIMIT = 2**31 - 2
"""A bias at the end of its range is one that did not fit."""

INPUT_TOLERANCE = 0.5 / 128
"""How far the input's scale may be from 1/128, as a share of it: less than half a step is lost on 128 of them, so that
every pixel is still read as pixel - 128."""


def post_training(model: Model, pixels: npt.NDArray[np.uint8], spec: InputSpec) -> bytes:
    """A float model as int8, in and out, with the converter's own ranges: the baseline.

    pixels: N x H x W x C faces of the training split. All black and all white are added, which fix the input to what
    pixels can be: the int8 input is then pixel - 128 exactly.
    """
    extremes = np.stack([np.full(spec.shape, value, np.uint8) for value in (0, 255)])

    pictures = np.concatenate([extremes, pixels])
    return calibrated(model, lambda: (normalise(picture[None], spec) for picture in pictures))


def calibrated(model: Model, batches: Callable[[], Iterable[FloatArray]]) -> bytes:
    """A float model as int8, in and out, with the converter's own ranges over batches of 1 x H x W x C."""
    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    converter.representative_dataset = lambda: ([batch] for batch in batches())
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    return _integer(converter)


def quantisation_aware(model: Model, *, integer_ends: bool = True) -> bytes:
    """A model that simulates int8 as what it simulates, int8 in and out; or float in and out."""
    return _integer(tf.lite.TFLiteConverter.from_keras_model(model), integer_ends=integer_ends)


def floating(model: Model, *, half: bool) -> bytes:
    """A float model with weights of 16 or 32 bits; it computes in 32."""
    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    if half:
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.target_spec.supported_types = [tf.float16]
    return bytes(converter.convert())


def _integer(converter: Any, *, integer_ends: bool = True) -> bytes:
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.inference_input_type = converter.inference_output_type = tf.int8 if integer_ends else tf.float32
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Statistics for quantized inputs")
        return bytes(converter.convert())


def check_integer_only(file: Path) -> None:
    """Raises ModelError unless a file is int8 throughout and holds nothing that was lost in conversion.

    No float tensor, no quantise or dequantise inside, no saturated bias, and an input that is pixel - 128.
    """
    backend = TfliteBackend(file, plain_kernels=True)
    floats = [tensor["name"] for tensor in backend.tensors if np.issubdtype(tensor["dtype"], np.floating)]
    if floats:
        raise ModelError(f"{file.name} is not fully integer: {len(floats)} float tensors, the first is {floats[0]}")
    stray = {name: count for name, count in operators(backend).items() if "QUANTIZE" in name}
    if stray:
        raise ModelError(f"{file.name} converts between scales inside: {stray}")
    scale, zero_point = backend.input_quantization
    if zero_point != 0 or abs(scale * 128 - 1) > INPUT_TOLERANCE:
        raise ModelError(f"{file.name} reads pixels at scale {scale}, zero point {zero_point}, expected 1/128 and 0")
    for name, values in backend.constants(np.int32):
        if np.abs(values.astype(np.int64)).max(initial=0) >= INT32_LIMIT:
            raise ModelError(f"{file.name}: bias {name} does not fit into 32 bits: its channel's weights are too small")


def operators(backend: TfliteBackend) -> dict[str, int]:
    """How many there are of each operator, as the plain kernels see the file."""
    return dict(Counter(backend.operators))
