"""What happens around the steps of a run: averaging, validation, unfreezing, checkpoints, progress."""

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
from train.fitting.distributed import of_chief
from train.fitting.state import State
from train.keras import K
from train.recipes.recipe import Recipe
from train.runs.run_directory import TrainingError

Logs = dict[str, float]


class Validation(K.callbacks.Callback):  # type: ignore[misc]
    """Validates the averaged weights after each epoch and keeps them when they are the best so far.

    ``judge`` is a model with the same graph, outside of any strategy, that takes the averaged weights.
    Raises TrainingError when the run has diverged.
    """

    def __init__(self, recipe: Recipe, judge: Any, average: Average, state: State, faces: Faces) -> None:
        super().__init__()
        self._recipe, self._judge, self._average, self._state, self._faces = recipe, judge, average, state, faces

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Adds val_loss, val_accuracy and val_balanced_accuracy to the logs: the chief's, by which all machines act."""
        self._average.copy_to(self._judge.weights)
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
    """val_loss (cross-entropy with the winner), val_accuracy, val_balanced_accuracy (mean recall of what occurs)."""
    matrix = confusion(faces.labels, logits.argmax(axis=1), logits.shape[1])
    return {
        "val_loss": negative_log_likelihood(logits, faces.labels, 1.0),
        "val_accuracy": float(matrix.trace() / len(faces)),
        "val_balanced_accuracy": float(balanced_accuracy(matrix)),
    }


class Unfreeze(K.callbacks.Callback):  # type: ignore[misc]
    """Keeps the first layers as they are, and frees them over some epochs, the last ones first."""

    def __init__(self, recipe: Recipe) -> None:
        super().__init__()
        self._recipe = recipe

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        """Keras traces its step anew when the layers that learn have changed."""
        layers = [layer for layer in self.model.layers if layer.weights]
        frozen = frozen_layers(self._recipe, epoch, len(layers))
        learns = [index >= frozen for index in range(len(layers))]
        if learns == [layer.trainable for layer in layers]:
            return
        for layer, free in zip(layers, learns, strict=True):
            layer.trainable = free
        self.model.make_train_function(force=True)


def frozen_layers(recipe: Recipe, epoch: int, layers: int) -> int:
    """How many of the layers with weights keep them in an epoch; the head always learns."""
    at_first = min(round(recipe.freeze * layers), layers - 1)
    if not recipe.unfreeze_epochs:
        return at_first
    return round(at_first * max(1 - epoch / recipe.unfreeze_epochs, 0.0))


class Saving(K.callbacks.Callback):  # type: ignore[misc]
    """The checkpoint, as the last act of an epoch."""

    def __init__(self, state: State) -> None:
        super().__init__()
        self._state = state

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """An epoch is finished when it can be resumed after."""
        self._state.save(epoch + 1)


class ProgressBar(K.callbacks.Callback):  # type: ignore[misc]
    """One bar over the whole run with the time left, and one line for each epoch."""

    def __init__(self, epochs: int, steps: int, first_epoch: int, write: Callable[[str], None] = print) -> None:
        super().__init__()
        self._epochs, self._write = epochs, write
        self._bar = tqdm(
            total=epochs * steps, initial=first_epoch * steps, unit="step", disable=not sys.stderr.isatty(),
            dynamic_ncols=True, leave=False,
        )  # fmt: skip

    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """One step further."""
        self._bar.update()

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """The figures of an epoch stay on the screen, and in a log file."""
        self._bar.clear()
        figures = "  ".join(f"{name} {value:.4g}" for name, value in (logs or {}).items())
        self._write(f"epoch {epoch + 1}/{self._epochs}  {figures}")

    def on_train_end(self, logs: Logs | None = None) -> None:
        """Leave the line free."""
        self._bar.close()
