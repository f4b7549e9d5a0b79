"""The self-test of a model on the machine where it runs: seeded inputs, stored outputs, no picture."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from edge_emotion.errors import ModelError
from edge_emotion.models.classifier import EmotionClassifier, logit_shift
from edge_emotion.models.manifest import InputSpec, ModelFile, ModelManifest
from edge_emotion.models.preprocess import normalise
from edge_emotion.protocols import FloatArray

PROBES = 16
"""Inputs for a file without a golden set."""

SUM_TOLERANCE = 0.04
"""Of a sum of probabilities: the rounding of ten of them to multiples of 1/256, twice."""


def self_test_inputs(spec: InputSpec, seeds: Sequence[int]) -> npt.NDArray[np.uint8]:
    """uint8 len(seeds) x H x W x C. MT19937 by its raw stream, which NumPy promises never to change.

    Each input is a drawn face with brows, eyes and mouth at random, on random squares: noise alone would be neutral to
    every model, and a damaged one might pass.
    """
    return np.stack([_self_test_input(spec, seed) for seed in seeds])


def run_self_test(classifier: EmotionClassifier, entry: ModelFile) -> float | None:
    """Run the golden set of a file; returns the largest difference of a logit, None if the manifest holds no such set.

    The file and the order of the labels are tested, whatever the classifier's operating point and classes are. Raises
    ModelError if this machine computes other values than the manifest has, or, even without a set, no logits.
    """
    golden, manifest, backend = entry.golden, classifier.manifest, classifier.backend
    seeds = range(PROBES) if golden is None else golden.seeds
    logits = backend.run(normalise(self_test_inputs(manifest.input, seeds), manifest.input))[0]
    if golden is None:
        _require_logits(manifest, entry, logits)
        return None
    expected = np.array(golden.expected, np.float32)
    worst = float(np.abs(logits - expected).max()) if logits.shape == expected.shape else float("nan")
    if not worst <= golden.tolerance:
        raise ModelError(
            f"model {manifest.name} ({entry.file}) computes something else here than its manifest promises: "
            f"logits differ by {worst:.2f}, allowed are {golden.tolerance:.2f} ({backend.name}); "
            "install the model again, or use another precision or interpreter"
        )
    for trained, here in ((golden.labels, manifest.labels), (golden.emotions, top_labels(manifest, logits))):
        if trained != here:
            raise ModelError(
                f"model {manifest.name}: its labels are not in the order in which it was trained: its golden set has "
                f"{', '.join(trained)}, and here it is {', '.join(here)}; install the model again"
            )
    _require_logits(manifest, entry, logits)
    return worst


def _require_logits(manifest: ModelManifest, entry: ModelFile, outputs: FloatArray) -> None:
    """Raises ModelError for probabilities, of which the runtime's softmax would make that nothing is ever certain."""
    if reason := no_logits(outputs):
        raise ModelError(
            f"model {manifest.name} ({entry.file}) gives {reason}, and the runtime needs the values before its softmax "
            "(logits): python -m convert import makes a model folder of such a file"
        )


def no_logits(outputs: FloatArray) -> str | None:
    """Why N x L outputs for different inputs cannot be logits: their common range and sum; None if they can be.

    Of a softmax's outputs each row sums to 1 (integer ones up to their rounding), in percent to 100. Of a sigmoid's
    all are between 0 and 1, and some are close to 0. Equal rows tell nothing.
    """
    if not np.isfinite(outputs).all():
        return "values that are no numbers"
    if not np.ptp(outputs, axis=0).any():
        return None
    sums, low, high = outputs.sum(axis=1), float(outputs.min()), float(outputs.max())
    for whole in (1, 100):
        if low >= 0 and np.abs(sums / whole - 1).max() <= SUM_TOLERANCE:
            return f"probabilities (each row is above 0 and sums to {whole})"
    if outputs.shape[1] > 2 and 0 <= low < 0.05 and 0.5 < high <= 1:
        return f"values of a sigmoid (all are between 0 and 1: {low:.2g} to {high:.2g})"
    return None


def top_labels(manifest: ModelManifest, logits: FloatArray) -> tuple[str, ...]:
    """The likeliest emotion of each of N rows of logits, at the manifest's default operating point."""
    point = manifest.calibration.operating_points[manifest.calibration.default]
    shifted = logits - logit_shift(manifest.calibration.class_prior, point, manifest.labels)
    return tuple(manifest.labels[column] for column in shifted.argmax(axis=1))


def _self_test_input(spec: InputSpec, seed: int) -> npt.NDArray[np.uint8]:
    """A drawn face, H x W x C, from a seed: by integers on a grid of 192 x 192, which every machine computes alike."""
    draw = np.random.RandomState(seed).randint
    y, x = (
        np.arange(size)[shape] * 192 // size
        for size, shape in ((spec.height, np.s_[:, None]), (spec.width, np.s_[None]))
    )
    middle, half = 96 + draw(-6, 7), np.abs(x - 96)

    def ellipse(across: npt.NDArray[np.int64], down: int, width: int, height: int) -> npt.NDArray[np.bool_]:
        return np.asarray((across * height) ** 2 + ((y - down) * width) ** 2 <= (width * height) ** 2)

    def band(centre: int, bend: int, reach: int, thickness: int) -> npt.NDArray[np.bool_]:
        """A curve whose ends lie ``bend`` below its middle."""
        return np.asarray((np.abs((y - centre) * reach**2 - bend * half**2) <= thickness * reach**2) & (half <= reach))

    skin, dark = draw(130, 230), draw(0, 90)
    picture = np.full((spec.height, spec.width), draw(20, 200), np.int64)
    picture[ellipse(x - 96, 100, draw(70, 96), 110)] = skin
    eyes, open_eyes, gap = middle - 24, draw(3, 16), draw(30, 42)
    picture[ellipse(half - gap, eyes, 16, open_eyes)] = min(skin + 40, 255)
    picture[ellipse(half - gap, eyes, 7, min(open_eyes, 9))] = dark
    slant, raised = draw(-14, 15), draw(14, 34)
    brows = np.abs((y - eyes + raised) * 32 - slant * (half - gap)) <= 4 * 32
    picture[brows & (np.abs(half - gap) <= 18)] = dark
    mouth, bend, width = middle + draw(38, 56), draw(-22, 23), draw(16, 48)
    picture[band(mouth, -bend, width, draw(2, 6))] = dark
    if draw(2):
        picture[ellipse(x - 96, mouth, draw(8, 30), draw(4, 24))] = draw(2) * 240
    squares = draw(-25, 26, size=(24, 24)).repeat(-(-spec.height // 24), axis=0).repeat(-(-spec.width // 24), axis=1)
    picture += squares[: spec.height, : spec.width]
    return np.ascontiguousarray(np.clip(picture, 0, 255).astype(np.uint8)[..., None].repeat(spec.channels, axis=2))
