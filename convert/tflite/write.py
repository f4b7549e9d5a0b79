"""Writing of TFLite files: int8 after training or with simulated int8, float16 and float32."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from convert.int8.quantise_aware import rounded
from edge_emotion.backends.tflite import TfliteBackend
from edge_emotion.errors import ModelError
from edge_emotion.models.manifest import InputSpec
from edge_emotion.models.preprocess import normalise
from edge_emotion.protocols import FloatArray
from train.keras import tf
from train.quiet import quiet_stderr

Model = Any

INT32_LIMIT = 2**31 - 2
"""A bias at the end of the int32 range has saturated."""

INPUT_TOLERANCE = 0.5 / 128
"""Largest relative deviation of the input's scale from 1/128: less than half a step over 128 steps, so that every pixel
is still read as pixel - 128."""


def post_training(model: Model, pixels: npt.NDArray[np.uint8], spec: InputSpec) -> bytes:
    """A float model as int8 file, int8 in and out, with ranges from the converter's own calibration: the baseline.

    pixels: N x H x W x C faces of the training split. An all-black and an all-white picture are added, which fix the
    input range to that of pixels: the int8 input is then exactly pixel - 128.
    """
    extremes = np.stack([np.full(spec.shape, value, np.uint8) for value in (0, 255)])

    pictures = np.concatenate([extremes, pixels])
    return calibrated(model, lambda: (normalise(picture[None], spec) for picture in pictures))


def calibrated(model: Model, batches: Callable[[], Iterable[FloatArray]]) -> bytes:
    """A float model as int8 file, int8 in and out, calibrated by the converter on batches of 1 x H x W x C."""
    converter = _converter(model)
    converter.representative_dataset = lambda: ([batch] for batch in batches())
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    return _integer(converter)


def quantisation_aware(model: Model, *, integer_ends: bool = True) -> bytes:
    """An int8 file with the ranges of a model that simulates int8; its input and output are int8, or float."""
    with rounded(model):
        return _integer(_converter(model), integer_ends=integer_ends)


def floating(model: Model, *, half: bool) -> bytes:
    """A float model as file with float16 or float32 weights; it computes in float32."""
    converter = _converter(model)
    if half:
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.target_spec.supported_types = [tf.float16]
    return _converted(converter)


def _converter(model: Model) -> Any:
    """The converter of a model: same operators and constants as by ``from_keras_model``, in a fraction of its time.

    That one saves the model and loads it again, with several functions traced for each layer; here the variables of one
    traced function become constants.
    """

    def outputs(batch: Any) -> dict[str, Any]:
        made = model(batch, training=False)
        return dict(zip(model.output_names, made if isinstance(made, list) else [made], strict=True))

    signature = tf.TensorSpec(model.inputs[0].shape, tf.float32, name=model.input_names[0])
    function = tf.function(outputs).get_concrete_function(signature)
    converter = tf.lite.TFLiteConverter.from_concrete_functions([function], model)
    converter.experimental_lower_to_saved_model = False
    return converter


def _integer(converter: Any, *, integer_ends: bool = True) -> bytes:
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.inference_input_type = converter.inference_output_type = tf.int8 if integer_ends else tf.float32
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Statistics for quantized inputs")
        return _converted(converter)


def _converted(converter: Any) -> bytes:
    with quiet_stderr():
        return bytes(converter.convert())


def check_integer_only(file: Path) -> None:
    """Raises ModelError unless a file is int8 throughout, and nothing was lost in conversion.

    Checked: no float tensor, no conversion of scales inside, no saturated bias, an input of pixel - 128.
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
    """Operator -> number of occurrences in the file; without plain kernels a delegate replaces some of them."""
    return dict(Counter(backend.operators))
