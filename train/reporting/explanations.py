"""Pictures of what a model looks at in given faces."""

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
from train.reporting.image_output import safe_name
from train.reporting.overlay import caption, enlarge, feature_grid, grid, overlay, patch_view
from train.reporting.saliency import (
    feature_layers,
    feature_maps,
    grad_cam,
    last_feature_layer,
    on_patches,
    patch_grid,
    rollout,
)
from train.runs.run_directory import Run

FEATURE_LAYERS = 3
"""So many layers are shown when none is named: an early, a middle and the last one."""

Model = Any
Pictures = Iterator[tuple[str, Image]]
"""Pictures with the names of their files, without ending."""


@dataclass(frozen=True)
class Subject:
    """Faces to explain and what the model says of them.

    names: N texts that tell them apart in file names; crops: N face pictures; batch: model input N x H x W x C;
    said: N x classes probabilities; target: N columns, the class that is explained.
    """

    names: list[str]
    crops: list[Pixels]
    classes: tuple[str, ...]
    batch: FloatArray
    said: npt.NDArray[np.float64]
    target: npt.NDArray[np.int64]

    def text(self, i: int) -> str:
        """What is explained about a face, in one line."""
        said, target = int(self.said[i].argmax()), int(self.target[i])
        text = f"says {self.classes[said]} {self.said[i, said]:.0%}"
        return text if said == target else f"why {self.classes[target]} {self.said[i, target]:.0%}; {text}"


def prepare(model: Model, run: Run, names: list[str], crops: list[Pixels], emotion: str | None = None) -> Subject:
    """Ask the model about face crops; ``emotion`` is what is explained instead of what it says.

    Raises ConfigError for an emotion that the run does not know.
    """
    spec = run.recipe.input
    batch = normalise(np.stack([to_input(crop, spec) for crop in crops]), spec)
    said = softmax(np.asarray(model.predict_on_batch(batch), np.float64))
    target = said.argmax(axis=1)
    if emotion is not None:
        wanted = canonical(emotion)
        if wanted not in run.classes:
            raise ConfigError(f"{run.path} does not know {wanted}; it knows {', '.join(run.classes)}")
        target = np.full(len(crops), run.classes.index(wanted))
    return Subject(names, crops, run.classes, batch, said, target)


def explain(model: Model, subject: Subject, method: str, layers: Sequence[str] = ()) -> Pictures:
    """Pictures by ``method``: gradcam or features (of ``layers``, or of chosen ones), attention, or patches.

    Raises ConfigError when the network has no such layer or the method is not for this kind of network.
    """
    if layers and method in ("attention", "patches"):
        raise ConfigError(f"--layer is for gradcam and features, not for --method {method}")
    if method == "gradcam":
        yield from _grad_cams(model, subject, layers or [last_feature_layer(model)])
    elif method == "features":
        yield from _features(model, subject, layers or _spread(feature_layers(model)))
    elif method == "attention":
        yield from _attention(model, subject)
    else:
        rows, columns = patch_grid(model)
        for name, crop in zip(subject.names, subject.crops, strict=True):
            yield f"patches-{name}", patch_view(crop, rows, columns)


def _grad_cams(model: Model, subject: Subject, layers: Sequence[str]) -> Pictures:
    """Per layer and face: the face, and the heat over it."""
    for layer in layers:
        heats = grad_cam(model, subject.batch, subject.target, layer)
        for i, (name, crop) in enumerate(zip(subject.names, subject.crops, strict=True)):
            both = grid([enlarge(crop), overlay(crop, heats[i])], 2)
            yield f"gradcam-{name}-{safe_name(layer)}", caption(both, subject.text(i))


def _features(model: Model, subject: Subject, layers: Sequence[str]) -> Pictures:
    """Per layer and face: its strongest maps."""
    for layer in layers:
        maps = feature_maps(model, subject.batch, layer)
        for name, values in zip(subject.names, maps, strict=True):
            high, wide, count = values.shape
            text = f"{layer}: {high} x {wide}, {count} maps"
            yield f"features-{name}-{safe_name(layer)}", caption(feature_grid(values), text)


def _attention(model: Model, subject: Subject) -> Pictures:
    """Per face: the face, the rollout over it, and what each head of the last block looks at."""
    size = patch_grid(model)
    blocks = attention_maps(model, subject.batch)
    flows, heads = on_patches(rollout(blocks), *size), on_patches(blocks[-1], *size)
    for i, (name, crop) in enumerate(zip(subject.names, subject.crops, strict=True)):
        tiles = [enlarge(crop), overlay(crop, flows[i]), *(overlay(crop, head) for head in heads[i])]
        yield f"attention-{name}", caption(grid(tiles, 6), f"{subject.text(i)}; face, rollout, heads of the last block")


def _spread(names: Sequence[str]) -> list[str]:
    """A few of them, evenly from the first to the last."""
    places = np.linspace(0, len(names) - 1, min(FEATURE_LAYERS, len(names))).round().astype(int)
    return [names[place] for place in places]
