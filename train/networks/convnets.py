"""Convolutional networks that are trained from scratch: the usual small one for FER2013, and ResNet-34.

``weights``: the .h5 of another run, or None; there are no published ones.
"""

from __future__ import annotations

from typing import Any

from train.keras import K
from train.networks.layers import classifier, plain_conv
from train.networks.weights import start

Model = Any

BASELINE_WIDTHS = 64, 128, 256, 512

RESNET34_STAGES = ((64, 3), (128, 4), (256, 6), (512, 3))
"""Channels and basic blocks: table 1 of He et al. 2016."""


def baseline_cnn(
    input_shape: tuple[int, int, int], classes: int, *, dropout: float = 0.5, weights: str | None = None
) -> Model:
    """The usual first network for FER2013, 5.9 M parameters at 48 px: N x H x W x C in -1..1 -> N x classes logits.

    Four blocks of two 3 x 3 convolutions with batch norm, max pooling and half of the dropout; a hidden layer of 256.
    """
    x = inputs = K.Input(input_shape, name="pixels")
    for number, width in enumerate(BASELINE_WIDTHS):
        x = plain_conv(x, width, f"block_{number}_conv_0")
        x = plain_conv(x, width, f"block_{number}_conv_1")
        x = K.layers.MaxPooling2D(padding="same", name=f"block_{number}_pool")(x)
        x = K.layers.Dropout(dropout / 2, name=f"block_{number}_dropout")(x)
    x = K.layers.Flatten(name="flatten")(x)
    x = K.layers.Dense(256, activation="relu", kernel_initializer="he_normal", name="dense")(x)
    return start(K.Model(inputs, classifier(x, classes, dropout), name="baseline_cnn"), weights, "baseline CNN")


def resnet34(
    input_shape: tuple[int, int, int], classes: int, *, dropout: float = 0.0, weights: str | None = None
) -> Model:
    """ResNet-34 (He et al. 2016), 21.3 M parameters below the head: N x H x W x C in -1..1 -> N x classes logits.

    Shortcuts are projections where the shape changes (option B of the paper).
    """
    inputs = K.Input(input_shape, name="pixels")
    x = plain_conv(inputs, 64, "stem", 7, stride=2)
    x = K.layers.MaxPooling2D(3, 2, padding="same", name="stem.pool")(x)
    for stage, (width, blocks) in enumerate(RESNET34_STAGES):
        for block in range(blocks):
            x = _basic_block(x, width, 2 if stage and not block else 1, f"stage_{stage}.block_{block}")
    x = K.layers.GlobalAveragePooling2D(name="pool")(x)
    return start(K.Model(inputs, classifier(x, classes, dropout), name="resnet34"), weights, "ResNet-34")


def _basic_block(x: Any, width: int, stride: int, name: str) -> Any:
    skip = x
    if stride > 1 or x.shape[-1] != width:
        skip = plain_conv(x, width, name + ".skip", 1, stride=stride, relu=False)
    x = plain_conv(x, width, name + ".conv_0", stride=stride)
    x = plain_conv(x, width, name + ".conv_1", relu=False)
    return K.layers.ReLU(name=name + ".relu")(K.layers.Add(name=name + ".add")([x, skip]))
