"""Networks that Keras or TensorFlow saved (HDF5, .keras, SavedModel), as float TFLite files."""

from __future__ import annotations

import json
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import h5py

from edge_emotion.errors import EdgeEmotionError, ModelError
from train.keras import K, tf

RESCALING = "Rescaling", "Normalization"
"""Layers that bring pixels of 0..255 into the network's own range."""


class Loaded(NamedTuple):
    """A network in memory. ``shape``: of the input after the batch; ``rescales``: whether it takes pixels of 0..255."""

    call: Callable[[Any], Any]
    owner: Any
    shape: tuple[int | None, ...]
    dtype: Any
    rescales: bool


def load_network(file: Path) -> Loaded:
    """The network in a file or folder. Raises ModelError, with the reason, for one that cannot be loaded."""
    try:
        return _saved_model(file) if file.is_dir() else _keras_model(file)
    except (EdgeEmotionError, MemoryError):
        raise
    except Exception as error:  # Keras raises whatever a layer's constructor does
        raise ModelError(
            f"{file} cannot be loaded: {_first_line(error)}; a network with layers of your own can be exported as "
            "SavedModel, where it was made, and imported from there"
        ) from error


def as_tflite(network: Loaded, size: tuple[int, ...], file: Path) -> bytes:
    """The network as TFLite file for pictures of this size (the axes after the batch), which free sizes take on.

    Raises ModelError for a network that TFLite cannot express with its own operators.
    """
    picture = tf.TensorSpec([None, *size], network.dtype)
    try:
        function = tf.function(network.call).get_concrete_function(picture)
        outputs = tf.nest.flatten(function.structured_outputs)
        if len(outputs) != 1:
            raise ModelError(f"{file} has {len(outputs)} outputs: export it with one")
        return bytes(tf.lite.TFLiteConverter.from_concrete_functions([function], network.owner).convert())
    except (EdgeEmotionError, MemoryError):
        raise
    except Exception as error:
        raise ModelError(f"{file} cannot be converted to TFLite: {_first_line(error)}") from error


def _keras_model(file: Path) -> Loaded:
    if _version(file).startswith("3"):
        return _keras_3_model(file)
    model = K.models.load_model(str(file), compile=False)
    inputs = model.inputs
    if len(inputs) != 1 or len(model.outputs) != 1:
        raise ModelError(
            f"{file} has {len(inputs)} inputs and {len(model.outputs)} outputs: export it with one of each"
        )
    shape = tuple(None if size is None else int(size) for size in inputs[0].shape[1:])
    return Loaded(
        lambda picture: model(picture, training=False), model, shape, tf.as_dtype(inputs[0].dtype), _rescales(model)
    )


def _keras_3_model(file: Path) -> Loaded:
    """By way of a SavedModel, because TFLite's converter does not find the variables of Keras 3."""
    import keras

    model = keras.models.load_model(str(file), compile=False)
    with tempfile.TemporaryDirectory() as folder:
        model.export(folder, verbose=False)
        return _saved_model(Path(folder))._replace(rescales=_rescales(model))


def _version(file: Path) -> str:
    """The version of the Keras that wrote the file."""
    if zipfile.is_zipfile(file):
        with zipfile.ZipFile(file) as archive:
            return str(json.loads(archive.read("metadata.json")).get("keras_version", "3"))
    if h5py.is_hdf5(file):
        with h5py.File(file) as weights:
            if "model_config" not in weights.attrs:
                raise ModelError(f"{file} holds weights without the network: save it with model.save")
            return str(weights.attrs.get("keras_version", "2"))
    raise ModelError(f"{file} is neither an HDF5 file nor a .keras archive")


def _rescales(model: Any) -> bool:
    return any(
        type(layer).__name__ in RESCALING or (hasattr(layer, "layers") and _rescales(layer)) for layer in model.layers
    )


def _saved_model(folder: Path) -> Loaded:
    loaded = tf.saved_model.load(str(folder))
    if "serving_default" not in loaded.signatures:
        raise ModelError(f"{folder} has no signature serving_default: save it with model.export or tf.saved_model.save")
    signature = loaded.signatures["serving_default"]
    inputs = signature.structured_input_signature[1]
    if len(inputs) != 1:
        raise ModelError(f"{folder} has {len(inputs)} inputs: export it with one")
    ((name, spec),) = inputs.items()
    return Loaded(
        lambda picture: list(signature(**{name: picture}).values()), loaded, tuple(spec.shape[1:]), spec.dtype, False
    )


def _first_line(error: Exception) -> str:
    return next((line.strip()[:200] for line in str(error).splitlines() if line.strip()), type(error).__name__)
