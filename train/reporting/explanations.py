"""Pictures that explain a model's prediction for given faces."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from edge_emotion.datatypes import Image
from edge_emotion.errors import ConfigError
from edge_emotion.labels import canonical
from edge_emotion.models.classifier import softmax
from edge_emotion.models.preprocess import Pixels, normalise, to_input
from edge_emotion.protocols import FloatArray
from train.networks.vision_transformer import attention_maps
from train.reporting.explained import Network
from train.reporting.image_output import safe_name
from train.reporting.overlay import caption, enlarge, feature_grid, grid, overlay, patch_view, with_colour_bar
from train.reporting.saliency import (
    activated_layers,
    feature_layers,
    feature_maps,
    grad_cam,
    last_feature_layer,
    on_patches,
    patch_grid,
    rollout,
)

FEATURE_LAYERS = 3
"""Number of layers shown if none is named: an early, a middle and the last one."""

SHEET_COLUMNS = 3
"""Faces beside each other on a sheet."""

Model = Any
Pictures = Iterator[tuple[str, Image]]
"""(file name without extension, picture) pairs."""


@dataclass(frozen=True)
class Subject:
    """Faces to explain, and the model's output for them.

    names: N texts, unique in file names; crops: N face pictures; batch: model input N x H x W x C; probabilities:
    N x classes; target: N columns, the class that is explained; truth: N classes as labelled, None where unknown.
    """

    names: list[str]
    crops: list[Pixels]
    classes: tuple[str, ...]
    batch: FloatArray
    probabilities: npt.NDArray[np.float64]
    target: npt.NDArray[np.int64]
    truth: list[str | None]

    def text(self, i: int) -> str:
        """One line about a face: the class that is explained, and the prediction."""
        row = self.probabilities[i]
        predicted, target = int(row.argmax()), int(self.target[i])
        text = f"predicted {self.classes[predicted]} {row[predicted]:.0%}"
        return text if predicted == target else f"why {self.classes[target]} {row[target]:.0%}; {text}"

    def label(self, i: int) -> str:
        """One line about a face: its true class, or its name if that is unknown."""
        true = self.truth[i]
        return self.names[i] if true is None else f"true {true}"


def prepare(
    network: Network,
    names: list[str],
    crops: list[Pixels],
    emotion: str | None = None,
    truth: list[str | None] | None = None,
) -> Subject:
    """Run the network on face crops; ``emotion``: explain this class instead of the predicted one.

    Raises ConfigError for an emotion that the network has no class for.
    """
    spec = network.input
    batch = normalise(np.stack([to_input(crop, spec) for crop in crops]), spec)
    probabilities = softmax(np.asarray(network.model.predict_on_batch(batch), np.float64))
    target = probabilities.argmax(axis=1)
    if emotion is not None:
        wanted = canonical(emotion)
        if wanted not in network.classes:
            raise ConfigError(f"{network.name} has no class {wanted}; it has {', '.join(network.classes)}")
        target = np.full(len(crops), network.classes.index(wanted))
    known = truth or [None] * len(names)
    return Subject(names, crops, network.classes, batch, probabilities, target, known)


def explain(model: Model, subject: Subject, method: str, layers: Sequence[str] = ()) -> Pictures:
    """Pictures by ``method``: gradcam, gradcam++ or features (of ``layers``, or default ones), attention, or patches.

    Raises ConfigError if the network has no such layer, or the method does not apply to this kind of network.
    """
    if layers and method in ("attention", "patches"):
        raise ConfigError(f"--layer is for gradcam and features, not for --method {method}")
    if method in ("gradcam", "gradcam++"):
        yield from _grad_cams(model, subject, layers or [last_feature_layer(model)], plus=method == "gradcam++")
    elif method == "features":
        yield from _features(model, subject, layers or _spread(activated_layers(model) or feature_layers(model)))
    elif method == "attention":
        yield from _attention(model, subject)
    else:
        rows, columns = patch_grid(model)
        for name, crop in zip(subject.names, subject.crops, strict=True):
            yield f"patches-{name}", patch_view(crop, rows, columns)


def _grad_cams(model: Model, subject: Subject, layers: Sequence[str], *, plus: bool) -> Pictures:
    """Per layer and face: the face, beside the face with the heat map on it; and per layer all of them on a sheet."""
    kind = "gradcampp" if plus else "gradcam"
    for layer in layers:
        heats = grad_cam(model, subject.batch, subject.target, layer, plus=plus)
        tiles = []
        for i, (name, crop) in enumerate(zip(subject.names, subject.crops, strict=True)):
            both = grid([enlarge(crop), overlay(crop, heats[i])], 2)
            tiles.append(caption(both, subject.label(i), subject.text(i)))
            yield f"{kind}-{name}-{safe_name(layer)}", caption(both, subject.text(i))
        sheet = with_colour_bar(grid(tiles, SHEET_COLUMNS), "evidence")
        yield f"sheet-{kind}-{safe_name(layer)}", sheet


def _features(model: Model, subject: Subject, layers: Sequence[str]) -> Pictures:
    """Per layer and face: its strongest feature maps."""
    for layer in layers:
        maps = feature_maps(model, subject.batch, layer)
        for name, values in zip(subject.names, maps, strict=True):
            high, wide, count = values.shape
            text = f"{layer}: {high} x {wide}, {count} maps"
            yield f"features-{name}-{safe_name(layer)}", caption(feature_grid(values), text)


def _attention(model: Model, subject: Subject) -> Pictures:
    """Per face: the face, the attention rollout on it, and the attention of each head of the last block."""
    size = patch_grid(model)
    blocks = attention_maps(model, subject.batch)
    flows, heads = on_patches(rollout(blocks), *size), on_patches(blocks[-1], *size)
    for i, (name, crop) in enumerate(zip(subject.names, subject.crops, strict=True)):
        tiles = [enlarge(crop), overlay(crop, flows[i]), *(overlay(crop, head) for head in heads[i])]
        yield f"attention-{name}", caption(grid(tiles, 6), f"{subject.text(i)}; face, rollout, heads of the last block")


def _spread(names: Sequence[str]) -> list[str]:
    """FEATURE_LAYERS of the names, evenly from the first to the last."""
    places = np.linspace(0, len(names) - 1, min(FEATURE_LAYERS, len(names))).round().astype(int)
    return [names[place] for place in places]
