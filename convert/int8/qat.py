"""Quantisation-aware fine-tuning of a finished run: ``python -m convert qat``."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from convert.int8.calibrate import calibrate
from convert.int8.fold import fold
from convert.int8.quantise_aware import Range, Scheme, quantise_aware
from edge_emotion.errors import ConfigError
from edge_emotion.models.manifest import InputSpec
from train.commands.fit_command import DISTILL
from train.data.faces import DataSet, Faces
from train.evaluation.logits import model_pixels
from train.fitting.distillation import identify
from train.fitting.fit import fit
from train.recipes.recipe import Recipe
from train.runs.run_directory import BEST, RECORD, Run, load_run, same_weights

EPOCHS, LEARNING_RATE = 3, 1e-4
"""Where nothing else is said."""
CALIBRATION_FACES = 512


@dataclass(frozen=True)
class QuantisedNetwork:
    """The network of a recipe that simulates int8, where training takes a network.

    ``pixels`` (N x H x W x C of the training split) calibrate it when it starts from weights; without them it is only
    a place to load its own weights into.
    """

    recipe: Recipe
    scheme: Scheme
    pixels: npt.NDArray[np.uint8] | None = None

    def __call__(self, input_shape: tuple[int, int, int], classes: int, *, weights: str | None, **options: Any) -> Any:
        """N x H x W x C -> N x classes logits, starting from the float weights at a path."""
        folded = fold(self.recipe.network(input_shape, classes, weights=weights, **options))
        ranges: dict[str, Range] | None = None
        if weights is not None and self.pixels is not None:
            ranges = calibrate(folded, self.pixels, self.recipe.input, self.scheme)
        return quantise_aware(folded, self.recipe.input, ranges)


def quantisation_aware(
    run: Path,
    data: DataSet,
    scheme: Scheme,
    *,
    epochs: int | None = None,
    rate: float | None = None,
    steps: int | None = None,
) -> Path:
    """Fine-tune a finished run under simulated int8, taught by its own float model; returns the new run directory.

    The directory lies within that of the run; a stopped one goes on after its last epoch, a finished one stays as it
    is. ``epochs`` and ``rate``, where not given, are those with which it was begun, else EPOCHS and LEARNING_RATE.
    Raises ConfigError for a run that is not finished or was trained on other data, or that was begun otherwise,
    ModelError for a layer that cannot be quantised.
    """
    trained = load_run(run)
    trained.require_trained_on(data)
    where, begun = qat_directory(run, scheme), _begun(run, scheme)
    if begun is not None:
        epochs, rate = _as_begun(begun, epochs, rate)
        if begun.finished:
            print(f"{where} is finished")
            return where
    recipe = trained.recipe.change(
        epochs=EPOCHS if epochs is None else epochs, learning_rate=LEARNING_RATE if rate is None else rate,
        warmup_epochs=0.1, schedule="cosine", optimizer="adam", patience=0, distill=DISTILL,
    )  # fmt: skip
    pixels = calibration_pixels(data.restrict(trained.classes)["train"], recipe.input)
    network = QuantisedNetwork(trained.recipe, scheme, pixels)
    fit(
        recipe.model_copy(update={"network": network}), data, where, weights=str(run / BEST),
        start=f"{identify(run)}, {scheme} int8", teachers=[run], floats="float32", steps=steps,
    )  # fmt: skip
    return where


def _begun(run: Path, scheme: Scheme) -> Run | None:
    """A run's fine-tuning as far as it came, None if there is none. Raises ConfigError for one of other weights."""
    where = qat_directory(run, scheme)
    if not (where / RECORD).is_file():
        return None
    tuned = load_run(where)
    if not same_weights(tuned.record.get("start"), identify(run)):
        raise ConfigError(f"{where} began from other weights than {run / BEST}: remove it and train it again")
    return tuned


def _as_begun(begun: Run, epochs: int | None, rate: float | None) -> tuple[int, float]:
    """The settings that a fine-tuning was begun with. Raises ConfigError if others are wanted."""
    had = begun.recipe.epochs, begun.recipe.learning_rate
    if epochs not in (None, had[0]) or rate not in (None, had[1]):
        raise ConfigError(
            f"{begun.path} was begun with --epochs {had[0]} --learning-rate {had[1]:g}: give the same or none, "
            "or remove it to begin anew"
        )
    return had


def qat_directory(run: Path, scheme: Scheme) -> Path:
    """Where the fine-tuning of a run lies."""
    return run / f"qat-{scheme}"


def load_qat(run: Path, scheme: Scheme) -> Run:
    """The fine-tuned form of a run. Raises ConfigError if there is none or it is not finished."""
    tuned = _begun(run, scheme)
    if tuned is None:
        raise ConfigError(f"{run} has no {scheme} quantisation-aware training: python -m convert qat {run} ...")
    if not tuned.finished:
        raise ConfigError(
            f"{tuned.path} is not finished: give its convert qat command again, it goes on where it stopped"
        )
    return replace(tuned, recipe=tuned.recipe.model_copy(update={"network": QuantisedNetwork(tuned.recipe, scheme)}))


def symmetric(run: Run, data: DataSet) -> Any:
    """A run's network under simulated symmetric int8: fine-tuned where that was done, else only calibrated."""
    if (qat_directory(run.path, "symmetric") / RECORD).is_file():
        return load_qat(run.path, "symmetric").build()
    return calibrated(run, data)


def calibrated(run: Run, data: DataSet) -> Any:
    """A run's network under simulated symmetric int8, calibrated on training faces and not trained further."""
    pixels = calibration_pixels(data.restrict(run.classes)["train"], run.recipe.input)
    network = QuantisedNetwork(run.recipe, "symmetric", pixels)
    return network(run.recipe.input.shape, len(run.classes), weights=str(run.path / BEST))


def calibration_pixels(faces: Faces, spec: InputSpec) -> npt.NDArray[np.uint8]:
    """Evenly spread pictures of a split, as the model sees them: N x H x W x C."""
    rows = np.linspace(0, len(faces) - 1, min(CALIBRATION_FACES, len(faces))).astype(np.int64)
    return model_pixels(faces.images[rows], spec)
