"""The backend itself: which engine, from the cache or built, and running it."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from edge_emotion.backends.batches import MAX_BATCH, check_batch, run_in_pieces
from edge_emotion.backends.tensorrt.builder import BuildOptions, build_plan
from edge_emotion.backends.tensorrt.cache import EngineCache, Key
from edge_emotion.backends.tensorrt.calibration import calibration_cache
from edge_emotion.backends.tensorrt.cuda import Cuda, Device
from edge_emotion.backends.tensorrt.libraries import load_tensorrt, logger
from edge_emotion.backends.tensorrt.runner import EngineRunner
from edge_emotion.errors import ConfigError, ModelError
from edge_emotion.models.manifest import Precision
from edge_emotion.protocols import FloatArray, ModelInput

BUILDER_REVISION = 1
"""Raise it when ``builder`` makes other engines of the same file."""

log = logging.getLogger(__name__)


class TensorRtBackend:
    """One ONNX file as a TensorRT engine, built on this device at the first use and kept in ``cache_dir``.

    ``sha256`` is that of the file, ``precision`` what the file was made for: int8 with Q/DQ nodes, or float. With
    ``scales`` (tensor name -> symmetric scale) TensorRT 8.6 and 10 make int8 of a float file. ``dla_core`` names one of
    an Orin's deep learning accelerators, which run float16, or int8 by ``scales``, one input at a time.
    ``cuda_graphs`` can be switched off, for comparison.

    Raises BackendUnavailable without TensorRT, cuda-python, a GPU or what the options ask of them; ModelError for a
    file that cannot be built; ConfigError for options that exclude each other.
    """

    def __init__(
        self,
        path: Path,
        *,
        sha256: str,
        precision: Precision,
        cache_dir: Path,
        dla_core: int | None = None,
        scales: Mapping[str, float] | None = None,
        cuda_graphs: bool = True,
    ) -> None:
        _check_options(precision, dla_core, scales)
        self._trt = load_tensorrt()
        self._path, self._sha256 = path, sha256
        self._options = BuildOptions(precision, MAX_BATCH, dla_core, scales)
        place = "" if dla_core is None else f" on DLA core {dla_core}"
        self.name = f"TensorRT {self._trt.__version__}{place}"
        self._cuda = Cuda()
        self._open = True
        self._runtime = self._trt.Runtime(logger(self._trt)[0])
        if dla_core is not None:
            self._runtime.DLA_core = dla_core
        try:
            with _naming(path):
                engine = self._engine(EngineCache(cache_dir, _cache_name(path, precision, dla_core)))
                self._runner = EngineRunner(self._trt, self._cuda, engine, graphs=cuda_graphs)
        except BaseException:
            self._cuda.close()
            raise

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Height, width, channels."""
        return self._runner.input_shape

    @property
    def output_shapes(self) -> tuple[tuple[int, ...], ...]:
        """Without the batch axis, in the file's order."""
        return self._runner.output_shapes

    def run(self, batch: ModelInput) -> tuple[FloatArray, ...]:
        """Float in, float out. Raises ModelError for another input shape, and for what fails on the device."""
        check_batch(self._path, batch, self.input_shape)
        if not self._open:
            raise ModelError(f"{self._path}: it was closed; make the backend anew")
        with _naming(self._path):
            return run_in_pieces(self._runner.run, batch, self._runner.max_batch)

    def close(self) -> None:
        """Free what it holds on the device."""
        if self._open:
            self._open = False
            self._runner.close()
            self._cuda.close()

    def _engine(self, cache: EngineCache) -> Any:
        """The cached engine if it still fits, else a new one."""
        key = self._key(self._cuda.device)
        plan, reason = cache.load(key)
        if plan is not None:
            engine = self._runtime.deserialize_cuda_engine(plan)
            if engine is not None:
                return engine
            reason = f"TensorRT does not take the one in {cache.plan_path}: {self._reason()}"
        log.warning("building an engine for %s, which takes minutes: %s", self._path.name, reason)
        plan, timings = build_plan(self._trt, self._content(), self._options, cache.load_timings(key))
        cache.store(key, plan)
        cache.store_timings(key, timings)
        engine = self._runtime.deserialize_cuda_engine(plan)
        if engine is None:
            raise ModelError(f"TensorRT does not take the engine that it has built: {self._reason()}")
        return engine

    def _key(self, device: Device) -> Key:
        options = self._options
        scales = None if options.scales is None else calibration_cache(self._trt, options.scales)
        return {
            "TensorRT": self._trt.__version__,
            "GPU": device.name,
            "compute capability": device.compute_capability,
            "precision": options.precision,
            "batch": f"1..{options.max_batch}",
            "DLA core": str(options.dla_core),
            "model": self._sha256,
            "scales": "none" if scales is None else hashlib.sha256(scales).hexdigest(),
            "builder": str(BUILDER_REVISION),
        }

    def _content(self) -> bytes:
        try:
            content = self._path.read_bytes()
        except OSError as error:
            raise ModelError(f"cannot be read: {error.strerror}") from error
        if hashlib.sha256(content).hexdigest() != self._sha256:
            raise ModelError(
                f"its sha256 is not {self._sha256[:12]}...: the file was changed or damaged; install it again"
            )
        return content

    def _reason(self) -> str:
        return logger(self._trt)[1].reason()


def _check_options(precision: Precision, dla_core: int | None, scales: Mapping[str, float] | None) -> None:
    if scales is not None and precision != "int8":
        raise ConfigError(f"scales make an int8 engine, not {precision}: use precision int8 or leave them out")
    if dla_core is not None and precision == "float32":
        raise ConfigError("a DLA does not compute in float32: use precision float16, or int8 with scales")
    if dla_core is not None and precision == "int8" and scales is None:
        raise ConfigError("a DLA does not take Q/DQ nodes: give scales for int8, or use precision float16")


def _cache_name(path: Path, precision: Precision, dla_core: int | None) -> str:
    """Files of the same name in two model folders must not drive out each other."""
    return f"{path.resolve().parent.name}.{path.stem}.{precision}" + ("" if dla_core is None else f".dla{dla_core}")


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Errors say which model they are about."""
    try:
        yield
    except ModelError as error:
        raise ModelError(f"{path}: {error}") from error
