"""Treatment of rare classes: probability of drawing a face, weight in the loss, adjustment of the logits."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from train.data.faces import Faces
from train.recipes.recipe import Recipe

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Balance:
    """Class balance of one training split under one recipe.

    prior: C, distribution of the votes; chances: N, probability of drawing each face, sums to 1; weights: N, weight in
    the loss, mean 1 over the faces drawn; offset: C, added to the logits inside the loss; drawn: number of faces of an
    epoch.
    """

    prior: Array
    chances: Array
    weights: Array
    offset: Array
    drawn: int


def balance(faces: Faces, recipe: Recipe) -> Balance:
    """The class balance of a recipe. Every class must occur."""
    votes = faces.votes.astype(np.float64)
    prior = votes.mean(axis=0)
    chances = _favour_rare(votes, prior, recipe.oversample or recipe.undersample)
    weights = _favour_rare(votes, prior, recipe.class_weights) * len(votes)
    weights /= (chances * weights).sum()
    offset = recipe.adjust * np.log(prior)
    if recipe.compensate:
        trained = (chances * weights) @ votes
        offset = offset + np.log(trained / prior)
    # Undersampling keeps the faces of the rarest class, and of each other face as many as its chance.
    drawn = max(round(1 / chances.max()), 1) if recipe.undersample else len(votes)
    return Balance(prior, chances, weights, offset, drawn)


def balance_lines(
    chosen: Balance, votes: npt.NDArray[np.floating], classes: Sequence[str], recipe: Recipe
) -> Iterator[str]:
    """A line for each way in which rare classes are favoured: per class the mean factor over its votes (N x C)."""
    if recipe.class_weights:
        yield _factors("weights in the loss", chosen.weights, votes, classes)
    if recipe.oversample:
        yield _factors("oversampling: faces drawn", chosen.chances * len(votes), votes, classes)
    if recipe.undersample:
        which = f"undersampling: {chosen.drawn} of {len(votes)} faces in an epoch"
        yield _factors(which, chosen.chances * chosen.drawn, votes, classes)


def _factors(what: str, values: Array, votes: npt.NDArray[np.floating], classes: Sequence[str]) -> str:
    means = (values @ votes) / votes.sum(axis=0)
    return f"{what}: " + ", ".join(f"{name} x{mean:.2f}" for name, mean in zip(classes, means, strict=True))


def _favour_rare(votes: Array, prior: Array, power: float) -> Array:
    """N values that sum to 1: for each face the prior of its classes to the power of minus ``power``."""
    values = votes @ prior**-power
    return np.asarray(values / values.sum())
