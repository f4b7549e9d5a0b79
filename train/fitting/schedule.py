"""How the learning rate goes over a run."""

from __future__ import annotations

import math
from typing import Any

from train.keras import K, tf
from train.recipes.recipe import Recipe

STEPS = (0.5, 0.75)
"""Where 'step' divides by ten: shares of the run (He et al. 2016)."""

PLATEAU_PATIENCE, PLATEAU_FACTOR = 3, 0.3
"""Epochs without a lower validation loss, and what the rate is then multiplied by."""


class LearningRate(K.optimizers.schedules.LearningRateSchedule):  # type: ignore[misc]
    """Linear warm-up, then 'cosine' (Loshchilov and Hutter 2017), 'step', 'plateau' or 'constant'.

    ``factor`` is a variable that checkpoints keep: 'plateau' lowers it.
    """

    def __init__(self, recipe: Recipe, batches: int) -> None:
        super().__init__()
        self._recipe = recipe
        self._warmup = max(recipe.warmup_epochs * batches, 1.0)
        self._total = max(recipe.epochs * batches, self._warmup + 1)
        self.factor = tf.Variable(1.0, trainable=False)

    def __call__(self, step: Any) -> Any:
        """The rate at a step."""
        step = tf.cast(step, tf.float32)
        warm = tf.minimum((step + 1) / self._warmup, 1.0)
        return self._recipe.learning_rate * self.factor * warm * self._course(step)

    def _course(self, step: Any) -> Any:
        if self._recipe.schedule == "cosine":
            done = tf.clip_by_value((step - self._warmup) / (self._total - self._warmup), 0.0, 1.0)
            return 0.5 * (1 + tf.cos(math.pi * done))
        if self._recipe.schedule == "step":
            passed = tf.add_n([tf.cast(step >= share * self._total, tf.float32) for share in STEPS])
            return 0.1**passed
        return 1.0

    def get_config(self) -> dict[str, Any]:
        """Of no use: a run is resumed from its recipe."""
        return {}


def make_optimizer(recipe: Recipe, rate: LearningRate) -> Any:
    """The recipe's optimiser; where weights decay, norms and biases do, too."""
    if recipe.optimizer == "adamw":
        return K.optimizers.AdamW(rate, weight_decay=recipe.weight_decay)
    if recipe.optimizer == "adam":
        return K.optimizers.Adam(rate)
    return K.optimizers.SGD(rate, momentum=0.9, nesterov=True, weight_decay=recipe.weight_decay or None)
