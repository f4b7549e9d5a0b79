"""A folded network that computes as its int8 artefacts will: quantisation-aware training (Jacob et al. 2018).

Built on tensorflow_model_optimization, with quantisers of our own where its defaults lose accuracy: weights per channel
in depthwise layers, too; a floor under their ranges, so that no int32 bias saturates; activation ranges that are
calibrated before the first step and then stay; the input fixed to what pixels can be.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

import numpy as np
from tensorflow_model_optimization.python.core.quantization.keras.quantize_layer import QuantizeLayer
from tensorflow_model_optimization.quantization.keras import QuantizeConfig, QuantizeWrapperV2, quantizers

from convert.int8.fold import CONVOLUTIONS, consumers, rebuild
from convert.onnx.scales import Scales
from edge_emotion.errors import ModelError
from edge_emotion.models.manifest import InputSpec
from train.keras import K, tf

Layer = Any
Model = Any
Tensor = Any
Scheme = Literal["symmetric", "asymmetric"]

WEIGHT_FLOOR = 1e-3
"""Smallest weight range of a channel, as a share of the layer's largest: an idle channel has nothing to resolve."""


class Range(NamedTuple):
    """What int8 can say of an activation: real values of -128 and 127."""

    low: float
    high: float

    @property
    def scale(self) -> float:
        """Real value of one step."""
        return (self.high - self.low) / 255


def symmetric(largest: float) -> Range:
    """Zero point 0; ``largest`` is the real value of 127."""
    return Range(-largest * 128 / 127, largest)


def asymmetric(low: float, high: float) -> Range:
    """The nearest range in which 0 is a whole number of steps."""
    low, high = min(low, 0.0), max(high, 1e-6)
    step = (high - low) / 255
    zero = round(-low / step)
    return Range(-zero * step, (255 - zero) * step)


def input_range(spec: InputSpec) -> Range:
    """What pixels can be: with (pixel - 128) / 128 the int8 input is pixel - 128 exactly."""
    return Range(spec.offset, spec.offset + 255 * spec.scale)


def quantised_layers(folded: Model) -> list[str]:
    """The layers whose outputs become int8 tensors, in the order of the graph.

    Not those that fuse with what follows: a convolution or an addition before a ReLU. Dropout is nothing on a device.
    """
    return [
        layer.name for layer in folded.layers[1:] if not (_fuses(folded, layer) or isinstance(layer, K.layers.Dropout))
    ]


def quantise_aware(folded: Model, spec: InputSpec, ranges: Mapping[str, Range] | None = None) -> Model:
    """The folded model with simulated int8 weights, and outputs in ``ranges`` by the name of the layer.

    Without ranges it is only a place to load weights into. Same inputs and outputs as ``folded``.
    """
    outputs = set(quantised_layers(folded))

    def wrapped(layer: Layer) -> Layer:
        copy = type(layer).from_config(layer.get_config())
        if isinstance(layer, K.layers.Dropout):
            return copy
        # Before it is wrapped: afterwards its kernel attribute is what was quantised last.
        copy.build(layer.input_shape)
        copy.set_weights(layer.get_weights())
        reach = Range(-1.0, 1.0) if ranges is None or layer.name not in ranges else ranges[layer.name]
        return QuantizeWrapperV2(copy, Int8(reach if layer.name in outputs else None), name=layer.name)

    return rebuild(folded, wrapped, at_input=QuantizeLayer(FixedRange(input_range(spec)), name="quantise"))


def channels_last(layer: Layer, kernel: Tensor) -> Tensor:
    """A view of the layer's kernel whose last axis are the channels that have a weight scale each.

    A depthwise kernel is h x w x channels x 1, others end with the output channels. A dense layer has one scale for
    all: TensorFlow's converter cannot transpose a matrix with several.
    """
    if isinstance(layer, K.layers.DepthwiseConv2D):
        return tf.reshape(kernel, (kernel.shape[0], kernel.shape[1], 1, -1))
    return tf.reshape(kernel, (-1, 1)) if isinstance(layer, K.layers.Dense) else kernel


def weight_reach(kernel: Tensor) -> Tensor:
    """Real value of 127 for each channel (the last axis)."""
    each = tf.reduce_max(tf.abs(kernel), axis=list(range(len(kernel.shape) - 1)))
    return tf.maximum(each, tf.maximum(WEIGHT_FLOOR * tf.reduce_max(each), 1e-8))


def unwrap(simulated: Model) -> Model:
    """The folded float network with the weights that a simulated one has learned."""

    def bare(layer: Layer) -> Layer | None:
        if isinstance(layer, QuantizeLayer):
            return None
        if not isinstance(layer, QuantizeWrapperV2):
            return type(layer).from_config(layer.get_config())
        copy = type(layer.layer).from_config(layer.layer.get_config())
        copy.build(layer.input_shape)
        copy.set_weights([weight.numpy() for weight in layer.trainable_weights])
        return copy

    return rebuild(simulated, bare)


