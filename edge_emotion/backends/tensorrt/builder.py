"""From ONNX to a plan, TensorRT's compiled engine for one GPU: one builder for TensorRT 8.6, 10 and 11.

Up to TensorRT 10 a network may be *weakly typed*: the builder chooses types among those that flags allow. From 10 on
it may be, from 11 on it is *strongly typed*: every type is the file's own, and the flags are not allowed or gone.
TensorRT Developer Guide, "Working with Quantized Types", "Working with DLA", https://docs.nvidia.com/deeplearning/tensorrt.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from edge_emotion.backends.tensorrt.calibration import calibration_cache, calibrator
from edge_emotion.backends.tensorrt.libraries import logger
from edge_emotion.errors import BackendUnavailable, ModelError
from edge_emotion.models.manifest import Precision

USUAL_BATCH = 1
"""Kernels are chosen to be fastest for it: most pictures show one face."""

WORKSPACE = 256 << 20
"""Bytes that a layer may use while it runs. A Jetson's GPU shares its memory with everything else."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class BuildOptions:
    """What an engine is to be: its ``precision``, up to ``max_batch`` inputs, on a DLA core instead of the GPU.

    ``scales`` (tensor name -> symmetric scale) calibrate a float file to int8, where it has no Q/DQ nodes.
    """

    precision: Precision
    max_batch: int
    dla_core: int | None = None
    scales: Mapping[str, float] | None = None


def build_plan(trt: Any, onnx: bytes, options: BuildOptions, timing_cache: bytes) -> tuple[bytes, bytes]:
    """The plan, and the timing cache grown by what this build measured.

    Raises ModelError for a file that TensorRT cannot build, BackendUnavailable for options that this TensorRT or this
    device does not have.
    """
    builder = trt.Builder(logger(trt)[0])
    _check_device(trt, builder, options)
    network = builder.create_network(_creation_flags(trt, options))
    parser = trt.OnnxParser(network, logger(trt)[0])  # it owns the weights
    _parse(trt, parser, onnx)
    _check_types(trt, network, options)
    config = builder.create_builder_config()
    config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, WORKSPACE)
    config.add_optimization_profile(_batch_profile(builder, network, options))
    _share_profile(trt, config)
    _choose_types(trt, config, options)
    _choose_device(trt, config, options)
    timings = _attach_timing_cache(config, timing_cache)
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        raise ModelError(f"TensorRT {trt.__version__} cannot build it: {logger(trt)[1].reason()}")
    return bytes(plan), bytes(timings.serialize())


def _strongly_typed(trt: Any, options: BuildOptions) -> bool:
    """A DLA and a calibrator know weakly typed networks only, so these stay weak for as long as there are any."""
    if not hasattr(trt.BuilderFlag, "FP16"):
        return True
    weak = options.scales is not None or options.dla_core is not None
    return hasattr(trt.NetworkDefinitionCreationFlag, "STRONGLY_TYPED") and not weak


def _check_device(trt: Any, builder: Any, options: BuildOptions) -> None:
    if options.dla_core is not None and not 0 <= options.dla_core < builder.num_DLA_cores:
        raise BackendUnavailable(
            f"this device has no DLA core {options.dla_core} (it has {builder.num_DLA_cores}): build for the GPU"
        )
    if options.scales is not None and not hasattr(trt, "IInt8EntropyCalibrator2"):
        raise BackendUnavailable(
            f"TensorRT {trt.__version__} has no calibrators: use the int8 ONNX file with Q/DQ nodes, without scales"
        )


def _creation_flags(trt: Any, options: BuildOptions) -> int:
    flags = 0
    creation = trt.NetworkDefinitionCreationFlag
    if hasattr(creation, "EXPLICIT_BATCH"):
        flags |= 1 << int(creation.EXPLICIT_BATCH)
    if hasattr(creation, "STRONGLY_TYPED") and _strongly_typed(trt, options):
        flags |= 1 << int(creation.STRONGLY_TYPED)
    return flags


