"""Inception-ResNet-v1 (Szegedy et al. 2016) in FaceNet's variant, with published weights from face recognition.

FaceNet's variant has an embedding of 512 numbers, five units of the last kind with a scale of 0.2 and one of scale 1
without ReLU. Layers have the names of the tensors in the PyTorch port ``facenet-pytorch``, so that its VGGFace2 and
CASIA-WebFace weights can be copied. Those were trained on pictures of a fixed range, not whitened one by one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from train.keras import K
from train.networks.layers import batch_norm, logits, plain_conv
from train.networks.torch_weights import Array, Tensors, copy_tensors, take_layer
from train.networks.weights import require_colour, start

Model = Any
Kernel = int | tuple[int, int]
Branch = Sequence[tuple[int, Kernel]]
"""Channels and kernels of successive convolutions."""

WHAT = "Inception-ResNet-v1"
LEAST = 75
"""Least side of the input in pixels: no downsampling step of this network pads, so that smaller pictures vanish."""

UNIT_35: tuple[Branch, ...] = (((32, 1),), ((32, 1), (32, 3)), ((32, 1), (32, 3), (32, 3)))
UNIT_17: tuple[Branch, ...] = (((128, 1),), ((128, 1), (128, (1, 7)), (128, (7, 1))))
UNIT_8: tuple[Branch, ...] = (((192, 1),), ((192, 1), (192, (1, 3)), (192, (3, 1))))
MIXED_6A: tuple[Branch, ...] = (((384, 3),), ((192, 1), (192, 3), (256, 3)))
MIXED_7A: tuple[Branch, ...] = (((256, 1), (384, 3)), ((256, 1), (256, 3)), ((256, 1), (256, 3), (256, 3)))
"""Units for the grids of 35, 17 and 8 cells at 299 px, and the reductions between: Szegedy et al. 2016, section 3.2."""


def inception_resnet(
    input_shape: tuple[int, int, int], classes: int, *, dropout: float = 0.2, weights: str | None = None
) -> Model:
    """Inception-ResNet-v1, 23.5 M parameters below the head: N x H x W x 3 RGB, (pixel - 127.5) / 128 -> logits.

    At least 75 px. ``weights``: the state dict of ``facenet-pytorch`` as .safetensors or .npz (without its head over
    identities), the .h5 of another run, or None. Dropout is before the embedding, as in the paper. Raises ConfigError
    for another input, DataError for weights that do not fit.
    """
    require_colour(input_shape, WHAT, LEAST)
    inputs = K.Input(input_shape, name="pixels")
    x = _grids(_stem(inputs))
    x = K.layers.GlobalAveragePooling2D(name="avgpool_1a")(x)
    x = K.layers.Dropout(dropout, name="dropout")(x)
    x = K.layers.Dense(512, use_bias=False, name="last_linear")(x)
    x = batch_norm("last_bn")(x)
    model = K.Model(inputs, logits(x, classes), name="inception_resnet")
    give = "the state dict of facenet-pytorch as .safetensors or .npz"
    return start(model, weights, WHAT, give=give, tensors=_copy)


def _stem(x: Any) -> Any:
    x = plain_conv(x, 32, "conv2d_1a", stride=2, padding="valid")
    x = plain_conv(x, 32, "conv2d_2a", padding="valid")
    x = plain_conv(x, 64, "conv2d_2b")
    x = K.layers.MaxPooling2D(3, 2, name="maxpool_3a")(x)
    x = plain_conv(x, 80, "conv2d_3b", 1)
    x = plain_conv(x, 192, "conv2d_4a", padding="valid")
    return plain_conv(x, 256, "conv2d_4b", stride=2, padding="valid")


def _grids(x: Any) -> Any:
    for number in range(5):
        x = _residual(x, UNIT_35, 0.17, f"repeat_1.{number}")
    x = _reduction(x, MIXED_6A, "mixed_6a")
    for number in range(10):
        x = _residual(x, UNIT_17, 0.10, f"repeat_2.{number}")
    x = _reduction(x, MIXED_7A, "mixed_7a")
    for number in range(5):
        x = _residual(x, UNIT_8, 0.20, f"repeat_3.{number}")
    return _residual(x, UNIT_8, 1.0, "block8", relu=False)


def _residual(x: Any, branches: tuple[Branch, ...], scale: float, name: str, *, relu: bool = True) -> Any:
    """Residual unit: the scaled output of the branches is added; the scale keeps wide units stable (section 3.3)."""
    seen = [_branch(x, branch, f"{name}.branch{number}") for number, branch in enumerate(branches)]
    change = K.layers.Concatenate(name=name + ".concat")(seen)
    change = K.layers.Conv2D(x.shape[-1], 1, name=name + ".conv2d")(change)
    change = K.layers.Rescaling(scale, name=name + ".scale")(change)
    x = K.layers.Add(name=name + ".add")([x, change])
    return K.layers.ReLU(name=name + ".relu")(x) if relu else x


def _reduction(x: Any, branches: tuple[Branch, ...], name: str) -> Any:
    """Reduction to half the grid: the last convolution of each branch has stride 2, in parallel with a max pooling."""
    seen = [_branch(x, branch, f"{name}.branch{number}", halve=True) for number, branch in enumerate(branches)]
    pooled = K.layers.MaxPooling2D(3, 2, name=f"{name}.branch{len(branches)}")(x)
    return K.layers.Concatenate(name=name + ".concat")([*seen, pooled])


def _branch(x: Any, branch: Branch, name: str, *, halve: bool = False) -> Any:
    for number, (width, kernel) in enumerate(branch):
        last = halve and number == len(branch) - 1
        part = name if len(branch) == 1 else f"{name}.{number}"
        x = plain_conv(x, width, part, kernel, stride=2 if last else 1, padding="valid" if last else "same")
    return x


def _copy(model: Model, tensors: Tensors) -> None:
    """Copy all weights except the head's."""
    ours = {name: tensor for name, tensor in tensors.items() if not name.startswith("logits.")}
    copy_tensors(model.layers[:-1], ours, _take, WHAT)


def _take(left: Tensors, layer: Any) -> list[Array]:
    return take_layer(left, layer, layer.name)
