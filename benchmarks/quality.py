"""What the benchmarks of quality share: the form of a result, the models they measure, the faces they measure on."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmarks.machine import describe_machine
from edge_emotion.errors import BackendUnavailable, ConfigError
from edge_emotion.manifest import ModelManifest, find_model, load_manifest, shipped_models
from train.evaluate import measured_faces
from train.faces import DataSet, Faces, Split
from train.metrics import wilson_interval

SCHEMA = 1


def result(benchmark: str, settings: Mapping[str, Any], **figures: Any) -> dict[str, Any]:
    """One benchmark's JSON: what was measured, how, on which machine, and the figures."""
    head = {"schema": SCHEMA, "benchmark": benchmark, "machine": describe_machine(), "settings": dict(settings)}
    return {**head, **figures}


def share(hits: int, n: int) -> dict[str, Any]:
    """A share with its n and 95 % interval (Wilson 1927); None for both where n is 0."""
    if not n:
        return {"hits": 0, "n": 0, "share": None, "interval": None}
    low, high = wilson_interval(hits, n)
    return {"hits": hits, "n": n, "share": round(hits / n, 5), "interval": [round(low, 5), round(high, 5)]}


def as_percent(value: Mapping[str, Any]) -> str:
    """A ``share`` as text: '87.1 % (86.0 to 88.2)'."""
    if value["share"] is None:
        return "-"
    low, high = (100 * bound for bound in value["interval"])
    return f"{100 * value['share']:.1f} % ({low:.1f} to {high:.1f})"


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


def require_matplotlib() -> None:
    """Raises BackendUnavailable before anything is measured, rather than after, where diagrams cannot be drawn."""
    try:
        import matplotlib.figure  # noqa: F401
    except ImportError as error:
        raise BackendUnavailable("diagrams need matplotlib: pip install matplotlib, or leave out --out") from error


def show_progress(what: str, done: int, total: int) -> None:
    """One line on a terminal's stderr that is written over; nothing elsewhere."""
    if sys.stderr.isatty():
        print(f"\r\033[K{what}: {done} of {total}", end="\n" if done == total else "", file=sys.stderr, flush=True)
