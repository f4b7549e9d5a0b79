"""A network that has learned some real faces, its export graph and its scales: for the tests of exporters.

Its weights are those that ship: a network that is trained here would be another one on every processor.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pytest

pytest.importorskip("tf_keras")
pytest.importorskip("onnx")

from convert.int8.calibrate import calibrate
from convert.int8.fold import fold
from convert.int8.quantise_aware import quantise_aware, scales_of, unwrap
from convert.onnx.from_keras import affine, export_graph
from convert.onnx.graph import Graph
from convert.onnx.scales import Scales
from edge_emotion.backends.tflite import TfliteBackend
from edge_emotion.models.folder import find_model
from edge_emotion.protocols import FloatArray, InferenceBackend
from train.data.faces import Faces
from train.evaluation.logits import logits_of, model_pixels
from train.evaluation.predict import KerasBackend
from train.networks.mobilenet_v2 import tiny
from train.recipes.recipe import gray_input

SPEC = gray_input(48)
CLEAR = 0.5
"""Logits between the first and the second: more than int8 changes."""


class Learned(NamedTuple):
    """A float network that knows ``faces``, and what is exported of it."""

    model: Any
    simulated: Any
    graph: Graph
    scales: Scales
    faces: Faces

    def logits(self, backend: InferenceBackend) -> FloatArray:
        return logits_of(backend, self.faces, SPEC)


def shipped_weights() -> dict[str, tuple[FloatArray, FloatArray]]:
    """Layer of ``tiny`` -> its kernel as Keras lays it out, and its bias: batch norm is folded into both."""
    arrays: dict[str, list[FloatArray]] = {}
    file = find_model("tiny") / "tiny_float16.tflite"
    for name, values in TfliteBackend(file, plain_kernels=True).constants(np.float16):
        turned = values.transpose(1, 2, 3, 0) if values.ndim == 4 else values.T
        arrays.setdefault(name.split(";")[-1].split("/")[1], []).append(turned.astype(np.float32))
    return {layer: (max(pair, key=np.ndim), min(pair, key=np.ndim)) for layer, pair in arrays.items()}


def fill(model: Any, seed: int) -> None:
    """Gives ``tiny`` what its shipped weights compute, with batch norms from a seed that the kernels make up for.

    Nearly: the weights that ship are float16, and are moved by a part in a thousand for float16 to have some to round.
    """
    generator = np.random.default_rng(seed)
    for name, (shipped, bias) in shipped_weights().items():
        layer = model.get_layer(name)
        kernel = (shipped * generator.uniform(0.999, 1.001, shipped.shape)).astype(np.float32)
        if layer.use_bias:
            layer.set_weights([kernel, bias])
            continue
        norm = model.get_layer(name + "_BN")
        gamma, mean, variance = (generator.uniform(*ends, bias.shape) for ends in ((0.5, 2), (-1, 1), (0.1, 2)))
        norm.set_weights([gamma, np.zeros_like(bias), mean, variance])
        factor, shift = affine(norm)
        norm.set_weights([gamma, bias - shift, mean, variance])
        layer.set_weights([kernel / factor.reshape(-1, 1) if kernel.shape[3] == 1 else kernel / factor])


def clear(model: Any, faces: Faces) -> Faces:
    """Those of which the network is sure: who wins a close race is a matter of rounding, and of the processor."""
    ordered = np.sort(logits_of(KerasBackend(model), faces, SPEC), axis=1)
    return faces.take(np.flatnonzero(ordered[:, -1] - ordered[:, -2] > CLEAR))


@pytest.fixture(scope="session")
def learned(few_real_faces: Any) -> Learned:
    """``tiny`` as it ships, with real faces, some ten or more of each emotion but contempt."""
    return learn(few_real_faces["train"], seed=1)


def learn(faces: Faces, seed: int) -> Learned:
    """The same function by other batch norms for every seed."""
    model = tiny(SPEC.shape, faces.votes.shape[1], weights=None)
    fill(model, seed)
    pixels, folded = model_pixels(faces.images, SPEC), fold(model)
    simulated = quantise_aware(folded, SPEC, calibrate(folded, pixels, SPEC, "symmetric"))
    graph, scales = export_graph(unwrap(simulated)), scales_of(simulated)
    return Learned(model, simulated, graph, scales, clear(model, faces))
