"""``edge-emotion models``: lists the models of this installation."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from edge_emotion.models.folder import load_manifest, shipped_models
from edge_emotion.models.manifest import DetectorManifest, Metrics, ModelFile, ModelManifest, Parity


def list_models(*, as_json: bool = False) -> None:
    """Print the models of this installation: name, task, precision, size, accuracy with n, licence."""
    manifests = [(folder, load_manifest(folder)) for folder in shipped_models()]
    rows = [_model_row(folder, manifest, entry) for folder, manifest in manifests for entry in manifest.files]
    if as_json:
        print(json.dumps(rows, indent=2))
        return
    for row in rows:
        print(
            f"{row['name']:18} {row['version']:8} {row['task']:22} {row['precision']:8} {row['format']:7} "
            f"{row['bytes'] / 1e6:5.2f} MB  {row['licence']:12} {row['quality']}"
        )


def measured_quality(manifest: ModelManifest, entry: ModelFile) -> Metrics | Parity | None:
    """How right a file is on the test split, at the default operating point; None where that was not measured."""
    compared = (one for name, one in manifest.parity.items() if name.startswith(f"{entry.file} ("))
    first = next(compared, None)
    if first is not None or entry.format != "tflite":
        return first
    return manifest.metrics.get(f"test/{entry.precision}")


def _model_row(folder: Path, manifest: ModelManifest | DetectorManifest, entry: ModelFile) -> dict[str, Any]:
    quality = ""
    if isinstance(manifest, ModelManifest):
        measured = measured_quality(manifest, entry)
        if measured is not None:
            low, high = measured.interval
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
        "quality": quality,
    }
