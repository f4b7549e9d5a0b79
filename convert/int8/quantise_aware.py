"""Simulation of int8 in a folded network, for quantisation-aware training (Jacob et al. 2018).

Uses tensorflow_model_optimization, with own quantisers where its defaults lose accuracy: per-channel weights in
depthwise layers as well; a lower limit of the weight ranges, so that no int32 bias saturates; activation ranges that
are calibrated before the first step and then fixed; an input range that follows from the pixels' range.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Literal, NamedTuple

import numpy as np
from tensorflow_model_optimization.python.core.quantization.keras.quantize_layer import QuantizeLayer
from tensorflow_model_optimization.quantization.keras import QuantizeConfig, QuantizeWrapperV2, quantizers

from convert.int8.fold import CONVOLUTIONS, consumers, rebuild
from convert.onnx.from_keras import export_graph
from convert.onnx.graph import Graph
from convert.onnx.scales import STEPS, Scales, whole_steps
from edge_emotion.errors import ModelError
from edge_emotion.models.manifest import InputSpec
from edge_emotion.protocols import FloatArray
from train.keras import K, tf

Layer = Any
Model = Any
Tensor = Any
Scheme = Literal["symmetric", "asymmetric"]

WEIGHT_FLOOR = 1e-3
"""Smallest weight range of a channel, as a share of the layer's largest; unused channels need no resolution."""


class Range(NamedTuple):
    """Range of an int8 activation: the real values of -128 and 127."""

    low: float
    high: float

    @property
    def scale(self) -> float:
        """Real value of one step."""
        return (self.high - self.low) / 255


def symmetric(largest: float) -> Range:
    """A range with zero point 0; ``largest`` is the real value of 127."""
    return Range(-largest * 128 / 127, largest)


def asymmetric(low: float, high: float) -> Range:
    """The closest range in which 0 is a whole number of steps."""
    low, high = min(low, 0.0), max(high, 1e-6)
    step = (high - low) / 255
    zero = round(-low / step)
    return Range(-zero * step, (255 - zero) * step)


def input_range(spec: InputSpec) -> Range:
    """The range of pixels: with (pixel - 128) / 128 the int8 input is exactly pixel - 128."""
    return Range(spec.offset, spec.offset + 255 * spec.scale)


def quantised_layers(folded: Model) -> list[str]:
    """Names of the layers whose outputs become int8 tensors, in the order of the graph.

    Without layers that fuse with the next one (a convolution or an addition before a ReLU), and without dropout, which
    does nothing on a device.
    """
    return [
        layer.name for layer in folded.layers[1:] if not (_fuses(folded, layer) or isinstance(layer, K.layers.Dropout))
    ]


def quantise_aware(folded: Model, spec: InputSpec, ranges: Mapping[str, Range] | None = None) -> Model:
    """The folded model with simulated int8 weights, and outputs in ``ranges`` by the name of the layer.

    Without ranges it is only a place to load weights into. Same inputs and outputs as ``folded``.
    """
    return _simulate(folded, input_range(spec), {} if ranges is None else ranges)


def _simulate(folded: Model, pixels: Range, ranges: Mapping[str, Range]) -> Model:
    outputs = set(quantised_layers(folded))

    def wrapped(layer: Layer) -> Layer:
        copy = type(layer).from_config(layer.get_config())
        if isinstance(layer, K.layers.Dropout):
            return copy
        # Before wrapping: afterwards the kernel attribute is the quantised kernel.
        copy.build(layer.input_shape)
        copy.set_weights(layer.get_weights())
        reach = ranges.get(layer.name, Range(-1.0, 1.0))
        return Int8Layer(copy, Int8(reach if layer.name in outputs else None), name=layer.name)

    return rebuild(folded, wrapped, at_input=QuantizeLayer(FixedRange(pixels), name="quantise"))


