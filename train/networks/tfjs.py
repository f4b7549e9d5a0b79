"""Reader of TensorFlow.js weights: a JSON list of tensors, and a binary file with their values in the same order."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from train.data.faces import DataError

Tensors = dict[str, npt.NDArray[np.float32]]


def read_tfjs(entries: Iterable[Mapping[str, Any]], content: bytes, name: str) -> Tensors:
    """Tensor name -> float32 values. Quantised integers become ``value * scale + min``.

    name: of the file, for errors. Raises DataError if the length of the file does not match the sizes in its list.
    """
    tensors, place = {}, 0
    for entry in entries:
        stored = entry.get("quantization", {})
        kind = np.dtype(stored.get("dtype", entry["dtype"])).newbyteorder("<")
        count = int(np.prod(entry["shape"], dtype=np.int64))
        if place + count * kind.itemsize > len(content):
            raise DataError(f"{name} has {len(content)} bytes, too few for its tensor {entry['name']}")
        values = np.frombuffer(content, kind, count, place).reshape(entry["shape"]).astype(np.float32)
        tensors[entry["name"]] = np.asarray(values * stored.get("scale", 1.0) + stored.get("min", 0.0), np.float32)
        place += count * kind.itemsize
    if place != len(content):
        raise DataError(f"{name} has {len(content)} bytes, and its tensors take {place}")
    return tensors
