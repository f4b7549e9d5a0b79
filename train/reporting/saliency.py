"""What a network looks at, as numbers: Grad-CAM, feature maps, attention."""

from __future__ import annotations

from difflib import get_close_matches
from typing import Any

import numpy as np
import numpy.typing as npt

from edge_emotion.errors import ConfigError
from edge_emotion.protocols import FloatArray
from train.keras import K, tf

FINE = 5
"""Places on a side from which on a map can tell an eye from a mouth; a network for 96 px ends in 3 x 3."""

Model = Any


def grad_cam(model: Model, batch: FloatArray, classes: npt.NDArray[np.int64], layer: str | None = None) -> FloatArray:
    """Grad-CAM (Selvaraju et al. 2017): how much each place speaks for a class, N x h x w, 0 to 1 in each face.

    batch: model input N x H x W x C; classes: N columns of the logits. ``layer`` is one of feature maps h x w x C
    (default: ``last_feature_layer``). All 0 where nothing speaks for the class.
    Raises ConfigError for a layer that does not exist or has no feature maps, and for a network without any.
    """
    name = layer or last_feature_layer(model)
    watched = K.Model(model.input, [_feature_layer(model, name).output, model.output])
    with tf.GradientTape() as tape:
        pixels = tf.constant(batch)
        tape.watch(pixels)  # or frozen layers would leave no trace
        features, logits = watched(pixels, training=False)
        chosen = tf.gather(logits, classes, batch_dims=1)
    gradients = tape.gradient(chosen, features)
    weights = tf.reduce_mean(gradients, axis=(1, 2), keepdims=True)
    heat = np.asarray(tf.nn.relu(tf.reduce_sum(weights * features, axis=-1)), np.float32)
    return _to_one(heat, axes=(1, 2))


def feature_maps(model: Model, batch: FloatArray, layer: str) -> FloatArray:
    """What a layer gives for a batch: N x h x w x C. Raises ConfigError as ``grad_cam`` does."""
    part = K.Model(model.input, _feature_layer(model, layer).output)
    return np.asarray(part(tf.constant(batch), training=False), np.float32)


def feature_layers(model: Model) -> list[str]:
    """Names of the layers of feature maps with more than one place, from the input on."""
    return [layer.name for layer in model.layers if _has_maps(layer)]


def last_feature_layer(model: Model) -> str:
    """Where Grad-CAM looks: the last layer with at least FINE places on a side, else the last of all.

    Raises ConfigError for a network without feature maps, such as a transformer.
    """
    names = feature_layers(model)
    if any(isinstance(layer, K.layers.MultiHeadAttention) for layer in model.layers):
        raise ConfigError(f"{model.name} is a transformer, its places are tokens: use --method attention, or --layer")
    if not names:
        raise ConfigError(f"{model.name} has no layer of feature maps to explain it by")
    fine = [name for name in names if min(model.get_layer(name).output_shape[1:3]) >= FINE]
    return (fine or names)[-1]


def rollout(attention: list[FloatArray]) -> FloatArray:
    """Attention rollout (Abnar and Zuidema 2020): N x tokens x tokens, rows sum to 1.

    attention: N x heads x tokens x tokens for each block, the first one first. Heads are averaged, half of each token
    stays where it is (the skip connection), and the blocks are multiplied.
    """
    tokens = attention[0].shape[-1]
    flow = np.eye(tokens, dtype=np.float32)[None]
    for block in attention:
        mixed = (block.mean(axis=1) + np.eye(tokens, dtype=np.float32)) / 2
        flow = (mixed / mixed.sum(axis=-1, keepdims=True)) @ flow
    return flow


def on_patches(flow: FloatArray, rows: int, columns: int) -> FloatArray:
    """What the class token (token 0) takes from each patch: ... x tokens x tokens -> ... x rows x columns, 0 to 1.

    Raises ConfigError when the tokens are not one and rows x columns.
    """
    tokens = flow.shape[-1]
    if tokens != 1 + rows * columns:
        raise ConfigError(f"{tokens} tokens are not a class token and {rows} x {columns} patches")
    heat = flow[..., 0, 1:].reshape(*flow.shape[:-2], rows, columns)
    return _to_one(heat, axes=(-2, -1))


def patch_grid(model: Model) -> tuple[int, int]:
    """Rows and columns of a Vision Transformer's patches. Raises ConfigError for a network without attention."""
    layers = model.layers
    if not any(isinstance(layer, K.layers.MultiHeadAttention) for layer in layers):
        raise ConfigError(f"{model.name} reads no patches and has no attention: use --method gradcam or features")
    rows, columns = next(layer.output_shape[1:3] for layer in layers if isinstance(layer, K.layers.Conv2D))
    return int(rows), int(columns)


def _to_one(heat: FloatArray, axes: tuple[int, int]) -> FloatArray:
    """Each map divided by its maximum; one without any heat stays as it is."""
    return np.asarray(heat / np.maximum(heat.max(axis=axes, keepdims=True), 1e-12), np.float32)


def _feature_layer(model: Model, name: str) -> Any:
    for layer in model.layers:
        if layer.name == name:
            if _has_maps(layer):
                return layer
            raise ConfigError(f"layer {name} has no feature maps but gives {layer.output_shape}; {_near(model, name)}")
    raise ConfigError(f"{model.name} has no layer {name!r}; {_near(model, name)}")


def _near(model: Model, name: str) -> str:
    names = feature_layers(model)
    near = get_close_matches(name, names, n=3, cutoff=0.3) or names[-3:]
    return f"use one like {', '.join(near)}"


def _has_maps(layer: Any) -> bool:
    """A layer of one output N x h x w x C with more than one place; an input is none."""
    if isinstance(layer, K.layers.InputLayer):
        return False
    shape = layer.output_shape
    return isinstance(shape, tuple) and len(shape) == 4 and shape[1] * shape[2] > 1