def channels_last(layer: Layer, kernel: Tensor) -> Tensor:
    """A view of the layer's kernel whose last axis contains the channels with a weight scale each.

    A depthwise kernel is h x w x channels x 1, others end with the output channels. A dense layer has one scale for
    all, because TensorFlow's converter cannot transpose a matrix with several.
    """
    if isinstance(layer, K.layers.DepthwiseConv2D):
        return tf.reshape(kernel, (kernel.shape[0], kernel.shape[1], 1, -1))
    return tf.reshape(kernel, (-1, 1)) if isinstance(layer, K.layers.Dense) else kernel


def weight_reach(kernel: Tensor) -> Tensor:
    """Real value of 127 for each channel (the last axis)."""
    each = tf.reduce_max(tf.abs(kernel), axis=list(range(len(kernel.shape) - 1)))
    return tf.maximum(each, tf.maximum(WEIGHT_FLOOR * tf.reduce_max(each), 1e-8))


def unwrap(simulated: Model) -> Model:
    """The folded float network with the weights of a simulated network."""

    def bare(layer: Layer) -> Layer | None:
        if isinstance(layer, QuantizeLayer):
            return None
        if not isinstance(layer, Int8Layer):
            return type(layer).from_config(layer.get_config())
        copy = type(layer.layer).from_config(layer.layer.get_config())
        copy.build(layer.input_shape)
        copy.set_weights([weight.numpy() for weight in layer.trainable_weights])
        return copy

    return rebuild(simulated, bare)


@contextmanager
def rounded(simulated: Model) -> Iterator[None]:
    """In this context the weights of a network are whole steps, which every writer rounds to the same integers.

    Its outputs stay the same. Otherwise a weight close to the middle between two steps could become one integer in
    TensorFlow's float32 arithmetic, ``floor((weight + reach) / step + 0.5)``, and the other one in ours.
    """
    kernels = [(layer.layer, kernel) for layer in _wrappers(simulated) for kernel, _, _ in layer._weight_vars]
    kept = [kernel.numpy() for _, kernel in kernels]
    try:
        for (layer, kernel), values in zip(kernels, kept, strict=True):
            view = np.asarray(channels_last(layer, values))
            scales = _weight_scales(view)
            kernel.assign(np.reshape(whole_steps(view, scales) * scales, values.shape))
        yield
    finally:
        for (_, kernel), values in zip(kernels, kept, strict=True):
            kernel.assign(values)


def explicit(simulated: Model) -> tuple[Graph, Scales]:
    """Content of a Q/DQ ONNX file for a simulated network: the graph, with weights in whole steps, and its scales.

    Raises ModelError for a network with other zero points than 0.
    """
    with rounded(simulated):
        return export_graph(unwrap(simulated)), scales_of(simulated)


def scales_of(simulated: Model) -> Scales:
    """The symmetric scales of a simulated network, by the names of its layers, for the export graph of ``unwrap``.

    Raises ModelError for a network with other zero points than 0.
    """
    activations, weights = {simulated.layers[0].name: _input_range_of(simulated).scale}, {}
    for name, reach in _output_ranges_of(simulated).items():
        if round(reach.low / reach.scale) != -128:
            raise ModelError(f"the range of {name} is not symmetric: give its run a symmetric one")
        activations[name] = reach.scale
    for layer in _wrappers(simulated):
        for kernel, _, _ in layer._weight_vars:
            scales = _weight_scales(channels_last(layer.layer, kernel))
            weights[layer.name] = np.broadcast_to(scales, layer.layer.bias.shape[0])
    return Scales(activations, weights)


def _weight_scales(kernel: Tensor) -> FloatArray:
    """One scale for each channel (the last axis)."""
    scales: FloatArray = (weight_reach(kernel).numpy() / STEPS).astype(np.float32)
    return scales


def _wrappers(simulated: Model) -> list[Layer]:
    return [layer for layer in simulated.layers if isinstance(layer, Int8Layer)]


def _input_range_of(simulated: Model) -> Range:
    return _range_of(simulated.get_layer("quantise").quantizer_vars)


def _output_ranges_of(simulated: Model) -> dict[str, Range]:
    """The ranges of the layers whose outputs become int8 tensors, in the order of the graph."""
    layers = [layer for layer in _wrappers(simulated) if layer.quantize_config.rounds_output]
    return {layer.name: _range_of(layer._output_quantizer_vars) for layer in layers}


