"""TensorRT without a GPU: each version's own surface, its rules that matter here, and onnxruntime for the numbers."""

from __future__ import annotations

import ctypes
import enum
import json
import types
import weakref
from typing import Any

import numpy as np
import onnx
import onnxruntime

from support.cuda_fake import FakeCuda
from support.nvidia_surface import guarded, table

ONNX_TYPES = {onnx.TensorProto.FLOAT: "FLOAT", onnx.TensorProto.FLOAT16: "HALF", onnx.TensorProto.INT8: "INT8"}
NUMPY_TYPES = {"FLOAT": np.float32, "HALF": np.float16}
LAYERS = {"QuantizeLinear": "QUANTIZE", "DequantizeLinear": "DEQUANTIZE", "Conv": "CONVOLUTION"}


class FakeTensorRt(types.ModuleType):
    """The module ``tensorrt`` of one version, on the GPU of a FakeCuda, with ``dla_cores``.

    ``builds`` has one record per engine built. ``refuses`` lets the next build fail with this message.
    """

    def __init__(self, version: str, cuda: FakeCuda, *, dla_cores: int = 0) -> None:
        super().__init__("tensorrt")
        self.__version__ = version
        self.cuda, self.dla_cores = cuda, dla_cores
        self.builds: list[dict[str, Any]] = []
        self.refuses = ""
        self._rows = table("tensorrt", version)
        for name, rows in self._rows.items():
            if "." not in name:
                setattr(self, name, self._class(name, rows) if "__init__" in rows else enum.IntEnum(name, rows))
        for name, rows in self._rows.items():
            owner, _, inner = name.partition(".")
            if inner:
                setattr(getattr(self, owner), inner, enum.IntEnum(inner, rows))

    def _class(self, name: str, rows: dict[str, Any]) -> type:
        return guarded(name, rows, type(name, (IMPLEMENTATIONS.get(name, object),), {"_trt": self}))

    def _make(self, kind: str, /, **values: Any) -> Any:
        made = getattr(self, kind)()
        made.__dict__.update(values)
        return made

    def report(self, logger: Any, message: str) -> None:
        logger.log(self.ILogger.Severity.ERROR, message)
        logger.log(self.ILogger.Severity.ERROR, "an internal assertion that follows from it")


class Builder:
    _trt: FakeTensorRt

    def __init__(self, logger: Any) -> None:
        assert isinstance(logger, self._trt.ILogger)
        self._logger = logger

    platform_has_fast_fp16 = platform_has_fast_int8 = True

    @property
    def num_DLA_cores(self) -> int:  # noqa: N802
        return self._trt.dla_cores

    def create_network(self, flags: int = 0) -> Any:
        creation = self._trt.NetworkDefinitionCreationFlag
        names = {flag.name for flag in creation if flags & 1 << flag}
        assert flags == sum(1 << creation[name] for name in names)
        return self._trt._make("INetworkDefinition", _flags=names)

    def create_builder_config(self) -> Any:
        on = {self._trt.BuilderFlag.TF32}
        return self._trt._make("IBuilderConfig", _set=on, _profiles=[], _pools={}, _features=set())

    def create_optimization_profile(self) -> Any:
        return self._trt._make("IOptimizationProfile", _shapes={})

    def build_serialized_network(self, network: Any, config: Any) -> memoryview | None:
        reason = self._trt.refuses or broken_rule(self._trt, network, config)
        if reason:
            self._trt.report(self._logger, reason)
            return None
        calibration = getattr(config, "int8_calibrator", None)
        timings = config._timings()
        assert timings is not None, "the timing cache was freed before the build"
        record = {
            "version": self._trt.__version__,
            "creation": sorted(network._flags),
            "flags": sorted(flag.name for flag in config._set),
            "profile": config._profiles[0]._shapes,
            "workspace": config._pools["WORKSPACE"],
            "features": sorted(config._features),
            "dla": config.__dict__.get("DLA_core"),
            "calibration": None if calibration is None else calibration.read_calibration_cache().decode(),
            "timings": timings._content.decode(),
        }
        self._trt.builds.append(record)
        timings.__dict__["_content"] += b"measured;"
        return memoryview(json.dumps(record).encode() + b"\n" + network._content)


