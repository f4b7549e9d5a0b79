"""Batches, mixing, schedules and freezing: effects of a recipe's options on a run."""

from __future__ import annotations

from itertools import islice
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("tf_keras")

from train.data.augment import Augmentation
from train.data.faces import DataSet, Faces
from train.evaluation import logits
from train.evaluation.predict import KerasBackend
from train.fitting.batches import batches, mix, steps_per_epoch
from train.fitting.callbacks import frozen_layers
from train.fitting.class_balance import balance
from train.fitting.schedule import LearningRate
from train.keras import tf
from train.recipes.catalogue import find_recipe
from train.recipes.recipe import Recipe

OFF = Augmentation(flip=False, rotation=0, zoom=0, shift=0, brightness=0, contrast=0, erase=0)


def recipe(**changes: object) -> Recipe:
    plain: dict[str, object] = {"oversample": 0, "compensate": False, "augmentation": OFF, "batch_size": 4}
    return find_recipe("tiny").change(**{**plain, **changes})


def numbered(count: int) -> Faces:
    """Face k is a flat picture of grey value k; every fifth one is of the second class."""
    images = np.stack([np.full((48, 48), k, np.uint8) for k in range(count)])
    votes = np.eye(2, dtype=np.float32)[(np.arange(count) % 5 == 4).astype(int)]
    return Faces(images, votes, np.ones(count, np.bool_))


def drawn(faces: Faces, settings: Recipe, count: int, **options: Any) -> list[int]:
    """The faces in the first batches."""
    stream = batches(faces, settings, balance(faces, settings), **options)
    return [round(float(value)) for x, _, _ in islice(stream, count) for value in (x[:, 0, 0, 0].numpy() + 1) * 128]


def test_an_epoch_holds_every_face_and_fills_its_last_batch() -> None:
    faces, settings = numbered(10), recipe()
    assert steps_per_epoch(balance(faces, settings), settings) == 3
    rows = drawn(faces, settings, 3)
    assert len(rows) == 12
    assert sorted(rows[:10]) == list(range(10))


def test_undersampling_thins_out_the_frequent_class_and_keeps_the_rare_one() -> None:
    """Ten of 50 faces are of the rare class: an epoch has these and ten others, each once."""
    faces, settings = numbered(50), recipe(undersample=1, batch_size=5)
    chosen = balance(faces, settings)
    assert (chosen.drawn, steps_per_epoch(chosen, settings)) == (20, 4)
    epochs = [drawn(faces, settings, 4, first_epoch=epoch) for epoch in range(6)]
    assert all(len(set(rows)) == 20 for rows in epochs)
    rare = [sum(row % 5 == 4 for row in rows) / 20 for rows in epochs]
    assert 0.3 < np.mean(rare) < 0.6
    assert len({tuple(sorted(rows)) for rows in epochs}) == 6


def test_epochs_follow_from_seed_and_number_alone() -> None:
    faces, settings = numbered(20), recipe()
    both = drawn(faces, settings, 10)
    assert both[:20] != both[20:]
    assert drawn(faces, settings, 5, first_epoch=1) == both[20:]
    assert drawn(faces, settings.change(seed=2), 5) != both[:20]


def test_oversampling_draws_rare_faces_more_often() -> None:
    faces, settings = numbered(50), recipe(oversample=1)
    rows = np.array(drawn(faces, settings, 100))
    assert 0.4 < (rows % 5 == 4).mean() < 0.6


def test_an_epoch_can_be_cut_short() -> None:
    faces, settings = numbered(20), recipe()
    assert drawn(faces, settings, 2, steps=1) == drawn(faces, settings, 1) + drawn(faces, settings, 1, first_epoch=1)


def test_label_smoothing_spreads_a_share_over_all_classes() -> None:
    settings = recipe(label_smoothing=0.2)
    faces = numbered(10)
    _, votes, _ = next(iter(batches(faces, settings, balance(faces, settings))))
    assert sorted(set(np.round(votes.numpy().ravel(), 4))) == pytest.approx([0.1, 0.9])


def test_class_weights_travel_with_their_faces() -> None:
    settings = recipe(class_weights=1)
    faces = numbered(10)
    _, votes, weights = next(iter(batches(faces, settings, balance(faces, settings))))
    assert (weights.numpy() > 1).tolist() == (votes.numpy()[:, 1] > 0.5).tolist()


