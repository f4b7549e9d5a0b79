"""MobileNetV2 (Sandler et al. 2018) as a flat model that ends in logits, with Keras' ImageNet weights."""

from __future__ import annotations

from typing import Any

from train.keras import K
from train.networks.layers import batch_norm, classifier, conv, divisible
from train.networks.weights import start

Model = Any
Blocks = tuple[tuple[int, int, int, int], ...]
"""Expansion, channels, repeats and first stride of each stage."""

MOBILENET_V2_BLOCKS = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)
"""Table 2 of Sandler et al. 2018."""

TINY_BLOCKS = ((1, 16, 1, 1), (4, 24, 2, 1), (4, 40, 3, 2), (4, 72, 2, 2))
"""Most of the work is at 24 x 24 and 12 x 12 pixels, because a face of 48 pixels has little detail to lose."""


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
    so its ImageNet weights fit. ``weights`` is a path to them or to the .h5 of a run, 'imagenet' (Keras downloads
    them) or None; for one grey channel the stem's kernels are summed over RGB, which is the same function on grey
    pictures.
    """
    inputs = K.Input(input_shape, name="pixels")
    x = conv(inputs, divisible(32 * alpha), "Conv1", kernel=3, stride=2, norm="bn_Conv1", relu="Conv1_relu")
    x = inverted_residuals(x, MOBILENET_V2_BLOCKS, alpha)
    x = conv(x, divisible(1280 * max(1.0, alpha)), "Conv_1", norm="Conv_1_bn", relu="out_relu")
    x = K.layers.GlobalAveragePooling2D(name="pool")(x)
    model = K.Model(inputs, classifier(x, classes, dropout), name="mobilenet_v2")
    return start(
        model,
        weights,
        f"MobileNetV2 alpha {alpha}",
        give="its no-top .h5 of Keras",
        imagenet=lambda: K.applications.MobileNetV2((*input_shape[:2], 3), alpha, include_top=False),
    )


def mobilenet_v2_035(
    input_shape: tuple[int, int, int], classes: int, *, dropout: float = 0.2, weights: str | None = None
) -> Model:
    """MobileNetV2 with 0.35 of the channels (0.4 M parameters below the head): N x H x W x C in -1..1 -> logits.

    ``weights`` as for ``mobilenet_v2``.
    """
    return mobilenet_v2(input_shape, classes, alpha=0.35, dropout=dropout, weights=weights)


def tiny(input_shape: tuple[int, int, int], classes: int, *, dropout: float = 0.1, weights: str | None = None) -> Model:
    """A MobileNetV2 of 0.14 M parameters for 48 x 48 pixels: N x H x W x C in -1..1 -> N x classes logits.

    ``weights``: the .h5 of another run, or None; there are no ImageNet weights.
    """
    inputs = K.Input(input_shape, name="pixels")
    x = conv(inputs, 16, "stem", kernel=3, stride=2)
    x = conv(inverted_residuals(x, TINY_BLOCKS), 256, "head")
    x = K.layers.GlobalAveragePooling2D(name="pool")(x)
    return start(K.Model(inputs, classifier(x, classes, dropout), name="tiny"), weights, "tiny")


def inverted_residuals(x: Any, blocks: Blocks, alpha: float = 1.0) -> Any:
    """The body of the network: bottlenecks, with a skip connection wherever the shapes allow it."""
    number = 0
    for expansion, channels, repeats, stride in blocks:
        for repeat in range(repeats):
            x = _inverted_residual(x, expansion, divisible(channels * alpha), stride if repeat == 0 else 1, number)
            number += 1
    return x


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
