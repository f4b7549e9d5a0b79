"""What the benchmarks of quality share: shares with intervals, the models they measure, the faces they measure on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmarks.results.results import Measurement
from edge_emotion.errors import ConfigError
from edge_emotion.models.folder import find_model, load_manifest, shipped_models
from edge_emotion.models.manifest import ModelManifest
from train.data.faces import DataSet, Faces, Split
from train.evaluation.evaluate import measured_faces
from train.evaluation.metrics import wilson_interval


def share(hits: int, n: int) -> dict[str, Any]:
    """A share with its n and 95 % interval (Wilson 1927); None for both where n is 0."""
    if not n:
        return {"hits": 0, "n": 0, "share": None, "interval": None}
    low, high = wilson_interval(hits, n)
    return {"hits": hits, "n": n, "share": round(hits / n, 5), "interval": [round(low, 5), round(high, 5)]}


def percent(subject: str, metric: str, value: Mapping[str, Any]) -> list[Measurement]:
    """A ``share`` as a figure where higher is better; none where nothing was counted."""
    if value["share"] is None:
        return []
    return [scored(subject, metric, value["share"], n=value["n"], interval=value["interval"])]


def scored(subject: str, metric: str, value: float, *, n: int, interval: Sequence[float] | None = None) -> Measurement:
    """A figure between 0 and 1, in per cent, where higher is better."""
    bounds = None if interval is None else (round(100 * interval[0], 3), round(100 * interval[1], 3))
    return Measurement(
        subject=subject, metric=metric, unit="%", better="higher", runs=(round(100 * value, 3),), n=n, interval=bounds
    )


class Model(NamedTuple):
    """A classifier that is measured; ``name`` is its own, or its folder where two have the same."""

    name: str
    folder: Path
    manifest: ModelManifest


def find_classifiers(models: Sequence[str]) -> list[Model]:
    """The classifiers of these names or folders; all that ship if none is named.

    Raises ModelError for a model that is not there, ConfigError for one that is no emotion classifier.
    """
    found = {}
    for name in models or [folder.name for folder in shipped_models()]:
        folder = find_model(name)
        manifest = load_manifest(folder)
        if isinstance(manifest, ModelManifest):
            found[folder.resolve()] = manifest
        elif models:
            raise ConfigError(f"{name} is no emotion classifier but does {manifest.task}")
    often = Counter(manifest.name for manifest in found.values())
    return [
        Model(manifest.name if often[manifest.name] == 1 else str(folder), folder, manifest)
        for folder, manifest in found.items()
    ]


def drawn_faces(data: DataSet, split: Split, *, protocol: str, count: int | None, seed: int) -> Faces:
    """The faces that are measured, or ``count`` of them drawn by ``seed``, in the order of the data set."""
    faces = measured_faces(data, split, protocol=protocol)
    if count is None or count >= len(faces):
        return faces
    rows = np.random.default_rng(seed).choice(len(faces), count, replace=False)
    return faces.take(np.sort(rows))