def scales_of(simulated: Model) -> Scales:
    """The symmetric scales of a simulated network, by the names of its layers, for the export graph of ``unwrap``.

    Raises ModelError for a network with other zero points than 0.
    """
    activations, weights = (
        {simulated.layers[0].name: _range_of(simulated.get_layer("quantise").quantizer_vars).scale},
        {},
    )
    for layer in simulated.layers:
        if not isinstance(layer, QuantizeWrapperV2):
            continue
        if layer.quantize_config.rounds_output:
            reach = _range_of(layer._output_quantizer_vars)
            if round(reach.low / reach.scale) != -128:
                raise ModelError(f"the range of {layer.name} is not symmetric: give its run a symmetric one")
            activations[layer.name] = reach.scale
        for kernel, _, _ in layer._weight_vars:
            channels = layer.layer.bias.shape[0]
            reach = weight_reach(channels_last(layer.layer, kernel)).numpy()
            weights[layer.name] = np.broadcast_to(reach / 127, channels).astype(np.float32)
    return Scales(activations, weights)


def _range_of(ends: Mapping[str, Any]) -> Range:
    return Range(float(ends["low"].numpy()), float(ends["high"].numpy()))


class KernelRange(quantizers.Quantizer):  # type: ignore[misc]
    """Simulates int8 weights, symmetric from -127 to 127, with the range that they have at each moment."""

    def __init__(self, layer: Layer) -> None:
        self._layer = layer

    def build(self, tensor_shape: Any, name: str, layer: Layer) -> dict[str, Any]:
        """It remembers nothing."""
        return {}

    def __call__(self, inputs: Tensor, training: Any, weights: Any, **kwargs: Any) -> Tensor:
        """A kernel to its simulated form, with straight-through gradients."""
        kernel = channels_last(self._layer, inputs)
        reach = weight_reach(kernel)
        if kernel.shape[-1] == 1:
            return tf.quantization.fake_quant_with_min_max_vars(inputs, -reach[0], reach[0], narrow_range=True)
        simulated = tf.quantization.fake_quant_with_min_max_vars_per_channel(kernel, -reach, reach, narrow_range=True)
        return tf.reshape(simulated, inputs.shape)

    def get_config(self) -> dict[str, Any]:
        """Of no use: a network is rebuilt from its recipe."""
        return {}


class FixedRange(quantizers.Quantizer):  # type: ignore[misc]
    """Simulates an int8 activation with a range that was calibrated; it is kept with the weights."""

    def __init__(self, reach: Range) -> None:
        self._reach = Range(*reach)

    def build(self, tensor_shape: Any, name: str, layer: Layer) -> dict[str, Any]:
        """The two ends as weights that do not learn."""
        return {
            end: layer.add_weight(f"{name}_{end}", initializer=K.initializers.Constant(value), trainable=False)
            for end, value in self._reach._asdict().items()
        }

    def __call__(self, inputs: Tensor, training: Any, weights: Any, **kwargs: Any) -> Tensor:
        """Values to their simulated form; gradients pass where nothing was clipped."""
        return tf.quantization.fake_quant_with_min_max_vars(inputs, weights["low"], weights["high"])

    def get_config(self) -> dict[str, Any]:
        """What the constructor takes."""
        return {"reach": list(self._reach)}


class Int8(QuantizeConfig):  # type: ignore[misc]
    """Per-channel weights and, unless the layer fuses with the next one, a calibrated output."""

    def __init__(self, reach: Range | None) -> None:
        self._reach = None if reach is None else Range(*reach)

    @property
    def rounds_output(self) -> bool:
        """Whether the layer's output is an int8 tensor."""
        return self._reach is not None

    def get_weights_and_quantizers(self, layer: Layer) -> list[tuple[Any, Any]]:
        """The kernel; biases stay wide."""
        if isinstance(layer, K.layers.DepthwiseConv2D):
            return [(layer.depthwise_kernel, KernelRange(layer))]
        return [(layer.kernel, KernelRange(layer))] if hasattr(layer, "kernel") else []

    def get_activations_and_quantizers(self, layer: Layer) -> list[tuple[Any, Any]]:
        """Activations are layers of their own."""
        return []

    def set_quantize_weights(self, layer: Layer, quantize_weights: list[Tensor]) -> None:
        """Put the simulated kernel in the place of the real one."""
        if quantize_weights:
            name = "depthwise_kernel" if isinstance(layer, K.layers.DepthwiseConv2D) else "kernel"
            setattr(layer, name, quantize_weights[0])

    def set_quantize_activations(self, layer: Layer, quantize_activations: list[Any]) -> None:
        """There are none."""
        return  # AutoGraph cannot read a body that is only a docstring

    def get_output_quantizers(self, layer: Layer) -> list[Any]:
        """The output's range."""
        return [] if self._reach is None else [FixedRange(self._reach)]

    def get_config(self) -> dict[str, Any]:
        """What the constructor takes."""
        return {"reach": None if self._reach is None else list(self._reach)}


def _fuses(folded: Model, layer: Layer) -> bool:
    following = list(consumers(folded, layer))
    fusible = (*CONVOLUTIONS, K.layers.Add, K.layers.Dense)
    return isinstance(layer, fusible) and len(following) == 1 and isinstance(following[0], K.layers.ReLU)
