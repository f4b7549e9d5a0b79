"""Scales of a float model's tensors, measured on real faces by ``convert``, in the form that TensorRT's builder reads.

Only for TensorRT 8.6 and 10, and only where a model is not to have Q/DQ nodes, which say the same within the file.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Any

from edge_emotion.backends.tensorrt.libraries import version
from edge_emotion.errors import ModelError


def calibration_cache(trt: Any, scales: Mapping[str, float]) -> bytes:
    """Tensor name -> symmetric scale (largest magnitude / 127) as a cache of TensorRT's entropy calibrator 2.

    A line of text per tensor: its name and the scale as a big-endian float32 in hexadecimal, after a first line with
    the version of TensorRT, which refuses the cache of another one. Raises ModelError for a scale that is none.
    """
    major, minor, patch = version(trt)
    number = major * 1000 + minor * 100 + patch if major < 10 else major * 10000 + minor * 100 + patch
    lines = [f"TRT-{number}-EntropyCalibration2"]
    for name, scale in scales.items():
        if not 0 < scale < float("inf"):
            raise ModelError(f"scale of tensor {name!r} is {scale}, expected a positive number: calibrate again")
        lines.append(f"{name}: {struct.pack('>f', scale).hex()}")
    return "\n".join([*lines, ""]).encode()


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
            """What was read need not be written."""

    return CacheOnly()
