"""MODEL_CARD.md, written from the manifests of the models that ship: no figure stands in two places."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from edge_emotion.models.folder import load_manifest
from edge_emotion.models.manifest import Metrics, ModelManifest
from edge_emotion.system.atomic_file import write_text
from train.evaluation.metrics import seven_of, wilson_interval

CARD = Path(__file__).parents[2] / "MODEL_CARD.md"

HEAD = Path(__file__).with_name("model_card_head.md")
"""What holds for every model."""


def write_card(models: Sequence[Path], path: Path = CARD) -> Path:
    """Write the card of the classifiers among these model folders, whole or not at all."""
    write_text(path, card(models))
    return path


def card(models: Sequence[Path]) -> str:
    """The text of the card."""
    manifests = [load_manifest(folder) for folder in models]
    classifiers = [manifest for manifest in manifests if isinstance(manifest, ModelManifest)]
    return "\n".join(
        [HEAD.read_text(encoding="utf-8"), _overview(classifiers), *(_section(manifest) for manifest in classifiers)]
    )


def _overview(classifiers: Sequence[ModelManifest]) -> str:
    rows = [
        f"| {manifest.name} {manifest.version} | {point} | {_percent(metrics.accuracy)} ({_interval(metrics)}) "
        f"| {_balanced(metrics):.3f} | {metrics.macro_f1:.3f} | {metrics.ece:.3f} |"
        for manifest in classifiers
        for point, metrics in _points(manifest, "test/int8").items()
    ]
    return "\n".join(
        [
            "## Figures: FER+ majority, test split, int8 as it ships\n",
            "| model | operating point | accuracy (95 %) | balanced accuracy, seven classes | macro-F1, eight | ECE |",
            "|---|---|---|---|---|---|",
            *rows,
            "\nBalanced accuracy is the mean recall without contempt.\n",
        ]
    )


def _section(manifest: ModelManifest) -> str:
    training, points = manifest.training, _points(manifest, "test/int8")
    shape = manifest.input
    header = "| recall | n | " + " | ".join(points) + " |"
    return "\n".join(
        [
            f"## {manifest.name} {manifest.version}\n",
            f"Input {shape.height} x {shape.width} x {shape.channels} ({shape.colour}), int8 in and out. Trained on "
            f"{training.dataset} by the recipe `{training.recipe}` (seed {training.seed}, {training.epochs} epochs, "
            f"from {training.start} weights, code {training.commit}).\n",
            *_float_line(manifest),
            header,
            "|---|---|" + "---|" * len(points),
            *(_recall_row(label, list(points.values())) for label in manifest.labels),
            "",
        ]
    )


def _float_line(manifest: ModelManifest) -> list[str]:
    """How the float model does, where it was measured."""
    texts = [
        f"`{point}` {_percent(metrics.accuracy)} / {_balanced(metrics):.3f}"
        for point, metrics in _points(manifest, "test/float32").items()
    ]
    return [f"The float model has (accuracy / balanced accuracy) {', '.join(texts)}.\n"] if texts else []


def _points(manifest: ModelManifest, key: str) -> dict[str, Metrics]:
    """Operating point -> its figures, the default first."""
    default = manifest.calibration.default
    keys = {point: key if point == default else f"{key}/{point}" for point in manifest.calibration.operating_points}
    return {point: manifest.metrics[name] for point, name in keys.items() if name in manifest.metrics}


def _recall_row(label: str, points: Sequence[Metrics]) -> str:
    count = points[0].count.get(label, 0)
    cells = []
    for metrics in points:
        low, high = wilson_interval(round(metrics.recall[label] * count), count) if count else (0.0, 1.0)
        cells.append(f"{metrics.recall[label]:.0%} ({low:.0%} to {high:.0%})" if count else "-")
    return f"| {label} | {count:,} | " + " | ".join(cells) + " |"


def _balanced(metrics: Metrics) -> float:
    """Mean recall without contempt."""
    labels = list(metrics.recall)
    seven = [labels[column] for column in seven_of(labels)] or labels
    return sum(metrics.recall[label] for label in seven) / len(seven)


def _interval(metrics: Metrics) -> str:
    return f"{100 * metrics.interval[0]:.1f} to {100 * metrics.interval[1]:.1f}"


def _percent(value: float) -> str:
    return f"{100 * value:.1f} %"
