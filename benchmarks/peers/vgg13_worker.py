"""Worker for the graph of emotion-ferplus: ``python -m benchmarks.peers.vgg13_worker TASK ANSWER``.

VGG13 of Barsoum et al. 2016 (arXiv:1608.01041) as in the ONNX model zoo: 64 x 64 grey, 8,757,704 parameters. The
weights are random: the scores are meaningless and not used, the latency is the same.
"""

from __future__ import annotations

import sys
from itertools import count
from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from benchmarks.harness.video_loop import Array
from benchmarks.peers.worker import one_core, serve

STAGES = (64, 64), (128, 128), (256, 256, 256), (256, 256, 256)
DENSE = 1024, 1024, 8
SIDE = 64


def vgg13(seed: int = 0) -> bytes:
    """The graph as an ONNX file: float32 1 x 1 x 64 x 64 -> 1 x 8."""
    generator, numbers = np.random.default_rng(seed), count()
    nodes: list[Any] = []
    weights: list[Any] = []

    def add(operator: str, source: str, *shapes: tuple[int, ...], **attributes: Any) -> str:
        names = [f"w{next(numbers)}" for _ in shapes]
        for name, shape in zip(names, shapes, strict=True):
            values = generator.standard_normal(shape, np.float32) * np.float32(1 / np.sqrt(np.prod(shape[1:])))
            weights.append(numpy_helper.from_array(values.astype(np.float32), name))
        nodes.append(helper.make_node(operator, [source, *names], [f"e{next(numbers)}"], **attributes))
        return str(nodes[-1].output[0])

    edge, channels = "input", 1
    for stage in STAGES:
        for filters in stage:
            edge = add("Conv", edge, (filters, channels, 3, 3), (filters,), pads=[1, 1, 1, 1])
            edge, channels = add("Relu", edge), filters
        edge = add("MaxPool", edge, kernel_shape=[2, 2], strides=[2, 2])
    edge, channels = add("Flatten", edge), channels * (SIDE // 2 ** len(STAGES)) ** 2
    for index, units in enumerate(DENSE):
        edge = add("Gemm", edge, (units, channels), (units,), transB=1)
        channels = units
        if index < len(DENSE) - 1:
            edge = add("Relu", edge)
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in
            (("input", (1, 1, SIDE, SIDE)), (edge, (1, DENSE[-1])))]  # fmt: skip
    graph = helper.make_graph(nodes, "vgg13", ends[:1], ends[1:], weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


def main(task: str, answer: str) -> None:
    """Do the task in the file ``task`` and write the file ``answer``; formats: worker.py."""
    one_core()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(vgg13(), options, providers=["CPUExecutionProvider"])

    def crop(face: Array) -> Array:
        # np.resize repeats values instead of scaling: the latency does not depend on the values.
        picture = np.resize(face, (1, 1, SIDE, SIDE)).astype(np.float32)
        return np.asarray(session.run(None, {"input": picture})[0][0])

    serve(task, answer, labels=(), packages=["onnx", "onnxruntime", "numpy"], crop=crop)


if __name__ == "__main__":
    main(*sys.argv[1:])
