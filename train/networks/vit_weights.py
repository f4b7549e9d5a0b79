"""A Hugging Face checkpoint of a Vision Transformer into our own graph, tensor by tensor."""

from __future__ import annotations

import math
import re
from functools import partial
from typing import Any

import numpy as np

from train.data.faces import DataError
from train.keras import K, tf
from train.networks.torch_weights import Array, Tensors, copy_tensors, take_layer

Model = Any
Layer = Any

PREFIX = "vit."
"""Before every name, if the checkpoint was saved with a head."""
UNUSED = "pooler.", "classifier."

NAMES = {
    "patches": "embeddings.patch_embeddings.projection",
    "tokens": "embeddings",
    "norm": "layernorm",
    "norm_1": "layernorm_before",
    "attention": "attention",
    "norm_2": "layernorm_after",
    "mlp_1": "intermediate.dense",
    "mlp_2": "output.dense",
}
"""Our layers and theirs, within a block or outside."""


def copy_hugging_face(model: Model, tensors: Tensors, *, what: str) -> None:
    """Copy every tensor below the head, each exactly once; pooler and classifier are left out.

    Position embeddings for another number of patches are interpolated. Raises DataError for a tensor that is missing,
    left over or of another shape.
    """
    plain = {name.removeprefix(PREFIX): tensor for name, tensor in tensors.items()}
    used = {name: tensor for name, tensor in plain.items() if not name.startswith(UNUSED)}
    grid = model.get_layer("patches").output_shape[1:3]
    copy_tensors(model.layers[:-1], used, partial(_take, grid=grid), what)


def _take(left: Tensors, layer: Layer, *, grid: tuple[int, int]) -> list[Array]:
    name = _theirs(layer.name)
    if isinstance(layer, K.layers.MultiHeadAttention):
        return _attention(left, layer, name)
    if layer.name == "tokens":
        token, positions = left.pop(f"{name}.cls_token"), left.pop(f"{name}.position_embeddings")
        return [token, _positions(positions, grid)]
    return take_layer(left, layer, name)


def _theirs(name: str) -> str:
    found = re.fullmatch(r"encoder_(\d+)_(\w+)", name)
    return f"encoder.layer.{found[1]}.{NAMES[found[2]]}" if found else NAMES[name]


def _attention(left: Tensors, layer: Layer, name: str) -> list[Array]:
    """Kernels width x heads x depth for query, key and value, heads x depth x width for the output, and biases."""
    values = []
    for part in ("attention.query", "attention.key", "attention.value", "output.dense"):
        weight, bias = left.pop(f"{name}.{part}.weight").T, left.pop(f"{name}.{part}.bias")
        values += [weight, bias]
    shapes = [tuple(weight.shape) for weight in layer.weights]
    fits = [value.size == math.prod(shape) for value, shape in zip(values, shapes, strict=True)]
    # What does not fit is refused, with its shape, by the caller.
    return [value.reshape(shape) if fit else value for value, shape, fit in zip(values, shapes, fits, strict=True)]


def _positions(stored: Array, grid: tuple[int, int]) -> Array:
    """Position embeddings for a grid of patches, bicubic from the stored square one (section 3.2 of the paper)."""
    patches = stored.shape[1] - 1
    if patches == grid[0] * grid[1]:
        return stored
    side = math.isqrt(patches)
    if side * side != patches:
        raise DataError(f"cannot interpolate position embeddings: {patches} patches are no square")
    square = stored[:, 1:].reshape(1, side, side, -1)
    resized = np.asarray(tf.image.resize(square, grid, "bicubic"), np.float32)
    return np.concatenate([stored[:, :1], resized.reshape(1, grid[0] * grid[1], -1)], axis=1)
