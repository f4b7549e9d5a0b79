"""``edge-emotion models``: lists the models of this installation."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from edge_emotion.config.settings import ClassifierSettings, DetectorSettings
from edge_emotion.models.folder import load_manifest, shipped_models
from edge_emotion.models.manifest import DetectorManifest, Metrics, ModelFile, ModelManifest, Parity

DEFAULTS = (DetectorSettings().model, ClassifierSettings().model)
FINDS = {"face-detection": "faces", "emotion-classification": "emotions"}
"""What a model finds, by its task."""


def list_models(*, as_json: bool = False) -> None:
    """Print the models of this installation as a table of eighty columns, or with all details as JSON."""
    manifests = [(folder, load_manifest(folder)) for folder in shipped_models()]
    rows = [_model_row(folder, manifest, entry) for folder, manifest in manifests for entry in manifest.files]
    if as_json:
        print(json.dumps(rows, indent=2))
        return
    line = "{:19} {:8} {:8} {:9} {:7} {:>8}  {}".format
    print(line("MODEL", "VERSION", "FINDS", "PRECISION", "FORMAT", "SIZE", "ACCURACY"))
    for row in rows:
        name = f"{row['name']} *" if row["name"] in DEFAULTS else row["name"]
        size = f"{row['bytes'] / 1e6:.2f} MB"
        finds = FINDS[row["task"]]
        print(line(name, row["version"], finds, row["precision"], row["format"], size, row["accuracy"]).rstrip())
    print("* the default. ACCURACY: on faces of the test split; its protocol, n and interval: --json")


def measured_quality(manifest: ModelManifest, entry: ModelFile) -> Metrics | Parity | None:
    """Accuracy of a file on the test split, at the default operating point; None where it was not measured."""
    compared = (one for name, one in manifest.parity.items() if name.startswith(f"{entry.file} ("))
    first = next(compared, None)
    if first is not None or entry.format != "tflite":
        return first
    return manifest.metrics.get(f"test/{entry.precision}")


def _model_row(folder: Path, manifest: ModelManifest | DetectorManifest, entry: ModelFile) -> dict[str, Any]:
    accuracy, quality = "", ""
    if isinstance(manifest, ModelManifest):
        measured = measured_quality(manifest, entry)
        if measured is not None:
            low, high = measured.interval
            accuracy = f"{measured.accuracy:.1%}"
            quality = (
                f"accuracy {measured.accuracy:.1%} (95% {low:.1%} to {high:.1%}, n = {measured.n}, "
                f"{manifest.training.dataset} {manifest.training.protocol} test)"
            )
    return {
        "name": manifest.name,
        "version": manifest.version,
        "task": manifest.task,
        "precision": entry.precision,
        "format": entry.format,
        "file": str(folder / entry.file),
        "bytes": (folder / entry.file).stat().st_size,
        "licence": manifest.licence,
        "accuracy": accuracy,
        "quality": quality,
    }
