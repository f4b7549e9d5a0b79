"""The export graph computes what the Keras network computes, and says what it cannot take."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.paths import SHARED

pytest.importorskip("tf_keras")
pytest.importorskip("onnx")

from convert.onnx.from_keras import export_graph
from convert.onnx.graph import Conv
from convert.onnx.write import write_onnx
from edge_emotion.backends.onnx import OnnxBackend
from edge_emotion.errors import ModelError
from edge_emotion.protocols import FloatArray
from train.keras import K
from train.recipes.catalogue import find_recipe

pytest_plugins = ["support.export_fixtures"]

L = K.layers
WEIGHTS = {
    "mobilenet_v2": "mobilenet_v2_1.0_imagenet_no_top.h5",
    "efficientnet_lite0": "efficientnet_lite0_imagenet_torch_layout.npz",
}


def shaken(model: Any) -> Any:
    """The same network with batch norms that do something: no factor 1, no shift 0, one channel nearly dead."""
    random = np.random.default_rng(1)
    for layer in model.layers:
        if isinstance(layer, L.BatchNormalization):
            *affine, mean, variance = layer.get_weights()
            affine = [values + random.uniform(-0.6, 0.6, values.shape) for values in affine]
            variance = random.uniform(0.5, 2, variance.shape)
            variance[0] = 1e-9
            layer.set_weights([*affine, random.normal(0, 0.3, mean.shape), variance])
    return model


def compare(model: Any, tmp_path: Path) -> tuple[FloatArray, FloatArray]:
    """Logits of the ONNX file and of Keras, for the same inputs."""
    backend = OnnxBackend(write_onnx(export_graph(model), tmp_path / "float.onnx"))
    inputs = np.random.default_rng(0).uniform(-1, 1, (3, *model.input_shape[1:])).astype(np.float32)
    return backend.run(inputs)[0], np.asarray(model(inputs), np.float32)


@pytest.mark.parametrize("name", ["mobilenet_v2", "mobilenet_v2_035", "efficientnet_lite0", "tiny"])
def test_every_edge_recipe_is_exported_exactly(name: str, tmp_path: Path) -> None:
    path = SHARED / "weights" / WEIGHTS[name] if name in WEIGHTS else None
    if path is not None and not path.is_file():
        pytest.skip(f"no weights at {path}")
    model = find_recipe(name).build(8, weights=None if path is None else str(path))
    ours, keras = compare(model if path else shaken(model), tmp_path)
    assert np.ptp(keras) > 1e-3
    assert np.abs(ours - keras).max() < 1e-4 * max(np.abs(keras).max(), 1)


def small(body: Callable[[Any], Any], shape: tuple[int, int, int] = (21, 18, 3)) -> Any:
    """A network of some layers, with a head."""
    inputs = K.Input(shape, name="pixels")
    K.utils.set_random_seed(1)
    return K.Model(inputs, L.Dense(4, name="out")(L.GlobalAveragePooling2D()(body(inputs))), name="small")


def norm(x: Any, **options: Any) -> Any:
    return L.BatchNormalization(**options)(x)


BODIES: dict[str, Callable[[Any], Any]] = {
    "odd sizes": lambda x: L.Conv2D(6, 5, 3, padding="same")(x),
    "valid": lambda x: L.Conv2D(6, (3, 2), (2, 1), bias_initializer="ones")(x),
    "pads": lambda x: L.Conv2D(6, 3, 2)(L.ZeroPadding2D(((1, 2), (0, 3)))(x)),
    "pads before same": lambda x: L.Conv2D(6, 3, padding="same")(L.ZeroPadding2D(2)(x)),
    "depth multiplier": lambda x: norm(L.DepthwiseConv2D(3, 2, padding="same", depth_multiplier=2)(x)),
    "groups": lambda x: norm(L.Conv2D(9, 3, groups=3)(x)),
    "dilation": lambda x: norm(L.Conv2D(5, 3, dilation_rate=2, padding="same")(x)),
    "no gamma": lambda x: norm(L.Conv2D(5, 3)(x), scale=False),
    "no beta": lambda x: norm(L.Conv2D(5, 3, bias_initializer="ones")(x), center=False),
    "two norms": lambda x: norm(norm(L.Conv2D(5, 3)(x))),
    "plain relu": lambda x: L.ReLU()(L.Conv2D(5, 3)(x)),
    "relu after an addition": lambda x: L.ReLU(3.0)(L.Add()([L.Conv2D(5, 3)(x), L.Conv2D(5, 3)(x)])),
    "dropout": lambda x: L.Dropout(0.5)(L.Conv2D(5, 3)(x)),
}


@pytest.mark.parametrize("body", BODIES)
def test_layers_are_exported_exactly(body: str, tmp_path: Path) -> None:
    ours, keras = compare(shaken(small(BODIES[body])), tmp_path)
    assert np.allclose(ours, keras, atol=1e-5)


def test_flat_vectors_may_be_flattened_and_normalised(tmp_path: Path) -> None:
    inputs = K.Input((8, 8, 1))
    x = L.Flatten()(L.GlobalAveragePooling2D()(L.Conv2D(6, 3)(inputs)))
    x = L.ReLU(6.0)(norm(L.Dense(5)(x)))
    ours, keras = compare(shaken(K.Model(inputs, L.Dense(3)(x))), tmp_path)
    assert np.allclose(ours, keras, atol=1e-5)


def test_edges_have_the_names_of_the_layers_that_give_them() -> None:
    graph = export_graph(find_recipe("tiny").build(8, weights=None))
    assert graph.input == "pixels"
    assert graph.output == "logits"
    stem = graph.nodes[0]
    assert isinstance(stem, Conv)
    assert (stem.name, stem.inputs, stem.output) == ("stem", ("pixels",), "stem_BN")
    assert stem.pads == (0, 0, 1, 1)
    assert {node.output for node in graph.nodes} >= {"stem_relu", "block_2_project_BN", "block_2_add", "pool"}


def shared_convolution(x: Any) -> Any:
    y = L.Conv2D(3, 3, padding="same", name="conv")(x)
    return L.Add()([norm(y, name="bn"), y])


def twice(x: Any) -> Any:
    conv = L.Conv2D(3, 3, name="conv")
    return conv(conv(x))


REFUSED: dict[str, tuple[Callable[[Any], Any], str]] = {
    "class": (lambda x: L.MaxPooling2D(name="pool_2")(x), r"'pool_2' \(MaxPooling2D\) .*is none of InputLayer, Conv2D"),
    "activation": (lambda x: L.Conv2D(3, 3, activation="relu", name="c")(x), r"'c' \(Conv2D\) has an activation"),
    "slope": (lambda x: L.ReLU(negative_slope=0.1, name="leaky")(x), r"'leaky' \(ReLU\) has a slope"),
    "free norm": (lambda x: norm(x, name="bn"), r"'bn' .*cannot be folded"),
    "shared norm": (shared_convolution, r"'bn' .*cannot be folded"),
    "used twice": (twice, r"'conv' is used more than once"),
    "pad": (lambda x: L.ReLU()(L.ZeroPadding2D(1, name="zeros")(x)), r"'zeros' .*does not lead into a convolution"),
    "three": (lambda x: L.Add(name="sum")([x, x, x]), r"'sum' \(Add\) adds 3"),
    "nested": (lambda x: small(lambda y: y)(x)[:, None, None], r"'small' \(Functional\)"),
    "dense on a picture": (lambda x: L.Dense(3, name="fc")(x), r"'fc' .*does not read vectors"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_exported_is_named(case: str) -> None:
    body, message = REFUSED[case]
    with pytest.raises(ModelError, match=message) as caught:
        export_graph(small(body))
    assert "\n" not in str(caught.value)


def test_a_picture_is_not_flattened() -> None:
    inputs = K.Input((8, 8, 1))
    with pytest.raises(ModelError, match=r"'flat' \(Flatten\) flattens a picture"):
        export_graph(K.Model(inputs, L.Dense(3)(L.Flatten(name="flat")(L.Conv2D(2, 3)(inputs)))))


def test_a_network_of_any_size_is_refused() -> None:
    inputs = K.Input((None, None, 1))
    with pytest.raises(ModelError, match="one input of a fixed size"):
        export_graph(K.Model(inputs, L.Dense(3)(L.GlobalAveragePooling2D()(inputs))))
