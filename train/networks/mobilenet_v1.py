"""MobileNet v1 (Howard et al. 2017) as a flat model that ends in logits."""

from __future__ import annotations

from typing import Any

from train.keras import K
from train.networks.layers import batch_norm, classifier, conv
from train.networks.weights import start

Model = Any

BLOCKS = (
    (64, 1),
    (128, 2),
    (128, 1),
    (256, 2),
    (256, 1),
    (512, 2),
    (512, 1),
    (512, 1),
    (512, 1),
    (512, 1),
    (512, 1),
    (1024, 2),
    (1024, 1),
)
"""Channels and stride of each pair of convolutions: table 1 of Howard et al. 2017."""


def mobilenet_v1(
    input_shape: tuple[int, int, int], classes: int, *, dropout: float = 0.2, weights: str | None = None
) -> Model:
    """MobileNet v1 1.0 with a linear head, 3.2 M parameters below it: N x H x W x C in -1..1 -> N x classes logits.

    Layers are named as in ``tf_keras.applications``. ``weights``: the output of ``python -m train weights faceres``,
    the .h5 of a run, or None.
    """
    inputs = K.Input(input_shape, name="pixels")
    x = conv(inputs, 32, "conv1", kernel=3, stride=2, norm="conv1_bn")
    for number, (channels, stride) in enumerate(BLOCKS, start=1):
        x = _separable(x, channels, stride, number)
    x = K.layers.GlobalAveragePooling2D(name="pool")(x)
    model = K.Model(inputs, classifier(x, classes, dropout), name="mobilenet_v1")
    return start(model, weights, "MobileNet v1", give="what 'python -m train weights faceres' writes")


def _separable(x: Any, channels: int, stride: int, number: int) -> Any:
    """Depthwise convolution, then pointwise convolution, each with batch norm and ReLU6."""
    name = f"conv_dw_{number}"
    x = K.layers.DepthwiseConv2D(3, stride, padding="same", use_bias=False, name=name)(x)
    x = K.layers.ReLU(6.0, name=name + "_relu")(batch_norm(name + "_bn")(x))
    return conv(x, channels, f"conv_pw_{number}", norm=f"conv_pw_{number}_bn")
