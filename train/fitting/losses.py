"""The training loss: cross-entropy with the votes, adjusted for rare classes, and distillation from teachers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from train.fitting.class_balance import Balance
from train.keras import tf
from train.recipes.recipe import Recipe

Tensor = Any


def make_loss(recipe: Recipe, balance: Balance, *, taught: bool) -> Callable[[Tensor, Tensor], Tensor]:
    """A loss per face, N, from targets (N x C votes; if ``taught`` N x 2C votes and teachers' output) and logits N x C.

    The offset inside the loss is logit adjustment (Menon et al. 2021, equation 10). Teachers' outputs are for the
    natural prior, so their part is not adjusted; it is scaled by the squared temperature (Hinton et al. 2015).
    """
    offset = tf.constant(balance.offset, tf.float32)
    share, temperature = recipe.distill, recipe.distill_temperature

    def votes_loss(votes: Tensor, logits: Tensor) -> Tensor:
        return tf.nn.softmax_cross_entropy_with_logits(votes, logits + offset)

    def loss(targets: Tensor, logits: Tensor) -> Tensor:
        votes, answer = tf.split(targets, 2, axis=1)
        learned = tf.nn.softmax_cross_entropy_with_logits(answer, logits / temperature) * temperature**2
        return (1 - share) * votes_loss(votes, logits) + share * learned

    return loss if taught else votes_loss


def accuracy(targets: Tensor, logits: Tensor) -> Tensor:
    """Whether votes and logits have the same winner: N."""
    votes = targets[:, : logits.shape[1]]
    return tf.cast(tf.argmax(votes, axis=1) == tf.argmax(logits, axis=1), tf.float32)
