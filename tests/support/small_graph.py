"""An export graph with one node of each kind, and scales for it: for tests of what writes and reads ONNX."""

from __future__ import annotations

import numpy as np

from convert.onnx.graph import Add, Conv, Dense, Graph, Pool, Relu
from convert.onnx.scales import Scales

RANDOM = np.random.default_rng(0)


def conv(name: str, source: str, inputs: int, outputs: int, width: int = 3) -> Conv:
    return Conv(
        name,
        (source,),
        name,
        kernel=RANDOM.normal(size=(outputs, inputs, width, width)).astype(np.float32),
        bias=np.ones(outputs, np.float32),
        strides=(1, 1),
        dilations=(1, 1),
        pads=(width // 2, width // 2, width // 2, width // 2),
        groups=1,
    )


def dense(name: str, source: str, inputs: int, outputs: int) -> Dense:
    ones = np.ones(outputs, np.float32)
    kernel = RANDOM.normal(size=(outputs, inputs)).astype(np.float32)
    return Dense(name, (source,), name, kernel=kernel, bias=ones)


GRAPH = Graph(
    name="small",
    input="pixels",
    shape=(8, 8, 3),
    nodes=(
        conv("stem", "pixels", 3, 4),
        Relu("stem_relu", ("stem",), "stem_relu", limit=6.0),
        conv("project", "stem_relu", 4, 4, 1),
        Add("sum", ("stem_relu", "project"), "sum"),
        Pool("pool", ("sum",), "pool"),
        dense("fc", "pool", 4, 5),
    ),
    output="fc",
    classes=5,
)
SCALES = Scales(
    dict.fromkeys(("pixels", "stem_relu", "project", "sum", "pool"), 0.05),
    {node.name: np.full(len(node.bias), 0.02, np.float32) for node in GRAPH.weighted},
)
