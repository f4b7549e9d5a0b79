"""YuNet as its authors describe it, written down for onnxruntime: what the Keras graph is compared with.

Nothing of the code under test is used but the names of the published arrays: channels come first, padding is explicit,
pooling and upsampling are ONNX' own, class and objectness are computed apart.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

Array = npt.NDArray[np.float32]
UNITS = {
    "backbone__model0_dp": (16, 16),
    **{
        f"backbone__model{index}_dp{half}": (inner, inner if half == 1 else outer)
        for index, (inner, outer) in enumerate(((16, 32), (32, 64), (64, 64), (64, 64), (64, 64)), 1)
        for half in (1, 2)
    },
    **{f"neck__lateral_convs__{level}": (64, 64) for level in range(3)},
    **{
        f"bbox_head__multi_level_{head}__{level}": (64, values)
        for level in range(3)
        for head, values in (("cls", 1), ("obj", 1), ("bbox", 4))
    },
}
"""Channels in and out of each pair of a 1 x 1 and a depthwise convolution."""


def random_weights(seed: int) -> dict[str, Array]:
    """Arrays with the names and sizes of the published ones, drawn so that no layer fades or explodes."""
    generator = np.random.default_rng(seed)

    def draw(count: int, inputs: int) -> Array:
        return np.asarray(generator.normal(0, np.sqrt(2 / inputs), count), np.float32)

    stem = draw(16 * 32, 27).reshape(16, 32) / 128
    stem[:, 27:] = 0
    weights = {"backbone__model0_pw_weight": stem.ravel(), "backbone__model0_pw_bias": draw(16, 50)}
    for name, (inner, outer) in UNITS.items():
        weights[f"{name}_pw_weight"], weights[f"{name}_pw_bias"] = draw(inner * outer, inner), draw(outer, 50)
        weights[f"{name}_dw_weight"], weights[f"{name}_dw_bias"] = draw(9 * outer, 9), draw(outer, 50)
    return weights


def yunet_onnx(weights: Mapping[str, Array], height: int, width: int) -> bytes:
    """A model: pixels 1 x 3 x H x W (B, G, R) -> cls, obj and bbox of each stride, raw, channels first."""
    nodes: list[Any] = []
    constants: dict[str, npt.NDArray[Any]] = {}

    def add(kind: str, inputs: list[str], name: str, **attributes: Any) -> str:
        nodes.append(helper.make_node(kind, inputs, [name], **attributes))
        return name

    def convolve(value: str, name: str, kernel: Array, bias: Array, *, relu: bool = False, **attributes: Any) -> str:
        constants[f"{name}.w"], constants[f"{name}.b"] = kernel, bias
        done = add("Conv", [value, f"{name}.w", f"{name}.b"], name, **attributes)
        return add("Relu", [done], f"{name}.relu") if relu else done

    def unit(value: str, name: str, *, relu: bool = True) -> str:
        inner, outer = UNITS[name]
        kernel = weights[f"{name}_pw_weight"].reshape(outer, inner, 1, 1)
        value = convolve(value, f"{name}_pw", kernel, weights[f"{name}_pw_bias"])
        kernel = weights[f"{name}_dw_weight"].reshape(3, 3, outer).transpose(2, 0, 1)[:, None]
        bias = weights[f"{name}_dw_bias"]
        return convolve(value, f"{name}_dw", kernel, bias, relu=relu, group=outer, pads=[1, 1, 1, 1])

    stem = weights["backbone__model0_pw_weight"].reshape(16, 32)[:, :27].reshape(16, 3, 3, 3).transpose(0, 3, 1, 2)
    value = convolve(
        "pixels", "stem", stem, weights["backbone__model0_pw_bias"], relu=True, strides=[2, 2], pads=[1, 1, 1, 1]
    )
    value, levels = unit(value, "backbone__model0_dp"), []
    for index in range(6):
        if index:
            value = unit(unit(value, f"backbone__model{index}_dp1"), f"backbone__model{index}_dp2")
        if index >= 3:
            levels.append(value)
        if index in (0, 2, 3, 4):
            value = add("MaxPool", [value], f"pool{index}", kernel_shape=[2, 2], strides=[2, 2], ceil_mode=1)
    constants["twice"] = np.array([1, 1, 2, 2], np.float32)
    constants["from"], constants["axes"] = np.array([0, 0], np.int64), np.array([2, 3], np.int64)
    sizes = [(-(-height // stride), -(-width // stride)) for stride in (8, 16, 32)]
    for level in (2, 1, 0):
        if level < 2:
            constants[f"size{level}"] = np.array(sizes[level], np.int64)
            up = add(
                "Resize", [levels[level + 1], "", "twice"], f"up{level}",
                mode="nearest", coordinate_transformation_mode="asymmetric", nearest_mode="floor",
            )  # fmt: skip
            cut = add("Slice", [up, "from", f"size{level}", "axes"], f"cut{level}")
            levels[level] = add("Add", [levels[level], cut], f"sum{level}")
        levels[level] = unit(levels[level], f"neck__lateral_convs__{level}")
    outputs = [
        unit(levels[level], f"bbox_head__multi_level_{head}__{level}", relu=False)
        for level in range(3)
        for head in ("cls", "obj", "bbox")
    ]
    graph = helper.make_graph(
        nodes,
        "yunet",
        [helper.make_tensor_value_info("pixels", TensorProto.FLOAT, [1, 3, height, width])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, None, None, None]) for name in outputs],
        [numpy_helper.from_array(np.ascontiguousarray(array), name) for name, array in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())
