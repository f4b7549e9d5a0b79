"""Keras networks as devices run them: batch norms folded into the convolutions before them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from convert.onnx.from_keras import affine, export_graph
from edge_emotion.errors import ModelError
from train.keras import K

Layer = Any
Model = Any

CONVOLUTIONS = K.layers.DepthwiseConv2D, K.layers.Conv2D
WEIGHTED = (*CONVOLUTIONS, K.layers.Dense)
SUPPORTED = (
    *WEIGHTED, K.layers.BatchNormalization, K.layers.ReLU, K.layers.Add, K.layers.GlobalAveragePooling2D,
    K.layers.Dropout,
)  # fmt: skip
"""These and no classes derived from them: a Conv2DTranspose is a Conv2D to Keras."""


def fold(model: Model) -> Model:
    """The same function without batch norms: N x H x W x C -> N x L logits, layers named as before, each with a bias.

    Batch norm is linear once its statistics are fixed: its scale goes into the kernel, its offset into the bias
    (Jacob et al. 2018, section 3.2). Raises ModelError for a layer that cannot be quantised.
    """
    norms = {producer(layer).name: layer for layer in model.layers if isinstance(layer, K.layers.BatchNormalization)}

    def folded(layer: Layer) -> Layer | None:
        if isinstance(layer, K.layers.BatchNormalization):
            return None
        changes = {"use_bias": True} if isinstance(layer, WEIGHTED) else {}
        return type(layer).from_config({**layer.get_config(), **changes})

    for layer in model.layers:
        _require_supported(model, layer)
    result = rebuild(model, folded)
    for layer in result.layers:
        weights = model.get_layer(layer.name).get_weights()
        if isinstance(layer, WEIGHTED):
            weights = _fold_weights(layer, weights, norms.get(layer.name))
        layer.set_weights(weights)
    return result


def require_convertible(model: Model) -> None:
    """Raises ModelError, naming the layer, for a network of which no int8 file can be made, or no ONNX file."""
    export_graph(fold(model))


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


def _require_supported(model: Model, layer: Layer) -> None:
    """Raises ModelError for a layer that has no exact form on devices."""
    reason = None if isinstance(layer, K.layers.InputLayer) else _objection(model, layer)
    if reason is not None:
        raise ModelError(
            f"cannot convert layer {layer.name} ({type(layer).__name__}): it {reason}; networks of convolutions, batch "
            "norm, ReLU or ReLU6, additions, global average pooling and dense layers can be"
        )


def _objection(model: Model, layer: Layer) -> str | None:
    """Why a layer cannot be converted; None if it can."""
    if type(layer) not in SUPPORTED or len(layer.inbound_nodes) != 1:
        return "has no quantised form here"
    if isinstance(layer, K.layers.ReLU):
        plain = layer.max_value in (None, 6.0) and not layer.negative_slope and not layer.threshold
        return None if plain else "is neither ReLU nor ReLU6"
    if isinstance(layer, K.layers.BatchNormalization):
        return _norm_objection(model, layer)
    if getattr(layer, "activation", None) not in (None, K.activations.linear):
        return "has an activation inside: make it a ReLU layer of its own"
    if isinstance(layer, K.layers.Conv2D) and tuple(layer.dilation_rate) != (1, 1):
        return "is dilated"
    return None


def _norm_objection(model: Model, norm: Layer) -> str | None:
    """Why a batch norm cannot go into the layer before it."""
    before = producer(norm)
    if not isinstance(before, CONVOLUTIONS):
        return f"follows {before.name}, which is no convolution"
    others = [layer.name for layer in consumers(model, before) if layer is not norm]
    return f"follows {before.name}, which {', '.join(others)} reads, too" if others else None


def _fold_weights(layer: Layer, weights: list[Any], norm: Layer | None) -> list[Any]:
    """Kernel and bias, zero where there was none, with the batch norm in them."""
    kernel, bias = weights[0].astype(np.float64), weights[1] if len(weights) > 1 else np.zeros(layer.bias.shape)
    if norm is None:
        return [kernel, bias]
    factor, shift = affine(norm)
    # A depthwise kernel is h x w x channels x outputs of each, another h x w x in x out.
    depthwise = isinstance(layer, K.layers.DepthwiseConv2D)
    return [kernel * (factor.reshape(kernel.shape[2:]) if depthwise else factor), bias * factor + shift]
