"""Where a network starts: layers from Keras' .h5 files by their order, and one error for all that does not fit."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from edge_emotion.errors import ConfigError
from train.data.faces import DataError
from train.keras import K
from train.networks.torch_weights import TENSOR_FILES, Tensors, read_tensors

Model = Any
Layer = Any
Arrays = Sequence[npt.NDArray[Any]]


def start(
    model: Model,
    weights: str | None,
    what: str,
    *,
    give: str = "the .h5 of a run of this recipe",
    top: int = 1,
    imagenet: Callable[[], Model] | None = None,
    tensors: Callable[[Model, Tensors], None] | None = None,
) -> Model:
    """``model`` with its weights from ``weights``: a path, 'imagenet' or None, which leaves them random.

    A .h5 holds every layer (a run of this recipe; with another number of classes, the head stays random) or all but
    the last ``top`` ones (Keras' files without top). ``imagenet`` makes Keras' own model with the weights that it
    downloads; ``tensors`` copies a .npz or .safetensors file. ``what`` and ``give`` are the words for the errors:
    which network this is, and which file would do. Raises DataError for weights that are not there or do not fit.
    """
    if weights is None:
        return model
    if weights == "imagenet":
        if imagenet is None:
            raise DataError(f"there are no ImageNet weights of {what} to download: give --weights with {give}, or none")
        _fill(model, _layer_arrays(_download(imagenet, what, give)), top, f"Keras' file is no {what}")
        return model
    path = Path(weights)
    if not path.is_file():
        raise DataError(f"cannot read weights: no weights file {path}; give {give}, or 'none'")
    if tensors is not None and path.suffix in TENSOR_FILES:
        tensors(model, read_tensors(path))
    else:
        _fill(model, _read_h5(path, what, give), top, f"{path} holds no {what}")
    return model


def require_colour(input_shape: tuple[int, int, int], what: str, least: int = 32) -> None:
    """Raises ConfigError for an input that is not three colours of at least ``least`` pixels a side."""
    if input_shape[2] != 3 or min(input_shape[:2]) < least:
        size = "x".join(str(side) for side in input_shape)
        raise ConfigError(f"{what} takes three colours of at least {least}x{least} pixels, not {size}; set input")


def _fill(model: Model, found: Sequence[Arrays], top: int, failure: str) -> None:
    """Copy layers in order. The head is left out where its number of classes differs."""
    layers = [layer for layer in model.layers if layer.weights]
    if len(found) not in (len(layers), len(layers) - top):
        raise DataError(f"{failure}: {len(found)} layers with weights instead of {len(layers) - top} below the head")
    for layer, arrays in zip(layers, found, strict=False):
        arrays = _grey(arrays, layer)
        needed, given = [tuple(weight.shape) for weight in layer.weights], [array.shape for array in arrays]
        if given == needed:
            layer.set_weights(arrays)
        elif layer is not layers[-1] or needed[0][:-1] != given[0][:-1]:
            raise DataError(f"{failure}: layer {layer.name} needs {needed}, not {given}")


def _grey(arrays: Arrays, layer: Layer) -> Arrays:
    """Kernels over RGB summed for one grey channel, which is the same function on grey pictures."""
    grey = arrays[0].ndim == 4 and arrays[0].shape[2] == 3 and tuple(layer.weights[0].shape)[2:3] == (1,)
    return [arrays[0].sum(axis=2, keepdims=True), *arrays[1:]] if grey else arrays


def _layer_arrays(model: Model) -> list[Arrays]:
    """Statistics of the pictures are constants of our graphs, not weights."""
    statistics = K.layers.Normalization
    return [layer.get_weights() for layer in model.layers if layer.weights and not isinstance(layer, statistics)]


def _read_h5(path: Path, what: str, give: str) -> list[Arrays]:
    """The same of a file that Keras saved: weights alone, or a whole model."""
    try:
        with h5py.File(path, "r") as file:
            root = file.get("model_weights", file)
            groups = [root[name] for name in _names(root, "layer_names") if not name.startswith("normalization")]
            layers = [[np.asarray(group[name]) for name in _names(group, "weight_names")] for group in groups]
    except (OSError, KeyError) as error:
        raise DataError(f"{path} holds no {what}: {error}; give {give}, or 'none'") from error
    return [arrays for arrays in layers if arrays]


def _names(group: Any, attribute: str) -> list[str]:
    return [name.decode() if isinstance(name, bytes) else str(name) for name in group.attrs[attribute]]


def _download(imagenet: Callable[[], Model], what: str, give: str) -> Model:
    try:
        return imagenet()
    except Exception as error:  # Keras has no narrower one for a download that failed
        raise DataError(
            f"cannot get the ImageNet weights of {what} from Keras: {error}; where there is no network, give --weights "
            f"with {give}, or none"
        ) from error
