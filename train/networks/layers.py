"""Layers that several networks share.

``conv`` is the building block of every edge network, in a form that can be quantised: SAME padding, no bias, its own
ReLU6.
"""

from __future__ import annotations

from typing import Any

from train.keras import K, tf


def conv(
    x: Any,
    filters: int,
    name: str,
    *,
    kernel: int = 1,
    stride: int = 1,
    norm: str | None = None,
    relu: str | None = "",
) -> Any:
    """Convolution, batch norm and, unless ``relu`` is None, ReLU6."""
    x = K.layers.Conv2D(filters, kernel, stride, padding="same", use_bias=False, name=name)(x)
    x = batch_norm(norm or name + "_BN")(x)
    return x if relu is None else K.layers.ReLU(6.0, name=relu or name + "_relu")(x)


def plain_conv(
    x: Any,
    filters: int,
    name: str,
    kernel: int | tuple[int, int] = 3,
    *,
    stride: int = 1,
    padding: str = "same",
    relu: bool = True,
) -> Any:
    """Convolution, batch norm and, with ``relu``, an unbounded ReLU, for networks that are not deployed.

    Layers ``name.conv``, ``name.bn``, ``name.relu``; random weights as in He et al. 2015.
    """
    x = K.layers.Conv2D(
        filters, kernel, stride, padding, use_bias=False, kernel_initializer="he_normal", name=name + ".conv"
    )(x)
    x = batch_norm(name + ".bn")(x)
    return K.layers.ReLU(name=name + ".relu")(x) if relu else x


def batch_norm(name: str) -> Any:
    """Batch norm with a momentum of 0.99: Keras' default of 0.999 adapts too slowly for fine-tuning.

    In a distributed run the statistics are those of the global batch, so that several workers compute the same as one.
    """
    return K.layers.BatchNormalization(
        momentum=0.99, epsilon=1e-3, synchronized=tf.distribute.has_strategy(), name=name
    )


def classifier(x: Any, classes: int, dropout: float) -> Any:
    """Dropout and head: features N x C -> N x classes logits."""
    return logits(K.layers.Dropout(dropout, name="dropout")(x), classes)


def logits(x: Any, classes: int, name: str = "logits") -> Any:
    """A dense layer, N x C -> N x classes; float32 in mixed precision, too: a float16 loss would lose small terms."""
    return K.layers.Dense(classes, name=name, dtype="float32")(x)


def divisible(value: float, by: int = 8) -> int:
    """The nearest multiple of ``by`` that is at most 10 % below ``value``."""
    rounded = max(by, int(value + by / 2) // by * by)
    return rounded + by if rounded < 0.9 * value else rounded
