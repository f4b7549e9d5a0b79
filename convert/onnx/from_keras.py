"""Export graph of a functional tf_keras network."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from convert.onnx.graph import Add, Conv, Dense, Graph, Node, Pads, Pool, Relu, Weighted, same_pads
from edge_emotion.errors import ModelError
from edge_emotion.protocols import FloatArray


@dataclass(frozen=True)
class _Pad(Node):
    """Zero padding; removed from finished graphs."""

    pads: Pads


def export_graph(model: Any) -> Graph:
    """The export graph of a functional tf_keras model N x H x W x C -> N x classes logits.

    Raises ModelError, naming layer and class, for a layer that cannot be exported.
    """
    config = model.get_config()
    if len(model.inputs) != 1 or len(model.outputs) != 1 or None in model.input_shape[1:]:
        raise ModelError(f"cannot export {model.name}: it needs one input of a fixed size and one output")
    builder = _Builder(model.name, _sources(config))
    for entry in config["layers"]:
        builder.take(model.get_layer(entry["name"]))
    output = builder.edges[config["output_layers"][0][0]]
    graph = Graph(
        name=model.name,
        input=config["input_layers"][0][0],
        shape=tuple(model.input_shape[1:]),
        nodes=tuple(node for node in builder.nodes.values() if not isinstance(node, _Pad)),
        output=output,
        classes=int(model.output_shape[-1]),
    )
    for pad in (node for node in builder.nodes.values() if isinstance(node, _Pad)):
        if graph.consumers(pad.output) or pad.output == output:
            raise builder.refusal(model.get_layer(pad.name), "does not lead into a convolution")
    return graph


def _sources(config: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    """Layer -> the layers whose outputs it reads."""
    sources = {}
    for entry in config["layers"]:
        if len(entry["inbound_nodes"]) > 1:
            raise ModelError(f"cannot export {config['name']}: layer {entry['name']!r} is used more than once")
        calls = [[call] if isinstance(call[0], str) else call for call in entry["inbound_nodes"]]  # operators are bare
        sources[entry["name"]] = tuple(part[0] for call in calls for part in call)
    return sources


class _Builder:
    """Collects Keras layers in order as nodes: ``nodes``: output edge -> node; ``edges``: layer -> edge."""

    def __init__(self, model: str, sources: Mapping[str, tuple[str, ...]]) -> None:
        self._model = model
        self._sources = sources
        self.nodes: dict[str, Node] = {}
        self.edges: dict[str, str] = {}

    def take(self, layer: Any) -> None:
        """Add one layer. Raises ModelError for a layer that cannot be exported."""
        kind = type(layer).__name__
        if kind not in _LAYERS:
            raise self.refusal(layer, f"is none of {', '.join(_LAYERS)}")
        inputs = tuple(self.edges[source] for source in self._sources[layer.name])
        node = _LAYERS[kind](self, layer, inputs)
        self.edges[layer.name] = inputs[0] if node is None and inputs else layer.name
        if node is not None:
            self.nodes[node.output] = node

    def refusal(self, layer: Any, reason: str) -> ModelError:
        """The error for a layer that cannot be exported."""
        return ModelError(
            f"cannot export {self._model}: layer {layer.name!r} ({type(layer).__name__}) {reason}; change the network"
        )

    def nothing(self, layer: Any, inputs: tuple[str, ...]) -> None:
        """A layer that does nothing at inference."""

    def flatten(self, layer: Any, inputs: tuple[str, ...]) -> None:
        """Flatten of vectors, which does nothing."""
        if len(layer.input_shape) != 2:
            raise self.refusal(layer, "flattens a picture; pool it by GlobalAveragePooling2D")

    def conv(self, layer: Any, inputs: tuple[str, ...]) -> Conv:
        """Conv2D or DepthwiseConv2D, with the zeros of a preceding pad."""
        self._require_linear(layer)
        kernel, bias = _weights(layer)
        height, width, channels = layer.input_shape[1:]
        groups = layer.groups
        if type(layer).__name__ == "DepthwiseConv2D":
            kernel, groups = kernel.reshape(*kernel.shape[:2], 1, -1), channels
        kernel = kernel.transpose(3, 2, 0, 1)
        before = self.nodes.get(inputs[0])
        strides, dilations = tuple(layer.strides), tuple(layer.dilation_rate)
        pads = (0, 0, 0, 0)
        if layer.padding == "same":
            pads = same_pads((height, width), layer.kernel_size, strides, dilations)
        if isinstance(before, _Pad):
            pads, inputs = _sum(pads, before.pads), before.inputs
        return Conv(
            layer.name, inputs, layer.name,
            kernel=kernel, bias=_bias(bias, kernel),
            strides=strides, dilations=dilations, pads=pads, groups=int(groups),
        )  # fmt: skip

    def dense(self, layer: Any, inputs: tuple[str, ...]) -> Dense:
        """Dense layer on vectors."""
        self._require_linear(layer)
        if len(layer.input_shape) != 2:
            raise self.refusal(layer, "does not read vectors; pool the picture by GlobalAveragePooling2D")
        kernel, bias = _weights(layer)
        kernel = kernel.T
        return Dense(layer.name, inputs, layer.name, kernel=kernel, bias=_bias(bias, kernel))

    def batch_norm(self, layer: Any, inputs: tuple[str, ...]) -> Weighted:
        """The layer before a batch norm (Ioffe and Szegedy 2015), with its factor and shift per channel folded in."""
        before = self.nodes.get(inputs[0])
        (source,) = self._sources[layer.name]
        readers = [name for name, sources in self._sources.items() if source in sources]
        if not isinstance(before, Weighted) or len(readers) > 1:
            raise self.refusal(layer, "does not follow a convolution of its own, so it cannot be folded")
        factor, shift = affine(layer)
        del self.nodes[before.output]
        kernel = before.kernel * factor.reshape(-1, *[1] * (before.kernel.ndim - 1))
        return replace(
            before,
            output=layer.name,
            kernel=kernel.astype(np.float32),
            bias=(before.bias * factor + shift).astype(np.float32),
        )

    def relu(self, layer: Any, inputs: tuple[str, ...]) -> Relu:
        """ReLU with or without an upper limit."""
        if layer.negative_slope or layer.threshold:
            raise self.refusal(layer, "has a slope or threshold; use a plain ReLU or ReLU6")
        limit = None if layer.max_value is None else float(layer.max_value)
        return Relu(layer.name, inputs, layer.name, limit=limit)

    def add(self, layer: Any, inputs: tuple[str, ...]) -> Add:
        """Addition of two edges."""
        if len(inputs) != 2:
            raise self.refusal(layer, f"adds {len(inputs)} values; add two at a time")
        return Add(layer.name, inputs, layer.name)

    def pool(self, layer: Any, inputs: tuple[str, ...]) -> Pool:
        """GlobalAveragePooling2D."""
        if layer.keepdims:
            raise self.refusal(layer, "keeps height and width; use keepdims=False")
        return Pool(layer.name, inputs, layer.name)

    def pad(self, layer: Any, inputs: tuple[str, ...]) -> _Pad:
        """ZeroPadding2D."""
        (top, bottom), (left, right) = layer.padding
        return _Pad(layer.name, inputs, layer.name, pads=(top, left, bottom, right))

    def _require_linear(self, layer: Any) -> None:
        if getattr(layer.activation, "__name__", "") != "linear":
            raise self.refusal(layer, "has an activation of its own; make it a ReLU layer")
        if getattr(layer, "data_format", "channels_last") != "channels_last":
            raise self.refusal(layer, "has channels first; use channels_last")


_LAYERS: dict[str, Callable[[_Builder, Any, tuple[str, ...]], Node | None]] = {
    "InputLayer": _Builder.nothing,
    "Conv2D": _Builder.conv,
    "DepthwiseConv2D": _Builder.conv,
    "BatchNormalization": _Builder.batch_norm,
    "ReLU": _Builder.relu,
    "Add": _Builder.add,
    "GlobalAveragePooling2D": _Builder.pool,
    "Dense": _Builder.dense,
    "ZeroPadding2D": _Builder.pad,
    "Dropout": _Builder.nothing,
    "Flatten": _Builder.flatten,
}


def _weights(layer: Any) -> tuple[FloatArray, FloatArray | None]:
    weights = [np.asarray(value, np.float32) for value in layer.get_weights()]
    return weights[0], weights[1] if layer.use_bias else None


def _bias(bias: FloatArray | None, kernel: FloatArray) -> FloatArray:
    return np.zeros(len(kernel), np.float32) if bias is None else bias


def affine(layer: Any) -> tuple[Any, Any]:
    """Factor and shift per channel of a batch norm at inference, float64."""
    values = iter(np.asarray(value, np.float64) for value in layer.get_weights())
    gamma = next(values) if layer.scale else 1.0
    beta = next(values) if layer.center else 0.0
    mean, variance = next(values), next(values)
    factor = gamma / np.sqrt(variance + layer.epsilon)
    return factor, beta - mean * factor


def _sum(first: Pads, second: Pads) -> Pads:
    top, left, bottom, right = (a + b for a, b in zip(first, second, strict=True))
    return top, left, bottom, right