def broken_rule(trt: FakeTensorRt, network: Any, config: Any) -> str:
    """What this version's builder would refuse."""
    flags = {flag.name for flag in config._set}
    weak_exists = hasattr(trt.BuilderFlag, "FP16")
    strong = "STRONGLY_TYPED" in network._flags or not weak_exists
    types = {layer.type.name for layer in network._layers}
    calibrator = config.__dict__.get("int8_calibrator")
    on_dla = config.__dict__.get("default_device_type") is trt.DeviceType.DLA
    (shapes,) = config._profiles[0]._shapes.values()
    if strong and flags & {"FP16", "INT8"}:
        return "precision flags are not allowed in a strongly typed network"
    if not strong and "QUANTIZE" in types and "INT8" not in flags:
        return "Q/DQ nodes need the flag INT8"
    if not strong and "HALF" in {layer.get_output(0).dtype.name for layer in network._layers} and "FP16" not in flags:
        return "float16 tensors need the flag FP16"
    if "INT8" in flags and "QUANTIZE" not in types and calibrator is None:
        return "int8 needs a calibrator"
    if on_dla and (
        "GPU_FALLBACK" not in flags or shapes[0] != shapes[2] or (strong and weak_exists) or "QUANTIZE" in types
    ):
        return "not for a DLA"
    return ""


class IBuilderConfig:
    _trt: FakeTensorRt
    int8_calibrator = None

    def set_flag(self, flag: Any) -> None:
        self._set.add(flag)

    def clear_flag(self, flag: Any) -> None:
        self._set.discard(flag)

    def set_memory_pool_limit(self, pool: Any, pool_size: int) -> None:
        self._pools[pool.name] = pool_size

    def set_preview_feature(self, feature: Any, enable: bool) -> None:
        self._features.add(feature.name)

    def add_optimization_profile(self, profile: Any) -> int:
        self._profiles.append(profile)
        return 0

    def create_timing_cache(self, serialized_timing_cache: bytes) -> Any:
        return self._trt._make("ITimingCache", _content=bytes(serialized_timing_cache))

    def set_timing_cache(self, cache: Any, ignore_mismatch: bool) -> bool:
        self.__dict__["_timings"] = weakref.ref(cache)
        return cache._content == b"" or cache._content.endswith(b"measured;")


class ITimingCache:
    def serialize(self) -> memoryview:
        return memoryview(self._content)


class IOptimizationProfile:
    def set_shape(self, input: str, min: Any, opt: Any, max: Any) -> None:  # noqa: A002
        self._shapes[input] = [list(min), list(opt), list(max)]


class INetworkDefinition:
    _trt: FakeTensorRt

    def _tensor(self, value: onnx.ValueInfoProto) -> Any:
        kind = value.type.tensor_type
        shape = tuple(axis.dim_value or -1 for axis in kind.shape.dim)
        dtype = self._trt.DataType[ONNX_TYPES.get(kind.elem_type, "INT32")]
        return self._trt._make("ITensor", name=value.name, shape=shape, dtype=dtype)

    def _read(self, content: bytes) -> None:
        model = onnx.shape_inference.infer_shapes(onnx.load_from_string(content))
        graph = model.graph
        known = {value.name: value for value in (*graph.value_info, *graph.output, *graph.input)}
        kinds = [getattr(self._trt.LayerType, LAYERS.get(node.op_type, "SHUFFLE")) for node in graph.node]
        outputs = [self._tensor(known[node.output[0]]) for node in graph.node]
        layers = [self._trt._make("ILayer", type=kind, _output=it) for kind, it in zip(kinds, outputs, strict=True)]
        inputs = [self._tensor(value) for value in graph.input]
        self.__dict__.update(_content=content, _layers=layers, _inputs=inputs)

    @property
    def num_inputs(self) -> int:
        return len(self._inputs)

    @property
    def num_layers(self) -> int:
        return len(self._layers)

    def get_input(self, index: int) -> Any:
        return self._inputs[index]

    def get_layer(self, index: int) -> Any:
        return self._layers[index]


class ILayer:
    num_outputs = 1

    def get_output(self, index: int) -> Any:
        return self._output


class OnnxParser:
    _trt: FakeTensorRt

    def __init__(self, network: Any, logger: Any) -> None:
        self._network, self._logger, self._errors = network, logger, []

    def parse(self, model: bytes, path: str | None = None) -> bool:
        explicit = hasattr(self._trt.NetworkDefinitionCreationFlag, "EXPLICIT_BATCH")
        assert not explicit or "EXPLICIT_BATCH" in self._network._flags
        try:
            nodes = onnx.load_from_string(model).graph.node
        except Exception as error:  # noqa: BLE001 - protobuf's own
            self._trt.report(self._logger, f"failed to parse ONNX: {type(error).__name__}")
            return False
        strange = [index for index, node in enumerate(nodes) if node.domain]
        self._errors.extend(self._trt._make("ParserError", _node=index) for index in strange)
        if not strange:
            self._network._read(model)
        return not strange

    @property
    def num_errors(self) -> int:
        return len(self._errors)

    def get_error(self, index: int) -> Any:
        return self._errors[index]


