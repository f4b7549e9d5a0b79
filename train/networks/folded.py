"""Weights of finished models with folded batch norms, converted for further training.

Networks without batch norms train badly, because nothing keeps their activations in range. ``unfold`` sets each batch
norm to the mean and variance of its convolution's output on faces, with a scale and offset that leave the function
unchanged.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from train.data.faces import DataError
from train.keras import K

Model = Any
Array = npt.NDArray[np.float32]

BATCH = 64


@dataclass(frozen=True)
class Folded:
    """One convolution: y = (x * kernel) scale + offset, with scale and offset per output channel."""

    kernel: Array
    offset: Array
    scale: Array | None = None


def for_grey(first: Folded, means: tuple[float, float, float], per_unit: float, middle: float) -> Folded:
    """Convert a first convolution over three colours in 0..255, minus ``means``, to one grey channel x.

    ``per_unit`` x + ``middle`` is the grey value. On grey pictures the function is the same, except at the border,
    where zero padding stands for the means before and for ``middle`` now.
    """
    kernel = np.asarray(first.kernel.sum(axis=2, keepdims=True) * per_unit, np.float32)
    shift = first.kernel.sum(axis=(0, 1)).T @ (middle - np.asarray(means, np.float32))
    scale = 1.0 if first.scale is None else first.scale
    return Folded(kernel, np.asarray(first.offset + scale * shift, np.float32), first.scale)


def unfold(model: Model, folded: Mapping[str, Folded], pictures: Array | None) -> None:
    """Set the convolutions in ``folded``, and the batch norm after each from its statistics on ``pictures``.

    pictures: model input, float32 N x H x W x C; None leaves the norms as plain scales and offsets: the same function,
    exactly, but nothing to train from. Raises DataError for a layer that is missing or left over, and for weights of
    another shape.
    """
    pairs = _pairs(model)
    if set(pairs) != set(folded):
        odd = sorted(set(pairs) ^ set(folded))[0]
        raise DataError(f"these weights are not {model.name}'s: {odd} is {'missing' if odd in pairs else 'left over'}")
    for name, norm in pairs.items():
        _fill(model.get_layer(name), norm, folded[name])
    if pictures is None:
        return
    for (name, norm), (mean, variance) in zip(pairs.items(), _statistics(model, pairs, pictures), strict=True):
        gamma, beta, *_ = norm.get_weights()
        if not np.isfinite(mean).all() or not np.isfinite(variance).all():
            raise DataError(f"these weights are not {model.name}'s: {name} gives no finite numbers on faces")
        norm.set_weights([gamma * np.sqrt(variance + norm.epsilon), beta + gamma * mean, mean, variance])


def _pairs(model: Model) -> dict[str, Any]:
    """Name of each convolution -> the batch norm after it."""
    found = {}
    for layer in model.layers:
        if isinstance(layer, K.layers.BatchNormalization):
            convolution = layer.input._keras_history.layer
            found[convolution.name] = layer
    return found


def _fill(convolution: Any, norm: Any, part: Folded) -> None:
    """Set the batch norm to the plain scale and offset: mean 0, and variance plus epsilon 1."""
    needed, given = tuple(convolution.weights[0].shape), part.kernel.shape
    if needed != given:
        raise DataError(f"these weights do not fit: layer {convolution.name} needs {needed}, not {given}")
    convolution.set_weights([part.kernel])
    one = np.ones_like(part.offset)
    norm.set_weights([one if part.scale is None else part.scale, part.offset, 0 * one, (1 - norm.epsilon) * one])


def _statistics(model: Model, pairs: Mapping[str, Any], pictures: Array) -> list[tuple[Array, Array]]:
    """Mean and variance per channel of each batch norm's input."""
    inputs = K.Model(model.input, [norm.input for norm in pairs.values()])
    sums: list[list[Any]] = [[0.0, 0.0, 0] for _ in pairs]
    for first in range(0, len(pictures), BATCH):
        for total, values in zip(sums, inputs.predict_on_batch(pictures[first : first + BATCH]), strict=True):
            flat = values.reshape(-1, values.shape[-1]).astype(np.float64)
            total[0], total[1], total[2] = total[0] + flat.sum(0), total[1] + (flat**2).sum(0), total[2] + len(flat)
    means = [total / count for total, _, count in sums]
    squares = [square / count for _, square, count in sums]
    return [
        (np.asarray(mean, np.float32), np.asarray(np.maximum(square - mean**2, 0.0), np.float32))
        for mean, square in zip(means, squares, strict=True)
    ]
