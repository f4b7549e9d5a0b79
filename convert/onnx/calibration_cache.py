"""Scales of the tensors in a run's float32 ONNX file, for versions of TensorRT that quantise it without Q/DQ nodes."""

from __future__ import annotations

from collections.abc import Mapping

from convert.onnx.graph import Graph, Pool, Relu
from convert.onnx.write import INPUT, edge_tensor, pooled_tensor
from edge_emotion.errors import ModelError


def tensor_scales(graph: Graph, scales: Mapping[str, float]) -> dict[str, float]:
    """Tensor name -> symmetric scale, for the float file of ``graph``, in the order of its tensors.

    scales: layer name in the folded network -> scale of its output, as from ``calibrate`` and ``scales_of``. A tensor
    that only a ReLU reads gets that ReLU's scale: values clipped by it would be clipped by the ReLU or its scale
    anyway. The logits get none, so that they stay float. Raises ModelError for a missing scale.
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