class ParserError:
    def node(self) -> int:
        return self._node

    def desc(self) -> str:
        return "no importer for this operator"


class Runtime:
    _trt: FakeTensorRt

    def __init__(self, logger: Any) -> None:
        self._logger = logger

    def deserialize_cuda_engine(self, serialized_engine: bytes) -> Any:
        note, _, content = serialized_engine.partition(b"\n")
        try:
            record = json.loads(note)
        except ValueError:
            self._trt.report(self._logger, "magicTag mismatch")
            return None
        assert record["version"] == self._trt.__version__
        assert record["dla"] == self.__dict__.get("DLA_core")
        return self._trt._make("ICudaEngine", **engine_values(record, content))


def engine_values(record: dict[str, Any], content: bytes) -> dict[str, Any]:
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    tensors = {value.name: value for value in (*session.get_inputs(), *session.get_outputs())}
    return {"_session": session, "_tensors": tensors, "_profile": record["profile"]}


class ICudaEngine:
    _trt: FakeTensorRt

    @property
    def num_io_tensors(self) -> int:
        return len(self._tensors)

    def get_tensor_name(self, index: int) -> str:
        return list(self._tensors)[index]

    def get_tensor_mode(self, name: str) -> Any:
        return self._trt.TensorIOMode["INPUT" if name in self._profile else "OUTPUT"]

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        return tuple(axis if isinstance(axis, int) else -1 for axis in self._tensors[name].shape)

    def get_tensor_profile_shape(self, name: str, profile_index: int) -> Any:
        return self._profile[name]

    def get_tensor_dtype(self, name: str) -> Any:
        kinds = {"tensor(float)": "FLOAT", "tensor(float16)": "HALF", "tensor(int8)": "INT8"}
        return self._trt.DataType[kinds[self._tensors[name].type]]

    def create_execution_context(self, strategy: Any = None) -> Any:
        return self._trt._make("IExecutionContext", _engine=self, _places={})


class IExecutionContext:
    _trt: FakeTensorRt

    def set_optimization_profile_async(self, profile_index: int, stream_handle: int) -> bool:
        self.__dict__["_chosen"] = profile_index
        return profile_index == 0

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        assert self._chosen == 0, "only the first context of an engine has a profile by itself"
        smallest, _, largest = self._engine._profile[name]
        self.__dict__["_shape"] = shape
        return smallest[0] <= shape[0] <= largest[0] and list(shape[1:]) == largest[1:]

    def set_tensor_address(self, name: str, memory: int) -> bool:
        self._places[name] = memory
        return name in self._engine._tensors

    def execute_async_v3(self, stream_handle: int) -> bool:
        assert set(self._places) == set(self._engine._tensors)
        assert stream_handle == 77
        compute = weakref.WeakMethod(self._compute)  # what is queued or captured does not keep a context alive

        def work() -> None:
            alive = compute()
            assert alive is not None, "the context was freed before it was run"
            alive()

        self._trt.cuda.enqueue(work)
        return True

    def _compute(self) -> None:
        gpu, tensors = self._trt.cuda, self._engine._tensors
        (name,) = self._engine._profile
        kind = NUMPY_TYPES[self._engine.get_tensor_dtype(name).name]
        size = int(np.prod(self._shape))
        values = np.frombuffer(gpu.on_device(self._places[name]), kind, size).reshape(self._shape)
        names = [other for other in tensors if other != name]
        for other, result in zip(names, self._engine._session.run(names, {name: values}), strict=True):
            assert result.nbytes <= len(gpu.on_device(self._places[other]))
            ctypes.memmove(self._places[other], result.tobytes(), result.nbytes)


class Subclassed:
    """ILogger and IInt8EntropyCalibrator2: made by us, from their class."""

    def __init__(self) -> None:
        self._made = True


IMPLEMENTATIONS: dict[str, type] = {
    implementation.__name__: implementation
    for implementation in (
        Builder,
        IBuilderConfig,
        ICudaEngine,
        IExecutionContext,
        ILayer,
        INetworkDefinition,
        IOptimizationProfile,
        ITimingCache,
        OnnxParser,
        ParserError,
        Runtime,
    )
} | {"ILogger": Subclassed, "IInt8EntropyCalibrator2": Subclassed}
