"""Small ONNX networks, and the TensorRT backend over one of them on a fake of NVIDIA's packages."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edge_emotion.backends.tensorrt import TensorRtBackend
from support.cuda_fake import FakeCuda
from support.nvidia_surface import CUDA, TENSORRT
from support.tensorrt_fake import FakeTensorRt

PAIRS = tuple(zip(TENSORRT, CUDA, strict=True))
"""Each TensorRT with one cuda-python, so that each table is used."""


class Network:
    """8 x 8 grey pixels -> convolution, clip, mean, dense -> 3 logits; NHWC outside, NCHW inside."""

    def __init__(self, kind: int = TensorProto.FLOAT, *, batch: int | str = "N", quantised: bool = False) -> None:
        self._type = helper.tensor_dtype_to_np_dtype(kind)
        self._random = np.random.default_rng(7)
        self._nodes: list[onnx.NodeProto] = []
        self._constants: list[onnx.TensorProto] = []
        self._quantised = quantised
        self._build()
        value = helper.make_tensor_value_info
        graph = helper.make_graph(
            self._nodes,
            "small",
            [value("pixels", kind, [batch, 8, 8, 1])],
            [value("logits", kind, [batch, 3]), value("features", kind, [batch, 4])],
            self._constants,
        )
        opset = [helper.make_opsetid("", 13)]
        self.model = helper.make_model(graph, opset_imports=opset, ir_version=8)

    @property
    def content(self) -> bytes:
        return bytes(self.model.SerializeToString())

    def _build(self) -> None:
        self._node("Transpose", "planes", "pixels", perm=[0, 3, 1, 2])
        data, kernel = self._rounded("planes", 1 / 128), self._weights("kernel", (4, 1, 3, 3))
        self._node("Conv", "conv", data, kernel, self._constant("bias", (4,)), pads=[1, 1, 1, 1])
        self._node("Clip", "relu6", "conv", self._value("low", 0.0), self._value("high", 6.0))
        self._node("GlobalAveragePool", "mean", self._rounded("relu6", 6 / 127))
        self._node("Flatten", "features", "mean")
        self._node(
            "Gemm", "logits", "features", self._weights("dense", (3, 4)), self._constant("offset", (3,)), transB=1
        )

    def _node(self, operator: str, output: str, *inputs: str, **attributes: Any) -> str:
        self._nodes.append(helper.make_node(operator, inputs, [output], f"{operator}_{output}", **attributes))
        return output

    def _add(self, name: str, values: Any) -> str:
        self._constants.append(numpy_helper.from_array(np.asarray(values), name))
        return name

    def _value(self, name: str, number: float) -> str:
        return self._add(name, np.array(number, self._type))

    def _constant(self, name: str, shape: tuple[int, ...]) -> str:
        return self._add(name, self._random.normal(0, 0.5, shape).astype(self._type))

    def _weights(self, name: str, shape: tuple[int, ...]) -> str:
        return self._rounded(self._constant(name, shape), np.full(shape[0], 0.02))

    def _rounded(self, name: str, scale: Any) -> str:
        """With Q/DQ: per channel on axis 0 for several scales."""
        if not self._quantised:
            return name
        scales = np.asarray(scale, np.float32)
        shared = [self._add(f"{name}_scale", scales), self._add(f"{name}_zero", np.zeros(scales.shape, np.int8))]
        self._node("QuantizeLinear", f"{name}_q", name, *shared, axis=0)
        return self._node("DequantizeLinear", f"{name}_dq", f"{name}_q", *shared, axis=0)


class Stage:
    """A device with one version of TensorRT, and a folder with a model and the cache."""

    def __init__(
        self, folder: Path, versions: tuple[str, str] = PAIRS[1], *, dla_cores: int = 0, **device: Any
    ) -> None:
        self.cuda = FakeCuda(versions[1], **device)
        self.trt: Any = FakeTensorRt(versions[0], self.cuda, dla_cores=dla_cores)
        self.layout = "cuda.cudart" if versions[1] == "12.2.1" else "cuda.bindings.runtime"
        self.path, self.cache = folder / "small.onnx", folder / "cache"

    @contextmanager
    def installed(self) -> Iterator[None]:
        """``import tensorrt`` and ``import cuda`` find these, and nothing that is really installed."""
        with pytest.MonkeyPatch.context() as patch:
            for name in ("cuda.bindings.runtime", "cuda.cudart"):
                patch.setitem(sys.modules, name, self.cuda if name == self.layout else None)
            patch.setitem(sys.modules, "tensorrt", self.trt)
            yield

    def backend(self, content: bytes | None = None, **options: Any) -> TensorRtBackend:
        """By default of the float network."""
        self.path.write_bytes(content or Network().content)
        digest = sha256(self.path.read_bytes()).hexdigest()
        with self.installed():
            return TensorRtBackend(
                self.path, **{"sha256": digest, "precision": "float32", "cache_dir": self.cache, **options}
            )


def pixels(count: int, seed: int = 0) -> Any:
    return np.random.default_rng(seed).uniform(-1, 1, (count, 8, 8, 1)).astype(np.float32)
