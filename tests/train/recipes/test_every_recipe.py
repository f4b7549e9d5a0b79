"""Every recipe: one step of training, and its weights through a file. Whole runs: test_fit.py and the last test."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from edge_emotion.labels import EMOTIONS

pytest.importorskip("tf_keras")

import tensorflow as tf
from tf_keras.src.applications import efficientnet

from train.data.faces import DataSet
from train.fitting.class_balance import balance
from train.fitting.fit import fit
from train.fitting.losses import make_loss
from train.fitting.schedule import LearningRate, make_optimizer
from train.keras import K
from train.networks import vision_transformer
from train.recipes.catalogue import RECIPES, find_recipe
from train.recipes.recipe import Recipe
from train.runs.run_directory import load_run

SMALL_ENOUGH = 96
"""Larger inputs are cut to this; every network takes it."""


@pytest.fixture(autouse=True)
def forget_graphs() -> Iterator[None]:
    """Some of these networks are large, and Keras keeps what it has built."""
    yield
    K.backend.clear_session()


@pytest.fixture(autouse=True)
def few_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two blocks of a transformer's six or twelve, and EfficientNet-B4 with one in each stage: the others are alike."""
    for sizes in ("SMALL", "BASE_16"):
        deep = getattr(vision_transformer, sizes)
        monkeypatch.setattr(vision_transformer, sizes, replace(deep, depth=2))
    monkeypatch.setattr(K.applications, "EfficientNetB4", partial(efficientnet.EfficientNet, 1.4, 0.2, 380))


def small(name: str) -> Recipe:
    side = min(find_recipe(name).input.height, SMALL_ENOUGH)
    return find_recipe(name).change(epochs=1, batch_size=2, input={"height": side, "width": side})


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_learns_from_a_step_and_its_weights_are_kept(
    name: str, few_faces: DataSet, tmp_path: Path
) -> None:
    recipe = small(name)
    model = recipe.build(len(EMOTIONS), weights=None)
    optimizer = make_optimizer(recipe, LearningRate(recipe, 2))
    loss = make_loss(recipe, balance(few_faces["train"], recipe), taught=False)
    pixels = tf.random.stateless_uniform((2, *recipe.input.shape), (1, 2))
    before = model.trainable_weights[-1].numpy()
    with tf.GradientTape() as tape:
        error = loss(tf.one_hot([0, 3], len(EMOTIONS)), model(pixels, training=True))
    gradients = tape.gradient(error, model.trainable_weights)
    assert all(gradient is not None for gradient in gradients), "each weight has a part in the answer"
    optimizer.apply_gradients(zip(gradients, model.trainable_weights, strict=True))
    assert np.isfinite(error).all() and (model.trainable_weights[-1].numpy() != before).any()
    answers = model(pixels, training=False).numpy()
    assert answers.shape == (2, len(EMOTIONS))
    model.save_weights(tmp_path / "best.h5")
    model.set_weights([np.zeros_like(weights) for weights in model.get_weights()])
    model.load_weights(tmp_path / "best.h5")
    np.testing.assert_array_equal(model(pixels, training=False), answers)


def test_a_run_of_a_transformer_is_finished(few_faces: DataSet, tmp_path: Path) -> None:
    recipe = small("vit")
    best = fit(recipe, few_faces, tmp_path / "run", weights=None, start="random", steps=2)
    assert best.is_file()
    run = load_run(tmp_path / "run")
    assert run.finished
    assert run.recipe == recipe
    assert run.build().output_shape == (None, len(EMOTIONS))
    assert len(run.history["val_accuracy"]) == 1
