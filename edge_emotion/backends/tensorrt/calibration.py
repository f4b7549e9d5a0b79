"""Scales of a float model's tensors, measured on real faces by ``convert``, in the form that TensorRT's builder reads.

Only for TensorRT 8.6 and 10, and only for models without Q/DQ nodes, which hold these scales in the model's file.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from edge_emotion.backends.tensorrt.libraries import version
from edge_emotion.errors import ModelError


def calibration_cache(trt: Any, scales: Mapping[str, float]) -> bytes:
    """``cache_of_scales`` for this TensorRT."""
    return cache_of_scales(version(trt), scales)


def cache_of_scales(trt_version: Sequence[int], scales: Mapping[str, float]) -> bytes:
    """Tensor name -> symmetric scale (largest magnitude / 127) as a cache of TensorRT's entropy calibrator 2.

    A line of text per tensor: its name and the scale as a big-endian float32 in hexadecimal, after a first line with
    the version of TensorRT, which refuses the cache of another one. Raises ModelError for a scale that is none.
    """
    major, minor, patch = trt_version
    number = major * 1000 + minor * 100 + patch if major < 10 else major * 10000 + minor * 100 + patch
    lines = [f"TRT-{number}-EntropyCalibration2"]
    for name, scale in scales.items():
        if not 0 < scale < float("inf"):
            raise ModelError(f"scale of tensor {name!r} is {scale}, expected a positive number: calibrate again")
        lines.append(f"{name}: {struct.pack('>f', scale).hex()}")
    return "\n".join([*lines, ""]).encode()


def read_scales(path: Path) -> dict[str, float]:
    """The scales in a calibration cache, whatever version of TensorRT it is for. Raises ModelError if it is none."""
    try:
        header, *lines = path.read_text(encoding="utf-8").splitlines()
        pairs = [line.rsplit(": ", 1) for line in lines]
        scales = {name: float(struct.unpack(">f", bytes.fromhex(scale))[0]) for name, scale in pairs}
    except OSError as error:
        raise ModelError(f"cannot read calibration cache {path}: {error.strerror}") from error
    except (ValueError, struct.error):
        header, scales = "", {}
    if not header.startswith("TRT-") or not scales:
        raise ModelError(f"{path} is no calibration cache: python -m convert onnx --calibration-cache writes one")
    return scales


def calibrator(trt: Any, cache: bytes) -> Any:
    """An ``IInt8EntropyCalibrator2`` that has no pictures, only the cache."""

    class CacheOnly(trt.IInt8EntropyCalibrator2):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.IInt8EntropyCalibrator2.__init__(self)

        def get_batch_size(self) -> int:
            return 1

        def get_batch(self, names: list[str]) -> None:
            return None

        def read_calibration_cache(self) -> bytes:
            return cache

        def write_calibration_cache(self, cache: bytes) -> None:
            """Do nothing: the cache was read from a file."""

    return CacheOnly()
