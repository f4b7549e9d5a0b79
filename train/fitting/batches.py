"""Augmented batches from faces in memory, as a tf.data pipeline."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from edge_emotion.models.preprocess import to_model_range
from edge_emotion.protocols import FloatArray
from train.data.faces import Faces
from train.evaluation.logits import model_pixels
from train.fitting.class_balance import Balance
from train.keras import tf
from train.recipes.recipe import Recipe

Tensor = Any


def steps_per_epoch(balance: Balance, recipe: Recipe) -> int:
    """Number of batches that contain the faces of an epoch."""
    return -(-balance.drawn // recipe.batch_size)


def batches(faces: Faces, recipe: Recipe, balance: Balance, *, first_epoch: int = 0, steps: int | None = None) -> Any:
    """Endless batches: (model input N x H x W x C, votes N x C, loss weights N).

    The faces of an epoch depend on the seed and the epoch only. ``steps``: batches per epoch, if not all.
    """
    spec = recipe.input
    weights = balance.weights.astype(np.float32)

    def drawn() -> Iterator[tuple[npt.NDArray[np.uint8], FloatArray, FloatArray]]:
        epoch = first_epoch
        while True:
            for rows in _epoch(balance, recipe, epoch)[:steps]:
                yield model_pixels(faces.images[rows], spec), faces.votes[rows], weights[rows]
            epoch += 1

    @tf.autograph.experimental.do_not_convert  # type: ignore[untyped-decorator]  # it has no loops, and starts sooner
    def prepare(pixels: Tensor, votes: Tensor, weights: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        images, targets, weights = mix(recipe.augmentation(tf.cast(pixels, tf.float32)), votes, weights, recipe)
        targets = targets * (1 - recipe.label_smoothing) + recipe.label_smoothing / votes.shape[1]
        return to_model_range(images, spec), targets, weights

    count = recipe.batch_size
    signature = (
        tf.TensorSpec([count, *spec.shape], tf.uint8),
        tf.TensorSpec([count, faces.votes.shape[1]], tf.float32),
        tf.TensorSpec([count], tf.float32),
    )
    # One batch at a time: parallel calls would draw their random numbers in any order.
    return (
        tf.data.Dataset.from_generator(drawn, output_signature=signature)
        .map(prepare, num_parallel_calls=1, deterministic=True)
        .prefetch(2)
    )


def _epoch(balance: Balance, recipe: Recipe, epoch: int) -> npt.NDArray[np.int64]:
    """Rows of every batch of one epoch: batches x batch size. Each face once, or drawn by its probability."""
    generator = np.random.default_rng((recipe.seed, epoch))
    count = len(balance.chances)
    total = steps_per_epoch(balance, recipe) * recipe.batch_size
    if recipe.oversample:
        rows = generator.choice(count, total, p=balance.chances)
    elif recipe.undersample:
        rows = np.resize(generator.choice(count, balance.drawn, replace=False, p=balance.chances), total)
    else:
        rows = np.resize(generator.permutation(count), total)
    return rows.astype(np.int64).reshape(-1, recipe.batch_size)


def mix(images: Tensor, votes: Tensor, weights: Tensor, recipe: Recipe) -> tuple[Tensor, Tensor, Tensor]:
    """MixUp (Zhang et al. 2018) or CutMix (Yun et al. 2019) of each face with one from the other end of the batch.

    Votes (N x C) and loss weights (N) are mixed in the same proportions as the pictures.
    """
    if not (recipe.mixup or recipe.cutmix):
        return images, votes, weights
    if recipe.mixup and recipe.cutmix:
        mixed, share = tf.cond(
            tf.random.uniform([]) < 0.5,
            lambda: _mixup(images, recipe.mixup),
            lambda: _cutmix(images, recipe.cutmix),
        )
    else:
        mixed, share = _mixup(images, recipe.mixup) if recipe.mixup else _cutmix(images, recipe.cutmix)
    each = share[:, None]
    return mixed, votes * each + votes[::-1] * (1 - each), weights * share + weights[::-1] * (1 - share)


def _mixup(images: Tensor, alpha: float) -> tuple[Tensor, Tensor]:
    """Mixed pictures, and each one's share of its own picture: N."""
    share = _beta(tf.shape(images)[0], alpha)
    each = share[:, None, None, None]
    return images * each + images[::-1] * (1 - each), share


def _cutmix(images: Tensor, alpha: float) -> tuple[Tensor, Tensor]:
    """Pictures with a rectangle of another one, and each one's share of its own picture: N."""
    n, size = tf.shape(images)[0], images.shape[1]
    side = tf.sqrt(1 - _beta(n, alpha)) * size
    inside = _stretch(n, side, size)[:, :, None] & _stretch(n, side, size)[:, None, :]
    share = 1 - tf.reduce_mean(tf.cast(inside, tf.float32), axis=(1, 2))
    return tf.where(inside[..., None], images[::-1], images), share


def _stretch(n: Tensor, length: Tensor, size: int) -> Tensor:
    """N x size: True within ``length`` pixels around a random centre."""
    middle = tf.random.uniform([n], 0, size)
    return tf.abs(tf.range(size, dtype=tf.float32)[None] + 0.5 - middle[:, None]) < length[:, None] / 2


def _beta(n: Tensor, alpha: float) -> Tensor:
    """N draws of Beta(alpha, alpha), as a ratio of gamma variates."""
    first, second = tf.random.gamma([n], alpha), tf.random.gamma([n], alpha)
    return first / tf.maximum(first + second, 1e-9)