def test_mixup_mixes_pictures_and_votes_by_the_same_share() -> None:
    tf.random.set_seed(1)
    images = tf.constant(np.stack([np.zeros((8, 8, 1)), np.full((8, 8, 1), 100)]), tf.float32)
    mixed, votes, _ = mix(images, tf.eye(2), tf.ones(2), recipe(mixup=1.0))
    assert mixed[:, 0, 0, 0].numpy() / 100 == pytest.approx(votes[:, 1].numpy(), abs=1e-5)
    assert votes.numpy().sum(axis=1) == pytest.approx([1, 1])
    assert 0.01 < votes[0, 1] < 0.99


def test_cutmix_pastes_a_rectangle_and_mixes_votes_by_its_area() -> None:
    tf.random.set_seed(3)
    images = tf.constant(np.stack([np.zeros((16, 16, 1)), np.full((16, 16, 1), 100)]), tf.float32)
    mixed, votes, weights = mix(images, tf.eye(2), tf.constant([0.0, 1.0]), recipe(cutmix=1.0))
    assert set(np.unique(mixed)) == {0, 100}
    assert mixed.numpy().mean(axis=(1, 2, 3)) / 100 == pytest.approx(votes[:, 1].numpy(), abs=1e-5)
    assert 0.01 < votes[0, 1] < 0.99
    assert weights.numpy() == pytest.approx(votes[:, 1].numpy(), abs=1e-6)


# Schedules: 10 epochs of 10 steps, a base rate of 1, one epoch of warm-up


def rates(**changes: object) -> list[float]:
    rate = LearningRate(recipe(epochs=10, learning_rate=1.0, **changes), 10)
    return [float(rate(tf.constant(step))) for step in range(100)]


@pytest.mark.parametrize("schedule", ["cosine", "step", "plateau", "constant"])
def test_every_schedule_warms_up(schedule: str) -> None:
    assert rates(schedule=schedule)[:10] == pytest.approx([0.1 * k for k in range(1, 11)], abs=1e-6)


def test_the_cosine_falls_to_nothing() -> None:
    values = rates()[10:]
    assert values == sorted(values, reverse=True)
    assert values[45] == pytest.approx(0.5)
    assert values[-1] < 1e-3


def test_the_steps_are_at_a_half_and_at_three_quarters() -> None:
    values = rates(schedule="step")
    assert [values[k] for k in (49, 50, 74, 75, 99)] == pytest.approx([1, 0.1, 0.1, 0.01, 0.01])


def test_a_plateau_lowers_the_rate_by_its_factor() -> None:
    rate = LearningRate(recipe(epochs=10, learning_rate=1.0, schedule="plateau"), 10)
    rate.factor.assign(0.3)
    assert float(rate(tf.constant(50))) == pytest.approx(0.3)


# Freezing: ten layers with weights


def test_layers_are_freed_the_last_ones_first() -> None:
    gradual = recipe(freeze=0.8, unfreeze_epochs=4)
    assert [frozen_layers(gradual, epoch, 10) for epoch in range(6)] == [8, 6, 4, 2, 0, 0]


def test_frozen_layers_stay_frozen_unless_told_otherwise_and_the_head_always_learns() -> None:
    assert [frozen_layers(recipe(freeze=0.5), epoch, 10) for epoch in (0, 9)] == [5, 5]
    assert frozen_layers(recipe(freeze=1.0), 0, 10) == 9


def test_faces_are_measured_a_batch_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """All faces of a split in the input size of a large model may not fit into memory."""
    seen: list[int] = []
    made = logits.model_pixels

    def pixels(images: Any, spec: Any) -> Any:
        seen.append(len(images))
        return made(images, spec)

    monkeypatch.setattr(logits, "model_pixels", pixels)
    model = SimpleNamespace(predict_on_batch=lambda batch: batch.mean(axis=(1, 2)))
    outputs = logits.logits_of(KerasBackend(model), numbered(150), recipe().input)
    assert seen == [64, 64, 22]
    assert outputs[:, 0] == pytest.approx(np.arange(150) / 128 - 1)


def test_faces_come_as_the_model_takes_them(few_faces: DataSet) -> None:
    settings = find_recipe("mobilenet_v2").change(batch_size=8)
    train = few_faces["train"]
    pictures, votes, weights = next(iter(batches(train, settings, balance(train, settings))))
    assert pictures.shape == (8, 96, 96, 1)
    assert -1 <= float(tf.reduce_min(pictures)) < -0.5
    assert 0.3 < float(tf.reduce_max(pictures)) < 1
    assert votes.shape == (8, 8)
    assert weights.shape == (8,)
