"""Averages of weights over the steps of a run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from train.keras import K, tf


class Average(K.callbacks.Callback):  # type: ignore[misc]
    """Exponential moving average of every weight (Polyak averaging); it is what gets validated and kept.

    To be made outside of the scope of a distribution strategy: each worker averages its own copy, which all of them
    have alike but for the statistics of batch norms that are not ``synchronized``; nothing has to be sent.
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
            if live.dtype.is_floating:
                shadow.assign_sub((1.0 - decay) * (shadow - live))
            else:
                shadow.assign(live)

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Early on the average forgets faster: it need not remember the starting point."""
        step = float(self.model.optimizer.iterations.numpy())
        self._update(tf.constant(min(self.decay, (1 + step) / (10 + step)), tf.float32))

    def copy_to(self, weights: Sequence[Any]) -> None:
        """Put the average into the weights of another model with the same graph."""
        for weight, shadow in zip(weights, self.shadows, strict=True):
            weight.assign(shadow)