def _range_of(ends: Mapping[str, Any]) -> Range:
    return Range(float(ends["low"].numpy()), float(ends["high"].numpy()))


class Int8Layer(QuantizeWrapperV2):  # type: ignore[misc]
    """A layer with simulated int8 weights and outputs. It computes the same in training as otherwise.

    So each quantiser stands in the graph once; the base class puts one for training and one for inference there.
    """

    @tf.autograph.experimental.do_not_convert  # type: ignore[untyped-decorator]
    def call(self, inputs: Tensor, training: Any = None, **options: Any) -> Tensor:
        """The layer's outputs in their simulated form."""
        return super().call(inputs, training=False, **options)


class KernelRange(quantizers.Quantizer):  # type: ignore[misc]
    """Simulates int8 weights, symmetric from -127 to 127, with the current range of the weights."""

    def __init__(self, layer: Layer) -> None:
        self._layer = layer

    def build(self, tensor_shape: Any, name: str, layer: Layer) -> dict[str, Any]:
        """No variables."""
        return {}

    def __call__(self, inputs: Tensor, training: Any, weights: Any, **kwargs: Any) -> Tensor:
        """A kernel in its simulated form, with straight-through gradients."""
        kernel = channels_last(self._layer, inputs)
        reach = weight_reach(kernel)
        if kernel.shape[-1] == 1:
            return tf.quantization.fake_quant_with_min_max_vars(inputs, -reach[0], reach[0], narrow_range=True)
        simulated = tf.quantization.fake_quant_with_min_max_vars_per_channel(kernel, -reach, reach, narrow_range=True)
        return tf.reshape(simulated, inputs.shape)

    def get_config(self) -> dict[str, Any]:
        """Empty: a network is rebuilt from its recipe."""
        return {}


class FixedRange(quantizers.Quantizer):  # type: ignore[misc]
    """Simulates an int8 activation with a calibrated range, which is saved with the weights."""

    def __init__(self, reach: Range) -> None:
        self._reach = Range(*reach)

    def build(self, tensor_shape: Any, name: str, layer: Layer) -> dict[str, Any]:
        """Create the two ends as weights that are not trained."""
        return {
            end: layer.add_weight(f"{name}_{end}", initializer=K.initializers.Constant(value), trainable=False)
            for end, value in self._reach._asdict().items()
        }

    def __call__(self, inputs: Tensor, training: Any, weights: Any, **kwargs: Any) -> Tensor:
        """Values in their simulated form; gradients pass where nothing was clipped."""
        return tf.quantization.fake_quant_with_min_max_vars(inputs, weights["low"], weights["high"])

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
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
        """The kernel with its quantiser; biases are not quantised."""
        if isinstance(layer, K.layers.DepthwiseConv2D):
            return [(layer.depthwise_kernel, KernelRange(layer))]
        return [(layer.kernel, KernelRange(layer))] if hasattr(layer, "kernel") else []

    def get_activations_and_quantizers(self, layer: Layer) -> list[tuple[Any, Any]]:
        """Empty, because activations are separate layers."""
        return []

    def set_quantize_weights(self, layer: Layer, quantize_weights: list[Tensor]) -> None:
        """Replace the kernel by the simulated one."""
        if quantize_weights:
            name = "depthwise_kernel" if isinstance(layer, K.layers.DepthwiseConv2D) else "kernel"
            setattr(layer, name, quantize_weights[0])

    def set_quantize_activations(self, layer: Layer, quantize_activations: list[Any]) -> None:
        """Nothing to do."""
        return  # AutoGraph cannot read a body that is only a docstring

    def get_output_quantizers(self, layer: Layer) -> list[Any]:
        """The quantiser of the output."""
        return [] if self._reach is None else [FixedRange(self._reach)]

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {"reach": None if self._reach is None else list(self._reach)}


def _fuses(folded: Model, layer: Layer) -> bool:
    following = list(consumers(folded, layer))
    fusible = (*CONVOLUTIONS, K.layers.Add, K.layers.Dense)
    return isinstance(layer, fusible) and len(following) == 1 and isinstance(following[0], K.layers.ReLU)
