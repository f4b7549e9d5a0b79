"""YuNet as a Keras network (Wu, Peng and Yu 2023, "YuNet: a tiny millisecond-level face detector").

A backbone of depthwise separable convolutions, a pyramid that adds coarse features to finer ones, and on strides 8,
16 and 32 a head each for class and objectness and for the box. Batch norms are folded into the weights.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edge_emotion.errors import ModelError
from train.keras import K

Tensor = Any
Model = Any
Weights = Mapping[str, npt.NDArray[np.float32]]
"""Published arrays by symbol, flat: ``NAME_weight`` and ``NAME_bias``; of 1 x 1 convolutions outputs x inputs, of
depthwise ones 9 x channels."""

STRIDES = (8, 16, 32)
STEM = 16
"""Channels of the first convolution."""

BLOCKS = ((16, 32), (32, 64), (64, 64), (64, 64), (64, 64))
"""Channels in and out of what follows the first block."""

POOLED = (0, 2, 3, 4)
"""Blocks whose output is halved; the first convolution has halved the picture before."""

FEATURES = 64

HEADS = {"scores": ("cls", "obj"), "boxes": ("bbox",)}
"""Ours -> the published ones."""


def build_yunet(height: int, width: int, *, batch: int | None = 1) -> Model:
    """The network without weights: pixels B, G, R from 0 to 255, N x H x W x 3 -> for each stride two outputs.

    The first, N x h x w x 2, holds the logits of class and objectness, the second, N x h x w x 4, the offset of the
    middle from the cell's corner and the logarithm of width and height, in strides.
    """
    pixels = K.Input((height, width, 3), batch_size=batch, name="pixels")
    padded = K.layers.ZeroPadding2D(((1, 0), (1, 0)))(pixels)  # as PyTorch pads: SAME would pad right and bottom
    value = K.layers.Conv2D(STEM, 3, strides=2, name="backbone__model0", activation="relu")(padded)
    value = _unit(value, STEM, "backbone__model0_dp")
    levels = []
    for index, (inner, outer) in enumerate(((STEM, STEM), *BLOCKS)):
        if index:
            value = _unit(value, inner, f"backbone__model{index}_dp1")
            value = _unit(value, outer, f"backbone__model{index}_dp2")
        if index >= len(BLOCKS) + 1 - len(STRIDES):
            levels.append(value)
        if index in POOLED:
            value = K.layers.MaxPooling2D(2, padding="same")(value)
    for level in (2, 1, 0):
        if level < 2:
            levels[level] = K.layers.Add()([levels[level], _double(levels[level + 1], levels[level])])
        levels[level] = _unit(levels[level], FEATURES, f"neck__lateral_convs__{level}")
    outputs = [
        _unit(feature, channels, f"{head}__{level}", relu=False)
        for level, feature in enumerate(levels)
        for head, channels in (("scores", 2), ("boxes", 4))
    ]
    return K.Model(pixels, outputs)


def _unit(value: Tensor, channels: int, name: str, *, relu: bool = True) -> Tensor:
    """A 1 x 1 convolution, then a 3 x 3 depthwise one."""
    value = K.layers.Conv2D(channels, 1, name=f"{name}_pw")(value)
    activation = "relu" if relu else None
    return K.layers.DepthwiseConv2D(3, padding="same", activation=activation, name=f"{name}_dw")(value)


def _double(coarse: Tensor, fine: Tensor) -> Tensor:
    """Each cell as 2 x 2 cells, cut to the size of the finer level, which is odd where its picture was."""
    height, width = fine.shape[1:3]
    doubled = K.layers.UpSampling2D(2, interpolation="nearest")(coarse)
    return doubled[:, :height, :width] if tuple(doubled.shape[1:3]) != (height, width) else doubled


def load_published(model: Model, weights: Weights) -> None:
    """Put the published weights into the network. Raises ModelError if one is missing or has another size."""
    for layer in model.layers:
        if not layer.weights:
            continue
        expected = [tuple(weight.shape) for weight in layer.weights]
        layer.set_weights([_as(values, shape, layer.name) for values, shape in
                           zip(_published(layer.name, weights), expected, strict=True)])  # fmt: skip


def _published(layer: str, weights: Weights) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Kernel and bias of a layer in Keras' order of axes, flat in the last ones."""
    if layer == "backbone__model0":
        kernel, bias = _pair("backbone__model0_pw", weights)
        return kernel.reshape(STEM, -1)[:, :27].T.copy(), bias  # five zeros fill each row up
    symbols = _symbols(layer)
    pairs = [_pair(symbol, weights) for symbol in symbols]
    bias = np.concatenate([one for _, one in pairs])
    if symbols[0].endswith("_dw"):
        return np.concatenate([kernel.reshape(9, -1) for kernel, _ in pairs], axis=1), bias
    return np.concatenate([kernel.reshape(len(one), -1) for kernel, one in pairs]).T.copy(), bias


def _symbols(layer: str) -> list[str]:
    """The published layers that one of ours is made of: class and objectness are computed at once."""
    head, _, rest = layer.partition("__")
    return [f"bbox_head__multi_level_{part}__{rest}" for part in HEADS[head]] if head in HEADS else [layer]


def _pair(symbol: str, weights: Weights) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    try:
        return weights[f"{symbol}_weight"], weights[f"{symbol}_bias"]
    except KeyError as error:
        raise ModelError(f"the published weights hold no {error.args[0]}") from error


def _as(values: npt.NDArray[np.float32], shape: tuple[int, ...], layer: str) -> npt.NDArray[np.float32]:
    if values.size != np.prod(shape):
        raise ModelError(f"the published weights of {layer} are {values.size} numbers, expected {np.prod(shape)}")
    return values.reshape(shape)


def recast(model: Model, height: int, width: int) -> Model:
    """The same network with the same weights for pictures of another size."""
    other = build_yunet(height, width)
    other.set_weights(model.get_weights())
    return other


def load_trained(model: Model, file: Path) -> None:
    """Keras weights of this network from a file. Raises ModelError for another one."""
    try:
        model.load_weights(str(file))
    except (OSError, ValueError) as error:
        raise ModelError(f"{file} holds no weights of YuNet: {str(error).splitlines()[0]}") from error
