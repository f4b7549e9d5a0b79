"""What is done about rare classes: which faces are drawn, how they weigh, how the loss is adjusted."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from train.data.faces import Faces
from train.recipes.recipe import Recipe

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Balance:
    """Class balance of one training split under one recipe.

    prior: C, distribution of the votes; chances: N, how often a face is drawn, sums to 1; weights: N, of its loss,
    mean 1 over what is drawn; offset: C, added to the logits inside the loss.
    """

    prior: Array
    chances: Array
    weights: Array
    offset: Array


def balance(faces: Faces, recipe: Recipe) -> Balance:
    """The class balance that a recipe asks for. Every class must occur."""
    votes = faces.votes.astype(np.float64)
    prior = votes.mean(axis=0)
    chances = _favour_rare(votes, prior, recipe.oversample)
    weights = _favour_rare(votes, prior, recipe.class_weights) * len(votes)
    weights /= (chances * weights).sum()
    offset = recipe.adjust * np.log(prior)
    if recipe.compensate:
        trained = (chances * weights) @ votes
        offset = offset + np.log(trained / prior)
    return Balance(prior, chances, weights, offset)


def _favour_rare(votes: Array, prior: Array, power: float) -> Array:
    """N values that sum to 1: each face by the prior of its classes to the minus ``power``."""
    values = votes @ prior**-power
    return np.asarray(values / values.sum())