def _parse(trt: Any, parser: Any, onnx: bytes) -> None:
    if parser.parse(onnx):
        return
    if not parser.num_errors:
        raise ModelError(f"TensorRT {trt.__version__} cannot read it as ONNX: {logger(trt)[1].reason()}")
    fault = parser.get_error(0)
    raise ModelError(f"TensorRT {trt.__version__} cannot read it as ONNX: node {fault.node()}: {fault.desc()}")


def _check_types(trt: Any, network: Any, options: BuildOptions) -> None:
    """Nothing turns a float32 file into another one on the way, so an engine must not be called int8 or float16."""
    layers = [network.get_layer(index) for index in range(network.num_layers)]
    if options.precision == "int8" and options.scales is None and not _quantised(trt, layers):
        raise ModelError("it has no Q/DQ nodes, so it cannot run in int8: use the int8 ONNX file, or give scales")
    if options.precision == "float16" and _strongly_typed(trt, options) and not _half(trt, layers):
        raise ModelError(
            f"it has no float16 tensors, and TensorRT {trt.__version__} makes none: use the float16 ONNX "
            "file that python -m convert onnx writes"
        )


def _quantised(trt: Any, layers: Sequence[Any]) -> bool:
    return any(layer.type == trt.LayerType.QUANTIZE for layer in layers)


def _half(trt: Any, layers: Sequence[Any]) -> bool:
    tensors = (layer.get_output(index) for layer in layers for index in range(layer.num_outputs))
    return any(tensor.dtype == trt.DataType.HALF for tensor in tensors)


def _batch_profile(builder: Any, network: Any, options: BuildOptions) -> Any:
    if network.num_inputs != 1:
        raise ModelError(f"it has {network.num_inputs} inputs, expected one")
    tensor = network.get_input(0)
    batch, *rest = tensor.shape
    if batch not in (-1, 1) or len(rest) != 3 or -1 in rest:
        raise ModelError(f"its input is {(batch, *rest)}, expected N x height x width x channels, only N variable")
    single = batch == 1 or options.dla_core is not None  # a DLA takes one batch size only
    sizes = (1, 1, 1) if single else (1, USUAL_BATCH, options.max_batch)
    profile = builder.create_optimization_profile()
    profile.set_shape(tensor.name, *((size, *rest) for size in sizes))
    return profile


def _share_profile(trt: Any, config: Any) -> None:
    """Each batch size has a context of its own; 8.6 must be told that they may have one profile between them."""
    if hasattr(trt.PreviewFeature, "PROFILE_SHARING_0806"):
        config.set_preview_feature(trt.PreviewFeature.PROFILE_SHARING_0806, True)


def _choose_types(trt: Any, config: Any, options: BuildOptions) -> None:
    if options.precision == "float32":
        config.clear_flag(trt.BuilderFlag.TF32)  # its 10 bits of mantissa are not what float32 promises
    if _strongly_typed(trt, options) or options.precision == "float32":
        return
    config.set_flag(trt.BuilderFlag.FP16)  # with int8, for what is not quantised
    if options.precision == "int8":
        config.set_flag(trt.BuilderFlag.INT8)
    if options.scales is not None:
        config.int8_calibrator = calibrator(trt, calibration_cache(trt, options.scales))


def _choose_device(trt: Any, config: Any, options: BuildOptions) -> None:
    if options.dla_core is None:
        return
    config.default_device_type = trt.DeviceType.DLA
    config.DLA_core = options.dla_core
    config.set_flag(trt.BuilderFlag.GPU_FALLBACK)  # a DLA lacks some layers


def _attach_timing_cache(config: Any, content: bytes) -> Any:
    """How long kernels took in earlier builds; one of another device or damaged starts empty.

    Returns the cache, which must live until the engine is built: TensorRT does not own it.
    """
    cache = config.create_timing_cache(content)
    if cache is None or not config.set_timing_cache(cache, False):
        log.debug("the timing cache is of another device: started anew")
        cache = config.create_timing_cache(b"")
        config.set_timing_cache(cache, False)
    return cache
