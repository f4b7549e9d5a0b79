"""What happens around the steps of a run: averaging, validation, unfreezing, checkpoints, progress."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from edge_emotion.preprocess import normalise
from edge_emotion.protocols import FloatArray
from train.batches import model_pixels
from train.faces import Faces
from train.keras import K, tf
from train.metrics import confusion, negative_log_likelihood
from train.recipes import Recipe
from train.schedule import PLATEAU_FACTOR, PLATEAU_PATIENCE, LearningRate

Logs = dict[str, float]


class Average(K.callbacks.Callback):  # type: ignore[misc]
    """Exponential moving average of every weight (Polyak averaging); it is what gets validated and kept.

    To be made outside of the scope of a distribution strategy: each worker averages its own copy, which is that of all
    the others too, so nothing has to be sent.
    """

    def __init__(self, model: Any, decay: float) -> None:
        super().__init__()
        self.decay = decay
        strategy = model.distribute_strategy
        self._live = [strategy.experimental_local_results(weight)[0] for weight in model.weights]
        self.shadows = [tf.Variable(weight, trainable=False) for weight in self._live]
        self._update = tf.function(self._step)

    def _step(self, decay: Any) -> None:
        for shadow, live in zip(self.shadows, self._live, strict=True):
            shadow.assign_sub((1.0 - decay) * (shadow - live))

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Early on the average forgets faster: it need not remember the starting point."""
        step = float(self.model.optimizer.iterations.numpy())
        self._update(tf.constant(min(self.decay, (1 + step) / (10 + step)), tf.float32))

    def copy_to(self, weights: Sequence[Any]) -> None:
        """Put the average into the weights of another model with the same graph."""
        for weight, shadow in zip(weights, self.shadows, strict=True):
            weight.assign(shadow)


class State:
    """What a resumed run needs, in one checkpoint after each epoch."""

    def __init__(self, model: Any, average: Average, rate: LearningRate, folder: Path, *, chief: bool = True) -> None:
        self._epoch = tf.Variable(0, dtype=tf.int64, trainable=False)
        self._best = tf.Variable(-np.inf, trainable=False)
        self._since_best, self._since_lower = (tf.Variable(0, dtype=tf.int64, trainable=False) for _ in range(2))
        self._lowest_loss = tf.Variable(np.inf, trainable=False)
        self._rate = rate
        checkpoint = tf.train.Checkpoint(
            model=model, optimizer=model.optimizer, average=average.shadows, factor=rate.factor, epoch=self._epoch,
            best=self._best, since_best=self._since_best, lowest_loss=self._lowest_loss,
            since_lower=self._since_lower,
        )  # fmt: skip
        latest = tf.train.latest_checkpoint(str(folder))
        self.resumed = latest is not None
        if self.resumed:
            checkpoint.restore(latest).assert_consumed()
        # Every worker has to take part in saving, but only the first one's file is kept.
        self._unkept = None if chief else tempfile.TemporaryDirectory()
        where = folder if self._unkept is None else self._unkept.name
        self._manager = tf.train.CheckpointManager(checkpoint, str(where), max_to_keep=1)

    @property
    def epoch(self) -> int:
        """Finished epochs."""
        return int(self._epoch.numpy())

    @property
    def best(self) -> float:
        """The best value of what the recipe selects by, so far."""
        return float(self._best.numpy())

    @property
    def epochs_since_best(self) -> int:
        """For early stopping."""
        return int(self._since_best.numpy())

    def note(self, value: float, loss: float) -> bool:
        """Note the validation of an epoch; whether ``value`` is the best so far."""
        better = value > self.best
        self._since_best.assign(0 if better else self._since_best + 1)
        if better:
            self._best.assign(value)
        lower = loss < float(self._lowest_loss.numpy())
        self._since_lower.assign(0 if lower else self._since_lower + 1)
        if lower:
            self._lowest_loss.assign(loss)
        return better

    def lower_rate_on_plateau(self) -> None:
        """Lower the learning rate when the loss has not fallen for some epochs."""
        if int(self._since_lower.numpy()) >= PLATEAU_PATIENCE:
            self._rate.factor.assign(self._rate.factor * PLATEAU_FACTOR)
            self._since_lower.assign(0)

    def save(self, epoch: int) -> None:
        """Checkpoint after so many finished epochs."""
        self._epoch.assign(epoch)
        self._manager.save()


class Validation(K.callbacks.Callback):  # type: ignore[misc]
    """Validates the averaged weights after each epoch and keeps them at ``best`` when they are the best so far.

    ``judge`` is a model with the same graph, outside of any strategy, that takes the averaged weights. ``best`` is None
    for the further workers of a distributed run.
    """

    def __init__(
        self, recipe: Recipe, judge: Any, average: Average, state: State, faces: Faces, best: Path | None
    ) -> None:
        super().__init__()
        self._recipe, self._judge, self._average, self._state = recipe, judge, average, state
        self._pictures = model_input(faces, recipe)
        self._faces, self._best = faces, best

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Adds val_loss, val_accuracy and val_balanced_accuracy to the logs."""
        self._average.copy_to(self._judge.weights)
        figures = validation_figures(predict(self._judge, self._pictures), self._faces)
        better = self._state.note(figures["val_" + self._recipe.select], figures["val_loss"])
        if better and self._best is not None:
            beside = self._best.with_name("part-" + self._best.name)
            self._judge.save_weights(beside)
            beside.replace(self._best)
        if logs is not None:
            logs.update(figures)
        if self._recipe.schedule == "plateau":
            self._state.lower_rate_on_plateau()
        if self._recipe.patience and self._state.epochs_since_best >= self._recipe.patience:
            self.model.stop_training = True


def model_input(faces: Faces, recipe: Recipe) -> FloatArray:
    """Faces as the recipe's model takes them: N x H x W x C."""
    return normalise(model_pixels(faces.images, recipe.input), recipe.input)


def predict(model: Any, pictures: FloatArray, batch: int = 64) -> FloatArray:
    """Logits N x C of pictures N x H x W x C, without the log lines of Model.predict."""
    pieces = [model.predict_on_batch(pictures[i : i + batch]) for i in range(0, len(pictures), batch)]
    return np.concatenate(pieces).astype(np.float32)


def validation_figures(logits: FloatArray, faces: Faces) -> Logs:
    """val_loss (cross-entropy with the winner), val_accuracy, val_balanced_accuracy (mean recall of what occurs)."""
    truth = faces.labels
    matrix = confusion(truth, logits.argmax(axis=1), logits.shape[1])
    count = matrix.sum(axis=1)
    recall = matrix.diagonal()[count > 0] / count[count > 0]
    return {
        "val_loss": negative_log_likelihood(logits, truth, 1.0),
        "val_accuracy": float(matrix.diagonal().sum() / count.sum()),
        "val_balanced_accuracy": float(recall.mean()),
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
