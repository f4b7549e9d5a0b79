"""A network that has learned some real faces, its export graph and its scales: for the tests of exporters."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pytest

pytest.importorskip("tf_keras")
pytest.importorskip("onnx")

from convert.int8.calibrate import calibrate
from convert.int8.fold import fold
from convert.int8.quantise_aware import quantise_aware, scales_of, unwrap
from convert.onnx.from_keras import export_graph
from convert.onnx.graph import Graph
from convert.onnx.scales import Scales
from edge_emotion.protocols import FloatArray, InferenceBackend
from train.data.faces import Faces
from train.evaluation.logits import logits_of, model_pixels
from train.keras import K
from train.networks.mobilenet_v2 import tiny
from train.recipes.recipe import gray_input

SPEC = gray_input(48)


class Learned(NamedTuple):
    """A float network that knows ``faces``, and what is exported of it."""

    model: Any
    simulated: Any
    graph: Graph
    scales: Scales
    faces: Faces

    def logits(self, backend: InferenceBackend) -> FloatArray:
        return logits_of(backend, self.faces, SPEC)


def settle(model: Any, pixels: FloatArray) -> None:
    """Gives batch norm the statistics of real pictures, N x H x W x C."""
    norms = [layer for layer in model.layers if isinstance(layer, K.layers.BatchNormalization)]
    for layer in norms:
        layer.momentum = 0.0
    model(pixels, training=True)
    for layer in norms:
        layer.momentum = 0.9


@pytest.fixture(scope="session")
def learned(few_real_faces: Any) -> Learned:
    """``tiny`` after some passes over 128 real faces."""
    K.utils.set_random_seed(1)
    faces = few_real_faces["train"]
    pixels = model_pixels(faces.images, SPEC)
    inputs = pixels.astype(np.float32) / 128 - 1
    model = tiny(SPEC.shape, faces.votes.shape[1], weights=None)
    settle(model, inputs)
    model.compile(K.optimizers.Adam(2e-3), K.losses.CategoricalCrossentropy(from_logits=True))
    model.fit(inputs, faces.votes, batch_size=32, epochs=25, verbose=0)
    settle(model, inputs)
    folded = fold(model)
    simulated = quantise_aware(folded, SPEC, calibrate(folded, pixels, SPEC, "symmetric"))
    return Learned(model, simulated, export_graph(unwrap(simulated)), scales_of(simulated), faces)
