"""Explanations of a network as numbers: Grad-CAM, feature maps, attention."""

from __future__ import annotations

from difflib import get_close_matches
from typing import Any

import numpy as np
import numpy.typing as npt

from edge_emotion.errors import ConfigError
from edge_emotion.protocols import FloatArray
from train.keras import K, tf

FINE = 5
"""Least side of a feature map that separates eyes from mouth; a network for 96 px ends in 3 x 3."""

KERNELS = (K.layers.Conv2D, K.layers.DepthwiseConv2D, K.layers.SeparableConv2D)
Model = Any


def grad_cam(
    model: Model, batch: FloatArray, classes: npt.NDArray[np.int64], layer: str | None = None, *, plus: bool = False
) -> FloatArray:
    """Grad-CAM (Selvaraju et al. 2017): evidence of each position for a class, N x h x w, scaled to 0..1 per face.

    batch: model input N x H x W x C; classes: N columns of the logits. ``layer``: a layer with feature maps h x w x C
    (default: ``last_feature_layer``). ``plus``: weights of the maps as in Grad-CAM++ (Chattopadhay et al. 2018), which
    shows all places of a feature that occurs several times. All 0 if no position supports the class. Raises ConfigError
    for a layer that does not exist or has no feature maps, and for a network without any.
    """
    name = layer or last_feature_layer(model)
    part = K.Model(model.input, [_feature_layer(model, name).output, model.output])
    with tf.GradientTape() as tape:
        pixels = tf.constant(batch)
        tape.watch(pixels)  # otherwise frozen layers would not be recorded
        features, logits = part(pixels, training=False)
        chosen = tf.gather(logits, classes, batch_dims=1)
    gradients = tape.gradient(chosen, features)
    weights = _weights_plus(features, gradients) if plus else tf.reduce_mean(gradients, axis=(1, 2), keepdims=True)
    heat = np.asarray(tf.nn.relu(tf.reduce_sum(weights * features, axis=-1)), np.float32)
    return _to_one(heat, axes=(1, 2))


def _weights_plus(features: Any, gradients: Any) -> Any:
    """Weights of the maps, N x 1 x 1 x C: equations 10 and 19 of Chattopadhay et al. 2018, of the exponential score."""
    square, cube = gradients**2, gradients**3
    below = 2 * square + tf.reduce_sum(features, axis=(1, 2), keepdims=True) * cube
    alphas = tf.math.divide_no_nan(square, below)
    return tf.reduce_sum(alphas * tf.nn.relu(gradients), axis=(1, 2), keepdims=True)


def feature_maps(model: Model, batch: FloatArray, layer: str) -> FloatArray:
    """Output of a layer for a batch: N x h x w x C. Raises ConfigError as ``grad_cam`` does."""
    part = K.Model(model.input, _feature_layer(model, layer).output)
    return np.asarray(part(tf.constant(batch), training=False), np.float32)


def feature_layers(model: Model) -> list[str]:
    """Names of the layers with feature maps of more than one position, from the input on."""
    return [layer.name for layer in model.layers if _has_maps(layer)]


def activated_layers(model: Model) -> list[str]:
    """Names of the layers that hold a convolution's activation, from the input on; without any, the convolutions.

    Pads and pools are left out, because their borders are not what a kernel found, and the branches of a concatenation,
    because each of them is only a part.
    """
    shown = [layer for layer in model.layers if _has_maps(layer) and not _is_branch(model, layer)]
    active = [layer.name for layer in shown if _is_active(layer)]
    return active or [layer.name for layer in shown if isinstance(layer, KERNELS)]


def _is_active(layer: Any) -> bool:
    """Whether a layer computes an activation: on its own, or as a part of a convolution."""
    if isinstance(layer, (K.layers.ReLU, K.layers.Activation)):
        return True
    return isinstance(layer, KERNELS) and layer.activation is not K.activations.linear


def _is_branch(model: Model, layer: Any) -> bool:
    """Whether the first layer with several inputs that a layer leads to concatenates them."""
    inside = {id(one) for one in model.layers}
    while True:
        readers = [node.layer for node in layer.outbound_nodes if id(node.layer) in inside]
        if len(readers) != 1:
            return False
        (layer,) = readers
        if isinstance(layer.input, list):
            return isinstance(layer, K.layers.Concatenate)


def last_feature_layer(model: Model) -> str:
    """The default layer for Grad-CAM: the last convolution's activation with at least FINE positions per side.

    Without one that is so fine, the last of all; without convolutions, the same of all layers with feature maps.

    Raises ConfigError for a network without feature maps, such as a transformer.
    """
    names = feature_layers(model)
    if any(isinstance(layer, K.layers.MultiHeadAttention) for layer in model.layers):
        raise ConfigError(f"{model.name} is a transformer without feature maps: use --method attention, or --layer")
    if not names:
        raise ConfigError(f"{model.name} has no layer with feature maps to explain")
    names = activated_layers(model) or names
    fine = [name for name in names if min(model.get_layer(name).output_shape[1:3]) >= FINE]
    return (fine or names)[-1]


def rollout(attention: list[FloatArray]) -> FloatArray:
    """Attention rollout (Abnar and Zuidema 2020): N x tokens x tokens, rows sum to 1.

    attention: N x heads x tokens x tokens per block, from the first one on. Heads are averaged, the identity (skip
    connection) is added with equal weight, and the blocks are multiplied.
    """
    tokens = attention[0].shape[-1]
    flow = np.eye(tokens, dtype=np.float32)[None]
    for block in attention:
        mixed = (block.mean(axis=1) + np.eye(tokens, dtype=np.float32)) / 2
        flow = (mixed / mixed.sum(axis=-1, keepdims=True)) @ flow
    return flow


def on_patches(flow: FloatArray, rows: int, columns: int) -> FloatArray:
    """Attention of the class token (token 0) to each patch: ... x tokens x tokens -> ... x rows x columns, 0 to 1.

    Raises ConfigError if the number of tokens is not 1 + rows x columns.
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
    """Each map divided by its maximum; an all-zero map stays as it is."""
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
    """Whether a layer has one output N x h x w x C with more than one position; inputs do not count."""
    if isinstance(layer, K.layers.InputLayer):
        return False
    shape = layer.output_shape
    return isinstance(shape, tuple) and len(shape) == 4 and shape[1] * shape[2] > 1
