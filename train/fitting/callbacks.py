"""Keras callbacks of a run: validation, unfreezing, checkpoints, progress."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import numpy as np
from tqdm import tqdm

from edge_emotion.protocols import FloatArray
from train.data.faces import Faces
from train.evaluation.logits import logits_of
from train.evaluation.metrics import balanced_accuracy, confusion, negative_log_likelihood
from train.evaluation.predict import KerasBackend
from train.fitting.averaging import Average
from train.fitting.batch_norms import Statistics
from train.fitting.distributed import of_chief
from train.fitting.state import State
from train.keras import K
from train.recipes.recipe import Recipe
from train.runs.run_directory import TrainingError

Logs = dict[str, float]


class Validation(K.callbacks.Callback):  # type: ignore[misc]
    """Validates the averaged weights after each epoch, and keeps them if they are the best so far.

    ``judge``: a model with the same graph, outside any strategy, which receives the averaged weights, and then
    ``statistics`` of its batch norms for these. Raises TrainingError if the run has diverged.
    """

    def __init__(
        self, recipe: Recipe, judge: Any, average: Average, state: State, faces: Faces, statistics: Statistics
    ) -> None:
        super().__init__()
        self._recipe, self._judge, self._average, self._state, self._faces = recipe, judge, average, state, faces
        self._statistics = statistics

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Validate, keep the weights if they are the best, lower the rate on a plateau, and stop the run if it is over.

        The logs get the chief's val_loss, val_accuracy and val_balanced_accuracy, so that all machines decide alike.
        """
        self._average.copy_to(self._judge.weights)
        self._statistics.estimate(self._judge, self.model)
        logits = logits_of(KerasBackend(self._judge), self._faces, self._recipe.input)
        figures = of_chief(self.model.distribute_strategy, validation_figures(logits, self._faces))
        if not np.isfinite([figures["val_loss"], *(logs or {}).values()]).all():
            raise TrainingError(
                f"training diverged in epoch {epoch + 1}: its loss is not finite; try a lower learning_rate"
            )
        if self._state.note(epoch + 1, figures["val_" + self._recipe.select], figures["val_loss"]):
            self._state.keep(self._judge, epoch + 1)
        if logs is not None:
            logs.update(figures)
        if self._recipe.schedule == "plateau":
            self._state.lower_rate_on_plateau()
        if self._state.ended(self._recipe):
            self.model.stop_training = True


def validation_figures(logits: FloatArray, faces: Faces) -> Logs:
    """val_loss (cross-entropy with the winner), val_accuracy, val_balanced_accuracy (mean recall of its classes)."""
    matrix = confusion(faces.labels, logits.argmax(axis=1), logits.shape[1])
    return {
        "val_loss": negative_log_likelihood(logits, faces.labels, 1.0),
        "val_accuracy": float(matrix.trace() / len(faces)),
        "val_balanced_accuracy": float(balanced_accuracy(matrix)),
    }


class Unfreeze(K.callbacks.Callback):  # type: ignore[misc]
    """Freezes the first layers, and unfreezes them over some epochs, the last ones first."""

    def __init__(self, recipe: Recipe) -> None:
        super().__init__()
        self._recipe = recipe

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        """Set the trainable layers of an epoch; Keras has to trace its step again if they have changed."""
        layers = [layer for layer in self.model.layers if layer.weights]
        frozen = frozen_layers(self._recipe, epoch, len(layers))
        learns = [index >= frozen for index in range(len(layers))]
        if learns == [layer.trainable for layer in layers]:
            return
        for layer, free in zip(layers, learns, strict=True):
            layer.trainable = free
        self.model.make_train_function(force=True)


def frozen_layers(recipe: Recipe, epoch: int, layers: int) -> int:
    """Number of layers with weights that are frozen in an epoch; the head never is."""
    at_first = min(round(recipe.freeze * layers), layers - 1)
    if not recipe.unfreeze_epochs:
        return at_first
    return round(at_first * max(1 - epoch / recipe.unfreeze_epochs, 0.0))


class Saving(K.callbacks.Callback):  # type: ignore[misc]
    """Writes the checkpoint; must be the last callback of an epoch."""

    def __init__(self, state: State) -> None:
        super().__init__()
        self._state = state

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Save the state: with that, the epoch is finished."""
        self._state.save(epoch + 1)


class ProgressBar(K.callbacks.Callback):  # type: ignore[misc]
    """A tqdm bar over the whole run, and one line of text per epoch."""

    def __init__(self, epochs: int, steps: int, first_epoch: int, write: Callable[[str], None] = print) -> None:
        super().__init__()
        self._epochs, self._write = epochs, write
        self._bar = tqdm(
            total=epochs * steps, initial=first_epoch * steps, unit="step", disable=not sys.stderr.isatty(),
            dynamic_ncols=True, leave=False,
        )  # fmt: skip

    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """Advance the bar by one step."""
        self._bar.update()

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Print the figures of the epoch, above the bar and into redirected output."""
        self._bar.clear()
        figures = "  ".join(f"{name} {value:.4g}" for name, value in (logs or {}).items())
        self._write(f"epoch {epoch + 1}/{self._epochs}  {figures}")

    def on_train_end(self, logs: Logs | None = None) -> None:
        """Remove the bar."""
        self._bar.close()
