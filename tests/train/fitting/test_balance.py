"""Balancing of rare classes: literals."""

from __future__ import annotations

import numpy as np
import pytest

from edge_emotion.errors import ConfigError

pytest.importorskip("tf_keras")

from train.data.faces import Faces
from train.fitting.class_balance import balance, balance_lines
from train.fitting.losses import accuracy, make_loss
from train.keras import tf
from train.recipes.catalogue import find_recipe
from train.recipes.recipe import Recipe

VOTES = np.array([[1, 0]] * 8 + [[0, 1]] * 2, np.float32)
FACES = Faces(np.zeros((10, 48, 48), np.uint8), VOTES, np.ones(10, np.bool_))


def recipe(**changes: object) -> Recipe:
    return find_recipe("tiny").change(**{"oversample": 0, "compensate": False, **changes})


def test_left_alone_every_face_counts_the_same() -> None:
    plain = balance(FACES, recipe())
    assert plain.prior == pytest.approx([0.8, 0.2])
    assert plain.chances == pytest.approx([0.1] * 10)
    assert plain.weights == pytest.approx([1] * 10)
    assert plain.offset == pytest.approx([0, 0])


def test_class_weights_of_power_1_give_every_class_the_same_weight() -> None:
    weights = balance(FACES, recipe(class_weights=1)).weights
    assert weights[:8].sum() == pytest.approx(weights[8:].sum())
    assert weights.mean() == pytest.approx(1)


def test_oversampling_of_power_1_draws_every_class_as_often() -> None:
    chances = balance(FACES, recipe(oversample=1)).chances
    assert chances[:8].sum() == pytest.approx(0.5)
    assert chances[8] == pytest.approx(0.25)


def test_undersampling_draws_fewer_faces_of_frequent_classes() -> None:
    thinned = balance(FACES, recipe(undersample=1))
    assert thinned.drawn == 4
    assert thinned.chances[8:].sum() == pytest.approx(0.5)
    with pytest.raises(ConfigError, match="oversample and undersample exclude each other"):
        recipe(undersample=1, oversample=0.5)


def test_what_is_done_for_rare_classes_is_told_by_class() -> None:
    for changes, line in (
        ({}, []),
        ({"class_weights": 1}, ["weights in the loss: often x0.62, rare x2.50"]),
        ({"oversample": 1}, ["oversampling: faces drawn: often x0.62, rare x2.50"]),
        ({"undersample": 1}, ["undersampling: 4 of 10 faces in an epoch: often x0.25, rare x1.00"]),
    ):
        settings = recipe(**changes)
        assert list(balance_lines(balance(FACES, settings), VOTES, ("often", "rare"), settings)) == line


def test_half_the_power_is_half_the_way_on_a_log_scale() -> None:
    chances = balance(FACES, recipe(oversample=0.5)).chances
    assert chances[8] / chances[0] == pytest.approx(2)


def test_votes_share_out_what_a_face_weighs() -> None:
    mixed = Faces(FACES.images, np.vstack([VOTES[:9], [[0.5, 0.5]]]).astype(np.float32), FACES.clear)
    weights = balance(mixed, recipe(class_weights=1)).weights
    assert weights[0] < weights[9] < weights[8]


def test_compensation_undoes_the_shift_of_the_prior_inside_the_loss() -> None:
    """Labels drawn half and half are scored as if eight in ten were of the first class."""
    offset = balance(FACES, recipe(oversample=1, compensate=True)).offset
    assert offset == pytest.approx(np.log([0.5 / 0.8, 0.5 / 0.2]))


def test_logit_adjustment_adds_tau_times_the_log_prior() -> None:
    assert balance(FACES, recipe(adjust=0.5)).offset == pytest.approx(0.5 * np.log([0.8, 0.2]))


def test_the_loss_is_the_cross_entropy_of_the_adjusted_logits() -> None:
    settings = recipe(adjust=1)
    loss = make_loss(settings, balance(FACES, settings), taught=False)
    value = loss(tf.constant([[1.0, 0.0], [0.0, 1.0]]), tf.constant([[0.0, 0.0], [0.0, 0.0]]))
    assert value.numpy() == pytest.approx(-np.log([0.8, 0.2]), abs=1e-6)


def test_what_teachers_say_has_its_share_and_is_not_adjusted() -> None:
    settings = recipe(adjust=1, distill=0.25, distill_temperature=2)
    loss = make_loss(settings, balance(FACES, settings), taught=True)
    value = float(loss(tf.constant([[1.0, 0.0, 0.5, 0.5]]), tf.constant([[0.0, 0.0]]))[0])
    assert value == pytest.approx(0.75 * -np.log(0.8) + 0.25 * 4 * np.log(2), abs=1e-6)


def test_the_accuracy_looks_at_the_votes_and_not_at_the_teachers() -> None:
    targets = tf.constant([[1.0, 0.0, 0.0, 1.0], [0.0, 1.0, 0.0, 1.0]])
    assert accuracy(targets, tf.constant([[2.0, 1.0], [2.0, 1.0]])).numpy().tolist() == [1, 0]
