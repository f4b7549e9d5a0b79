"""MODEL_CARD.md, written from the manifests of the models that ship: no figure stands in two places."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from edge_emotion.manifest import Metrics, ModelManifest, load_manifest, write_text
from train.metrics import wilson_interval

CARD = Path(__file__).parent.parent / "MODEL_CARD.md"

HEAD = """# Model card

Written by `python -m convert card` from the manifests in `edge_emotion/models/`; change those, not this page.

## What the models are

Classifiers of facial expressions for small devices: one face crop in, a distribution over eight expressions out. They
run inside `edge-emotion`, which finds the faces, aligns them and turns the answers of several frames into events.

**An expression is not a felt emotion.** The models tell how ten people on average would label a still picture of a face;
they know nothing of what the person feels, wants or is about to do.

## What they are for, and what not

For art, research and home automation with the consent of everyone in view. Not for decisions about people, not for
identification, and not at work or in education: the EU AI Act, Article 5(1)(f), prohibits inferring emotions there.

## Data

Trained on FER2013's pictures (48 x 48 pixels, grey, found by web search in 2013; Goodfellow et al. 2013) with the votes of
FER+ (ten crowd workers each; Barsoum et al. 2016). Groups, ages and situations that are rare there are recognised worse;
neither data set says who is in it, so nobody can say by how much. Two thirds of the votes say neutral, happiness or
surprise. Training faces of which another split holds a copy (equal to the bit, nearly, or mirrored) were left out. The
pictures were collected from the web for research; whether weights trained on them suit your purpose is for you to judge.

## Protocol

Majority, as in Barsoum et al. 2016: single votes of ten are dropped, faces whose winner is *unknown* or *no face* are left
out, and a face counts only if its winner holds more than half of the votes that remain. Everything that was chosen
(epoch, operating points, temperature) was chosen on the validation split (`PublicTest`); the figures are of the test
split (`PrivateTest`), measured once on the exported artefact through the runtime's own classifier. Intervals hold 95 %:
accuracy by bootstrap over pictures, recall by Wilson's method. Of contempt and disgust there are so few test faces that
their recalls say little.

Two operating points ship, chosen by logit adjustment (Menon et al. 2021): `accurate`, the default, is right most often;
`balanced` hears the rare expressions better and pays with accuracy. The setting is `classifier.operating_point`.
"""


def write_card(models: Sequence[Path], path: Path = CARD) -> Path:
    """Write the card of the classifiers among these model folders, whole or not at all."""
    write_text(path, card(models))
    return path


def card(models: Sequence[Path]) -> str:
    """The text of the card."""
    manifests = [load_manifest(folder) for folder in models]
    classifiers = [manifest for manifest in manifests if isinstance(manifest, ModelManifest)]
    return "\n".join([HEAD, _overview(classifiers), *(_section(manifest) for manifest in classifiers)])


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
            f"{training.dataset} by the recipe `{training.recipe}` (seed {training.seed}, {training.epochs} epochs, from "
            f"{training.start} weights, code {training.commit}).\n",
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
    recalls = [value for label, value in metrics.recall.items() if label != "contempt"]
    return sum(recalls) / len(recalls)


def _interval(metrics: Metrics) -> str:
    return f"{100 * metrics.interval[0]:.1f} to {100 * metrics.interval[1]:.1f}"


def _percent(value: float) -> str:
    return f"{100 * value:.1f} %"
