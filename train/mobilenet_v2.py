"""MobileNetV2 (Sandler et al. 2018), flat and with logits at the end, with Keras' ImageNet weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from train.datasets import DataError
from train.keras import K
from train.layers import batch_norm, conv, divisible

Model = Any

MOBILENET_V2_BLOCKS = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)
"""Expansion, channels, repeats, first stride: table 2 of Sandler et al. 2018."""


def mobilenet_v2(
    input_shape: tuple[int, int, int],
    classes: int,
    *,
    alpha: float = 1.0,
    dropout: float = 0.2,
    weights: str | None = None,
) -> Model:
    """MobileNetV2 (Sandler et al. 2018) with a linear head: N x H x W x C in -1..1 -> N x classes logits.

    Layers are named as in ``tf_keras.applications``. At even sizes SAME padding equals the explicit pads used there,
    so its ImageNet weights fit. ``weights`` is a path to them, 'imagenet' (Keras downloads them) or None; for one
    grey channel the stem's kernels are summed over RGB, which is the same function on grey pictures.
    """
    inputs = K.Input(input_shape, name="pixels")
    x = conv(inputs, divisible(32 * alpha), "Conv1", kernel=3, stride=2, norm="bn_Conv1", relu="Conv1_relu")
    block = 0
    for expansion, channels, repeats, stride in MOBILENET_V2_BLOCKS:
        for repeat in range(repeats):
            x = _inverted_residual(x, expansion, divisible(channels * alpha), stride if repeat == 0 else 1, block)
            block += 1
    x = conv(x, divisible(1280 * max(1.0, alpha)), "Conv_1", norm="Conv_1_bn", relu="out_relu")
    x = K.layers.GlobalAveragePooling2D(name="pool")(x)
    x = K.layers.Dropout(dropout, name="dropout")(x)
    model = K.Model(inputs, K.layers.Dense(classes, name="logits")(x), name="mobilenet_v2")
    if weights is not None:
        _copy_imagenet(model, weights, alpha)
    return model


def _inverted_residual(x: Any, expansion: int, channels: int, stride: int, block: int) -> Any:
    prefix = f"block_{block}_" if block else "expanded_conv_"
    skip, width = x, x.shape[-1]
    if expansion > 1:
        x = conv(x, expansion * width, prefix + "expand")
    x = K.layers.DepthwiseConv2D(3, stride, padding="same", use_bias=False, name=prefix + "depthwise")(x)
    x = batch_norm(prefix + "depthwise_BN")(x)
    x = K.layers.ReLU(6.0, name=prefix + "depthwise_relu")(x)
    x = conv(x, channels, prefix + "project", relu=None)
    if stride == 1 and width == channels:
        x = K.layers.Add(name=prefix + "add")([skip, x])
    return x


def _copy_imagenet(model: Model, weights: str, alpha: float) -> None:
    """Copy every layer below the head from Keras' own MobileNetV2. Raises DataError if the file does not fit."""
    if weights != "imagenet" and not Path(weights).is_file():
        raise DataError(
            f"no weights file {weights}: give the no-top MobileNetV2 .h5 of Keras, or 'imagenet', or 'none'"
        )
    height, width, channels = model.input_shape[1:]
    try:
        donor = K.applications.MobileNetV2((height, width, 3), alpha, include_top=False, weights=weights)
    except (ValueError, OSError) as error:
        raise DataError(f"{weights} holds no MobileNetV2 alpha {alpha} without top: {error}") from error
    for layer in model.layers:
        if layer.weights and layer.name != "logits":
            values = donor.get_layer(layer.name).get_weights()
            if layer.name == "Conv1" and channels == 1:
                values = [np.sum(values[0], axis=2, keepdims=True)]
            layer.set_weights(values)
