"""Layers that several networks are made of.

``conv`` is what every edge network consists of, in a form that quantises: SAME padding, no bias, ReLU6 of its own.
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
    """Convolution, batch norm and, if wanted, an unbounded ReLU, for networks that stay on the workstation.

    Layers ``name.conv``, ``name.bn``, ``name.relu``; random weights as by He et al. 2015.
    """
    x = K.layers.Conv2D(
        filters, kernel, stride, padding, use_bias=False, kernel_initializer="he_normal", name=name + ".conv"
    )(x)
    x = batch_norm(name + ".bn")(x)
    return K.layers.ReLU(name=name + ".relu")(x) if relu else x


def batch_norm(name: str) -> Any:
    """Statistics follow within a few hundred steps: Keras' own 0.999 is too slow for a fine-tune.

    In a distributed run they are those of the global batch, so that several workers compute what one would.
    """
    return K.layers.BatchNormalization(
        momentum=0.99, epsilon=1e-3, synchronized=tf.distribute.has_strategy(), name=name
    )


def classifier(x: Any, classes: int, dropout: float) -> Any:
    """Features N x C -> N x classes logits."""
    return logits(K.layers.Dropout(dropout, name="dropout")(x), classes)


def logits(x: Any, classes: int, name: str = "logits") -> Any:
    """The head: 32 bits wide in mixed precision too, where a loss of 16 bits would lose its small parts."""
    return K.layers.Dense(classes, name=name, dtype="float32")(x)


def divisible(value: float, by: int = 8) -> int:
    """The nearest multiple of ``by``, never more than 10 % below ``value``."""
    rounded = max(by, int(value + by / 2) // by * by)
    return rounded + by if rounded < 0.9 * value else rounded
