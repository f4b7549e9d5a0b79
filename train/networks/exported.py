"""Float weights of an exported model, read from its TFLite file, for explanations and further training."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from edge_emotion.errors import ModelError
from edge_emotion.models.folder import checked_file, find_model, load_manifest
from edge_emotion.models.manifest import ModelManifest
from train.data.faces import DataError
from train.keras import K
from train.networks.folded import Array, Folded, unfold

Model = Any

CONVOLUTION, DEPTHWISE, DENSE = "CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED"


class Layer(NamedTuple):
    """One operator with weights: its kind, and kernel and bias in Keras' layout."""

    kind: str
    kernel: Array
    offset: Array


def float_file(name: str) -> tuple[Path, ModelManifest]:
    """The most exact float TFLite file of a shipped model or model folder. Raises ModelError if there is none."""
    folder = find_model(name)
    manifest = load_manifest(folder)
    if not isinstance(manifest, ModelManifest):
        raise ModelError(f"{folder} is no emotion classifier but does {manifest.task}")
    floats = sorted(one.precision for one in manifest.files if one.format == "tflite" and one.precision != "int8")
    if not floats:
        raise ModelError(
            f"{folder} has no float TFLite file, and int8 weights are rounded: the network cannot be built again "
            "from it; take the run that it was made from, or a folder with a float16 file"
        )
    return checked_file(folder, manifest.file(floats[-1], "tflite")), manifest


def load_exported(model: Model, file: Path, pictures: Array | None) -> None:
    """Copy the weights of ``file`` into ``model``, a graph of the same recipe; see ``unfold`` for batch norms.

    Raises DataError for a file that does not fit, ModelError for one that cannot be read.
    """
    layers = read_layers(file)
    convolutions = [layer for layer in layers if layer.kind != DENSE]
    ours = [layer for layer in model.layers if isinstance(layer, K.layers.Conv2D | K.layers.DepthwiseConv2D)]
    dense = [layer for layer in model.layers if isinstance(layer, K.layers.Dense)]
    heads = [layer for layer in layers if layer.kind == DENSE]
    if len(convolutions) != len(ours) or len(heads) != len(dense):
        raise DataError(f"{file} is no {model.name}: it has {len(convolutions)} convolutions instead of {len(ours)}")
    named = zip((layer.name for layer in ours), convolutions, strict=True)
    unfold(model, {name: Folded(part.kernel, part.offset) for name, part in named}, pictures)
    for layer, part in zip(dense, heads, strict=True):
        if tuple(layer.kernel.shape) != part.kernel.shape:
            raise DataError(f"{file} is no {model.name}: {layer.name} needs {tuple(layer.kernel.shape)}")
        layer.set_weights([part.kernel, part.offset])


def read_layers(file: Path) -> list[Layer]:
    """The operators with weights, in the order of execution. Raises ModelError for a file that is not TFLite."""
    from ai_edge_litert import schema_py_generated as schema

    try:
        model = schema.ModelT.InitFromPackedBuf(file.read_bytes(), 0)
        graph = model.subgraphs[0]
        kinds = {value: name for name, value in vars(schema.BuiltinOperator).items() if not name.startswith("_")}
        codes = [kinds[max(code.builtinCode, code.deprecatedBuiltinCode)] for code in model.operatorCodes]
        # An operator of their own converts float16 weights to float32.
        source = {one.outputs[0]: one.inputs[0] for one in graph.operators if codes[one.opcodeIndex] == "DEQUANTIZE"}
        wanted = [one for one in graph.operators if codes[one.opcodeIndex] in (CONVOLUTION, DEPTHWISE, DENSE)]
        return [
            _layer(
                codes[one.opcodeIndex],
                *(_values(model, source.get(index, index), schema.TensorType) for index in one.inputs[1:3]),
            )
            for one in wanted
        ]
    except Exception as error:  # flatbuffers raises various exceptions when reading beyond the end
        raise ModelError(f"{file} cannot be read as a float TFLite model: {type(error).__name__}: {error}") from error


def _values(model: Any, index: int, types: Any) -> Array:
    tensor = model.subgraphs[0].tensors[index]
    kind = {types.FLOAT32: np.float32, types.FLOAT16: np.float16}[tensor.type]
    values = np.frombuffer(bytes(model.buffers[tensor.buffer].data), kind).reshape(tensor.shape)
    return np.asarray(values, np.float32)


def _layer(kind: str, kernel: Array, offset: Array) -> Layer:
    """TFLite's output-first layouts O x H x W x I, 1 x H x W x C (depthwise) and O x I (dense) to Keras' layout."""
    axes = {CONVOLUTION: (1, 2, 3, 0), DEPTHWISE: (1, 2, 3, 0), DENSE: (1, 0)}[kind]
    return Layer(kind, np.ascontiguousarray(kernel.transpose(axes)), offset)
