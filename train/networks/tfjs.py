"""Weight files of TensorFlow.js: a list of tensors in JSON, and their values one after the other in a binary file."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from train.data.faces import DataError

Tensors = dict[str, npt.NDArray[np.float32]]


def read_tfjs(entries: Iterable[Mapping[str, Any]], content: bytes, name: str) -> Tensors:
    """Name -> float32 values. Tensors of whole numbers of 8 bits become ``value * scale + min``, as they were stored.

    ``name`` is the file's, for errors. Raises DataError for a file of another length than its list says.
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
