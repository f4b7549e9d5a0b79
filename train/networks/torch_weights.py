"""Weights that PyTorch models were saved with, as named tensors, into graphs of Keras."""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edge_emotion.errors import BackendUnavailable
from train.data.faces import DataError
from train.keras import K

Layer = Any
Array = npt.NDArray[np.float32]
Tensors = dict[str, Array]

TENSOR_FILES = ".npz", ".safetensors"


def read_tensors(path: Path) -> Tensors:
    """The named tensors of a .npz or .safetensors file, as float32, without PyTorch's counters of batches.

    Raises DataError for a file that is missing or broken, BackendUnavailable where safetensors is not installed.
    """
    found = _read_safetensors(path) if path.suffix == ".safetensors" else _read_npz(path)
    return {
        name: np.asarray(tensor, np.float32)
        for name, tensor in found.items()
        if not name.endswith("num_batches_tracked")
    }


def copy_tensors(
    layers: Sequence[Layer], tensors: Tensors, take: Callable[[Tensors, Layer], Sequence[Array]], what: str
) -> None:
    """Copy every tensor, each exactly once. Raises DataError for one that is missing, left over or of another shape.

    ``take`` removes a layer's tensors from those that are left and returns them in Keras' order and layout.
    """
    left = dict(tensors)
    for layer in layers:
        if not layer.weights:
            continue
        try:
            arrays = take(left, layer)
        except KeyError as error:
            raise DataError(f"these weights are not {what}'s: {error} is missing") from error
        needed, given = [tuple(weight.shape) for weight in layer.weights], [array.shape for array in arrays]
        if given != needed:
            raise DataError(f"these weights are not {what}'s: layer {layer.name} needs {needed}, not {given}")
        layer.set_weights(arrays)
    if left:
        raise DataError(f"these weights are not {what}'s: {len(left)} left over, such as {next(iter(left))!r}")


def take_layer(left: Tensors, layer: Layer, name: str) -> list[Array]:
    """Remove the tensors ``name``.* of a convolution, a dense layer or a norm; Keras' order and layout."""
    weight = left.pop(f"{name}.weight")
    if isinstance(layer, K.layers.BatchNormalization):
        return [weight, *(left.pop(f"{name}.{part}") for part in ("bias", "running_mean", "running_var"))]
    bias = [left.pop(f"{name}.bias")] if len(layer.weights) == 2 else []
    return [_kernel(weight, layer), *bias]


def _kernel(weight: Array, layer: Layer) -> Array:
    """Out, in, height, width -> height, width, in, out; a norm's scale has no axes to swap."""
    if weight.ndim != 4:
        return np.asarray(weight.T)
    axes = (2, 3, 0, 1) if isinstance(layer, K.layers.DepthwiseConv2D) else (2, 3, 1, 0)
    return np.asarray(weight.transpose(axes))


def _read_npz(path: Path) -> dict[str, npt.NDArray[Any]]:
    try:
        with np.load(path, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except (OSError, ValueError, AttributeError, zipfile.BadZipFile) as error:
        raise DataError(f"cannot read weights {path}: {error}") from error


def _read_safetensors(path: Path) -> dict[str, npt.NDArray[Any]]:
    try:
        from safetensors import SafetensorError
        from safetensors.numpy import load_file
    except ImportError as error:
        raise BackendUnavailable(f"to read weights {path}: pip install safetensors") from error
    try:
        found: dict[str, npt.NDArray[Any]] = load_file(path)
    except (OSError, KeyError, SafetensorError) as error:
        raise DataError(f"cannot read weights {path}: {error}") from error
    return found
