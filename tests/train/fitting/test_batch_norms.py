"""Batch norms of averaged weights, and networks that have collapsed."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("tf_keras")

from train.data.faces import Faces
from train.evaluation.evaluate import figures_text
from train.evaluation.metrics import confusion
from train.evaluation.model_figures import compute_figures
from train.evaluation.one_class import one_class
from train.fitting.batch_norms import Statistics, batch_norms, set_momentum
from train.fitting.fit import warn_of_one_class
from train.keras import K
from train.recipes.recipe import gray_input


def network() -> K.Model:
    inputs = K.Input((16, 16, 1))
    x = K.layers.Conv2D(4, 3, use_bias=False)(inputs)
    x = K.layers.ReLU()(K.layers.BatchNormalization(momentum=0.9, name="first")(x))
    x = K.layers.BatchNormalization(momentum=0.99, name="second")(K.layers.Conv2D(4, 3, use_bias=False)(x))
    return K.Model(inputs, K.layers.Dense(3)(K.layers.GlobalAveragePooling2D()(x)))


def noise(count: int, labels: list[int] | None = None, classes: int = 3) -> Faces:
    pictures = np.random.default_rng(0).integers(0, 256, (count, 16, 16)).astype(np.uint8)
    pictures = (pictures * np.linspace(0.2, 1, count)[:, None, None]).astype(np.uint8)
    columns = np.zeros(count, np.int64) if labels is None else np.array(labels)
    return Faces(pictures, np.eye(classes, dtype=np.float32)[columns], np.ones(count, np.bool_))


def test_new_statistics_are_the_means_over_the_training_faces() -> None:
    model, faces, spec = network(), noise(50), gray_input(16)
    Statistics(faces, spec, seed=0).estimate(model, model)
    batch = ((faces.images[..., None].astype(np.float32)) - 128) / 128
    seen = K.Model(model.input, [layer.input for layer in batch_norms(model)])(batch)
    for norm, values in zip(batch_norms(model), seen, strict=True):
        assert norm.moving_mean.numpy() == pytest.approx(values.numpy().mean(axis=(0, 1, 2)), abs=1e-4)
        assert norm.moving_variance.numpy() == pytest.approx(values.numpy().var(axis=(0, 1, 2)), rel=0.02)
    assert model(batch, training=False).numpy() == pytest.approx(model(batch, training=True).numpy(), abs=0.05)
    assert [norm.momentum for norm in batch_norms(model)] == [0.9, 0.99]


def test_norms_that_are_frozen_in_training_keep_their_statistics() -> None:
    model, live = network(), network()
    live.get_layer("first").trainable = False
    Statistics(noise(20), gray_input(16), seed=0).estimate(model, live)
    assert (model.get_layer("first").moving_mean.numpy() == 0).all()
    assert (model.get_layer("second").moving_mean.numpy() != 0).any()


def test_the_momentum_follows_the_number_of_steps() -> None:
    for steps, expected in [(2, [0.5, 0.5]), (15, [1 - 2 / 15] * 2), (50, [0.9, 0.96]), (10_000, [0.9, 0.99])]:
        model = network()
        set_momentum(model, steps)
        assert [norm.momentum for norm in batch_norms(model)] == pytest.approx(expected)


def test_one_predicted_class_for_several_is_called_so() -> None:
    truth, anger = np.array([0, 1, 2] * 4), np.full(12, 2)
    assert one_class(confusion(truth, anger, 3), ("neutral", "fear", "anger")) == "anger"
    assert one_class(confusion(truth, truth, 3), ("neutral", "fear", "anger")) is None
    assert one_class(confusion(anger, anger, 3), ("neutral", "fear", "anger")) is None
    assert one_class(confusion(truth[:3], anger[:3], 3), ("neutral", "fear", "anger")) is None
    logits = np.tile([0.0, 3.0, 1.0], (12, 1))
    assert "predicts fear for each of these faces" in figures_text(
        compute_figures(truth, logits, ("neutral", "fear", "anger"))
    )


def test_a_run_that_learned_one_class_alone_warns(capsys: pytest.CaptureFixture[str]) -> None:
    faces = noise(12, [0, 1, 2] * 4)
    warn_of_one_class(np.tile(np.float32([0, 3, 1]), (12, 1)), faces, ("neutral", "fear", "anger"))
    assert "warning: the network predicts fear for each of 12 validation faces" in capsys.readouterr().err
    warn_of_one_class(faces.votes, faces, ("neutral", "fear", "anger"))
    assert capsys.readouterr().err == ""
