"""Small ONNX files, made by hand, for tests of what reads them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

SHAPE = (6, 6, 1)


def write_model(
    path: Path,
    *,
    batch: str | int = "N",
    shape: Sequence[str | int] = SHAPE,
    kind: int = TensorProto.FLOAT,
    outputs: int = 1,
    classes: int = 3,
) -> Path:
    """N x H x W x C -> as many outputs N x classes: sums of the pixels under masks, times 1, 2, ..."""
    pixels = helper.make_tensor_value_info("pixels", kind, [batch, *shape])
    masks = np.random.default_rng(0).normal(
        size=(int(np.prod([size for size in shape if isinstance(size, int)])), classes)
    )
    dtype = helper.tensor_dtype_to_np_dtype(kind)
    constants = [numpy_helper.from_array((masks * (n + 1)).astype(dtype), f"masks_{n}") for n in range(outputs)]
    nodes = [helper.make_node("Flatten", ["pixels"], ["flat"], "flatten")]
    nodes += [helper.make_node("MatMul", ["flat", f"masks_{n}"], [f"out_{n}"], f"sum_{n}") for n in range(outputs)]
    results = [helper.make_tensor_value_info(f"out_{n}", kind, [batch, classes]) for n in range(outputs)]
    graph = helper.make_graph(nodes, "sums", [pixels], results, constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.save(model, path)
    return path
