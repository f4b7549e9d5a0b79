"""State of a run on disk after each epoch: a kill at any moment loses at most the unfinished epoch."""

from __future__ import annotations

import csv
import io
import re
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from edge_emotion.system.atomic_file import write_text
from train.fitting.schedule import PLATEAU_FACTOR, PLATEAU_PATIENCE, LearningRate
from train.keras import tf
from train.recipes.recipe import Recipe
from train.runs.run_directory import BEST, CHECKPOINTS, HISTORY, TrainingError


class State:
    """Checkpoint, best weights and history of a run; resumed by the constructor if the run directory has a checkpoint.

    ``averaged``: the variables with the averages of the model's weights. Writing the checkpoint finishes an epoch:
    until then the best weights have the epoch's number in their name, and history after the last checkpoint is removed.
    Only the ``chief`` of a distributed run keeps files. Raises TrainingError for a checkpoint that does not fit.
    """

    def __init__(
        self, model: Any, averaged: Sequence[Any], rate: LearningRate, run: Path, *, chief: bool = True
    ) -> None:
        self._run, self._rate, self._chief = run, rate, chief
        self._epoch, self._best_epoch, self._since_best, self._since_lower = (
            tf.Variable(0, dtype=tf.int64, trainable=False) for _ in range(4)
        )
        self._best, self._lowest_loss = (tf.Variable(value, trainable=False) for value in (-np.inf, np.inf))
        checkpoint = tf.train.Checkpoint(
            model=model, optimizer=model.optimizer, average=averaged, factor=rate.factor, epoch=self._epoch,
            best=self._best, best_epoch=self._best_epoch, since_best=self._since_best,
            lowest_loss=self._lowest_loss, since_lower=self._since_lower,
        )  # fmt: skip
        latest = tf.train.latest_checkpoint(str(run / CHECKPOINTS))
        self.resumed = latest is not None
        if self.resumed:
            _restore(checkpoint, latest)
        # Every worker has to take part in saving, but only the chief's file is kept.
        self._unkept = None if chief else tempfile.TemporaryDirectory()
        where = run / CHECKPOINTS if self._unkept is None else self._unkept.name
        self._manager = tf.train.CheckpointManager(checkpoint, str(where), max_to_keep=1)
        if chief:
            self._settle()
            _cut(run / HISTORY, self.epoch)

    @property
    def epoch(self) -> int:
        """Number of finished epochs."""
        return int(self._epoch.numpy())

    @property
    def best(self) -> float:
        """The best value so far of the metric that the recipe selects by."""
        return float(self._best.numpy())

    @property
    def best_epoch(self) -> int:
        """Number of the epoch (from 1) that ``best`` is of."""
        return int(self._best_epoch.numpy())

    def ended(self, recipe: Recipe) -> bool:
        """Whether the run is over: after its last epoch, or after as many without a better one as the recipe allows."""
        return self.epoch >= recipe.epochs or 0 < recipe.patience <= int(self._since_best.numpy())

    def note(self, epoch: int, value: float, loss: float) -> bool:
        """Record the validation of an epoch (from 1); returns whether ``value`` is the best so far."""
        better = value > self.best
        self._since_best.assign(0 if better else self._since_best + 1)
        if better:
            self._best.assign(value)
            self._best_epoch.assign(epoch)
        lower = loss < float(self._lowest_loss.numpy())
        self._since_lower.assign(0 if lower else self._since_lower + 1)
        if lower:
            self._lowest_loss.assign(loss)
        return better

    def keep(self, model: Any, epoch: int) -> None:
        """Save a model's weights as the best so far, valid from the end of this epoch on."""
        if self._chief:
            model.save_weights(self._run / f"best-{epoch}.h5")

    def lower_rate_on_plateau(self) -> None:
        """Lower the learning rate if the loss has not fallen for PLATEAU_PATIENCE epochs."""
        if int(self._since_lower.numpy()) >= PLATEAU_PATIENCE:
            self._rate.factor.assign(self._rate.factor * PLATEAU_FACTOR)
            self._since_lower.assign(0)

    def save(self, epoch: int) -> None:
        """Write the checkpoint after ``epoch`` finished epochs."""
        self._epoch.assign(epoch)
        self._manager.save()
        if self._chief:
            self._settle()

    def _settle(self) -> None:
        """Rename the best weights of finished epochs to BEST; delete those of an epoch that was lost."""
        for path in self._run.glob("best-*.h5"):
            number = re.fullmatch(r"best-(\d+)", path.stem)
            if number and int(number[1]) == int(self._best_epoch.numpy()):
                path.replace(self._run / BEST)
            elif number:
                path.unlink()


def _restore(checkpoint: Any, path: str) -> None:
    try:
        checkpoint.restore(path).assert_consumed()
    except (AssertionError, IndexError, ValueError, tf.errors.OpError) as error:
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise TrainingError(f"{path} does not fit this run or is damaged: {reason}") from error


def _cut(history: Path, epochs: int) -> None:
    """Remove the rows of epochs that were not finished."""
    if not history.is_file():
        return
    with history.open(encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file))
    kept = [row for number, row in enumerate(rows) if number == 0 or (row and int(row[0]) < epochs)]
    if len(kept) < len(rows):
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows(kept)
        write_text(history, text.getvalue())
