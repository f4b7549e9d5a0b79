"""Layers that every edge network is made of, in a form that quantises: SAME padding, no bias, ReLU6 of its own."""

from __future__ import annotations

from typing import Any

from train.keras import K


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


def batch_norm(name: str) -> Any:
    """Statistics follow within a few hundred steps: Keras' own 0.999 is too slow for a fine-tune."""
    return K.layers.BatchNormalization(momentum=0.99, epsilon=1e-3, name=name)


def divisible(value: float, by: int = 8) -> int:
    """The nearest multiple of ``by``, never more than 10 % below ``value``."""
    rounded = max(by, int(value + by / 2) // by * by)
    return rounded + by if rounded < 0.9 * value else rounded
