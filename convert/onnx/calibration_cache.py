"""The scales of a run's float32 ONNX file, for a TensorRT that makes int8 of it without Q/DQ nodes."""

from __future__ import annotations

from collections.abc import Mapping

from convert.onnx.graph import Graph, Pool, Relu
from convert.onnx.write import INPUT, edge_tensor, pooled_tensor
from edge_emotion.errors import ModelError


def tensor_scales(graph: Graph, scales: Mapping[str, float]) -> dict[str, float]:
    """Symmetric scales of the tensors in the float file of ``graph``, by the tensors' names, in their order.

    scales: of the outputs of layers, by the layer's name in the folded network, as ``calibrate`` and ``scales_of`` give
    them. A tensor that nothing but a ReLU reads has that ReLU's scale: what this clips, the ReLU or its own scale clips
    as well. The logits get none, so that they stay float. Raises ModelError for a tensor whose scale is missing.
    """
    named = {graph.input: graph.input, **{node.output: node.name for node in graph.nodes}}
    found = {INPUT: _scale(scales, graph.input)}
    for edge in (graph.input, *(node.output for node in graph.nodes)):
        if edge == graph.output:
            continue
        readers, maker = graph.consumers(edge), graph.producer(edge)
        fused = len(readers) == 1 and isinstance(readers[0], Relu)
        scale = _scale(scales, readers[0].name if fused else named[edge])
        if isinstance(maker, Pool):
            found[pooled_tensor(maker)] = scale
        found[edge_tensor(graph, edge)] = scale
    return found


def _scale(scales: Mapping[str, float], layer: str) -> float:
    if layer not in scales:
        raise ModelError(f"layer {layer!r} has no scale: calibrate the model on more faces")
    return scales[layer]
