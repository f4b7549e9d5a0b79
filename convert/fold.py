"""Keras networks as devices run them: batch norms folded into the convolutions before them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from convert.from_keras import affine
from edge_emotion.errors import ModelError
from train.keras import K

Layer = Any
Model = Any

CONVOLUTIONS = K.layers.DepthwiseConv2D, K.layers.Conv2D
SUPPORTED = (
    *CONVOLUTIONS, K.layers.BatchNormalization, K.layers.ReLU, K.layers.Add, K.layers.GlobalAveragePooling2D,
    K.layers.Dense, K.layers.Dropout,
)  # fmt: skip


def fold(model: Model) -> Model:
    """The same function without batch norms: N x H x W x C -> N x L logits, layers named as before.

    Batch norm is linear once its statistics are fixed: its scale goes into the kernel, its offset into the bias
    (Jacob et al. 2018, section 3.2). Raises ModelError for a layer that cannot be quantised.
    """
    norms = {producer(layer).name: layer for layer in model.layers if isinstance(layer, K.layers.BatchNormalization)}

    def folded(layer: Layer) -> Layer | None:
        if isinstance(layer, K.layers.BatchNormalization):
            return None
        changes = {"use_bias": True} if layer.name in norms else {}
        return type(layer).from_config({**layer.get_config(), **changes})

    for layer in model.layers:
        _require_supported(layer)
    result = rebuild(model, folded)
    for layer in result.layers:
        weights = model.get_layer(layer.name).get_weights()
        if layer.name in norms:
            weights = _fold_weights(layer, weights, norms[layer.name])
        layer.set_weights(weights)
    return result


def rebuild(
    model: Model, replace: Callable[[Layer], Layer | None], at_input: Callable[[Any], Any] | None = None
) -> Model:
    """The graph of a flat model with another layer in each place; None leaves a place out.

    ``at_input`` may put something between the input and its first layer.
    """
    (source,) = model.inputs
    inputs = K.Input(source.shape[1:], name=model.layers[0].name)
    made = {id(source): inputs if at_input is None else at_input(inputs)}
    for layer in model.layers[1:]:
        new, given = replace(layer), [made[id(tensor)] for tensor in layer.inbound_nodes[0].keras_inputs]
        made[id(layer.output)] = given[0] if new is None else new(given[0] if len(given) == 1 else given)
    return K.Model(inputs, made[id(model.output)], name=model.name)


def producer(layer: Layer) -> Layer:
    """The layer whose output this one takes first."""
    return layer.inbound_nodes[0].keras_inputs[0]._keras_history.layer


def consumers(model: Model, layer: Layer) -> Iterator[Layer]:
    """The layers that take this one's output."""
    for other in model.layers[1:]:
        if any(tensor is layer.output for tensor in other.inbound_nodes[0].keras_inputs):
            yield other


def _require_supported(layer: Layer) -> None:
    """Raises ModelError for a layer that has no exact form on devices."""
    if isinstance(layer, K.layers.InputLayer):
        return
    reason = "has no quantised form here"
    if isinstance(layer, SUPPORTED) and len(layer.inbound_nodes) == 1:
        if isinstance(layer, K.layers.ReLU) and (
            layer.max_value not in (None, 6.0) or layer.negative_slope or layer.threshold
        ):
            reason = "is neither ReLU nor ReLU6"
        elif isinstance(layer, K.layers.BatchNormalization) and not isinstance(producer(layer), CONVOLUTIONS):
            reason = f"follows {producer(layer).name}, which is no convolution"
        elif getattr(layer, "activation", None) not in (None, K.activations.linear):
            reason = "has an activation inside: make it a ReLU layer of its own"
        elif isinstance(layer, K.layers.Conv2D) and tuple(layer.dilation_rate) != (1, 1):
            reason = "is dilated"
        else:
            return
    raise ModelError(
        f"cannot convert layer {layer.name} ({type(layer).__name__}): it {reason}; networks of convolutions, batch "
        "norm, ReLU or ReLU6, additions, global average pooling and dense layers can be"
    )


def _fold_weights(layer: Layer, weights: list[Any], norm: Layer) -> list[Any]:
    """Kernel and bias with the batch norm in them."""
    kernel, bias = weights[0].astype(np.float64), weights[1] if len(weights) > 1 else 0.0
    factor, shift = affine(norm)
    # A depthwise kernel is h x w x channels x 1, another h x w x in x out.
    depthwise = isinstance(layer, K.layers.DepthwiseConv2D)
    return [kernel * (factor[:, None] if depthwise else factor), bias * factor + shift]
