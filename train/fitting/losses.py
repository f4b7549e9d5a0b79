"""The training loss: cross-entropy with votes, adjusted for rare classes, mixed with what teachers say."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from train.fitting.class_balance import Balance
from train.keras import tf
from train.recipes.recipe import Recipe

Tensor = Any


def make_loss(recipe: Recipe, balance: Balance, *, taught: bool) -> Callable[[Tensor, Tensor], Tensor]:
    """Loss per face, N, of targets (N x C votes; N x 2C votes and teachers' answer if ``taught``) and logits N x C.

    The offset inside the loss is logit adjustment (Menon et al. 2021, equation 10). Teachers answer for the natural
    prior, so theirs is not adjusted; their part is scaled by the squared temperature (Hinton et al. 2015).
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
    """Whether the winner of the votes is the winner of the logits: N."""
    votes = targets[:, : logits.shape[1]]
    return tf.cast(tf.argmax(votes, axis=1) == tf.argmax(logits, axis=1), tf.float32)
