"""Augmentation of real faces."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt
import pytest

pytest.importorskip("tf_keras")

from train.data.augment import Augmentation
from train.data.faces import DataSet
from train.keras import tf

Images = npt.NDArray[np.float32]
OFF = Augmentation(flip=False, rotation=0, zoom=0, shift=0, brightness=0, contrast=0, erase=0)


@pytest.fixture(scope="module")
def images(fer_plus: DataSet) -> Images:
    faces = fer_plus["train"].images[:32]
    return np.stack([cv2.resize(face, (96, 96)) for face in faces])[..., None].astype(np.float32)


def sharpness(images: Images) -> npt.NDArray[np.float64]:
    return np.array([cv2.Laplacian(image, cv2.CV_32F).var() for image in images])


def test_switched_off_it_changes_nothing(images: Images) -> None:
    assert np.allclose(OFF(images), images, atol=0.01)


def test_it_keeps_shape_and_range_and_follows_the_seed(images: Images) -> None:
    full = Augmentation(blur=0.5, low_resolution=0.5, jpeg=0.5)
    tf.random.set_seed(1)
    once = full(images).numpy()
    tf.random.set_seed(1)
    assert np.array_equal(once, full(images))
    assert once.shape == images.shape
    assert once.min() >= 0
    assert once.max() <= 255
    assert np.abs(once - images).mean() > 5


def test_a_flip_is_a_mirror_image(images: Images) -> None:
    tf.random.set_seed(1)
    flipped = [
        bool(np.allclose(after, before[:, ::-1], atol=0.01))
        for before, after in zip(images, OFF.model_copy(update={"flip": True})(images).numpy(), strict=True)
        if not np.allclose(after, before, atol=0.01)
    ]
    assert all(flipped)
    assert 4 < len(flipped) < 28


@pytest.mark.parametrize("change", ["blur", "low_resolution"])
def test_a_blurred_face_is_softer_and_as_bright(images: Images, change: str) -> None:
    tf.random.set_seed(1)
    after = OFF.model_copy(update={change: 1.0})(images).numpy()
    assert (sharpness(after) < sharpness(images)).all()
    assert after.mean(axis=(1, 2, 3)) == pytest.approx(images.mean(axis=(1, 2, 3)), abs=1.5)


@pytest.mark.parametrize("change", ["blur", "low_resolution", "jpeg", "erase"])
def test_a_chance_of_a_half_changes_about_half_of_the_faces(images: Images, change: str) -> None:
    tf.random.set_seed(1)
    after = OFF.model_copy(update={change: 0.5})(images).numpy()
    changed = int((np.abs(after - images).max(axis=(1, 2, 3)) > 1).sum())
    assert 6 < changed < 26


def test_jpeg_leaves_the_face_recognisable(images: Images) -> None:
    tf.random.set_seed(1)
    after = OFF.model_copy(update={"jpeg": 1.0})(images).numpy()
    distance = np.abs(after - images).mean(axis=(1, 2, 3))
    assert (distance > 0.3).all()
    assert (distance < 12).all()


def test_an_occlusion_covers_no_more_than_it_may(images: Images) -> None:
    tf.random.set_seed(1)
    after = OFF.model_copy(update={"erase": 1.0, "erase_area": 0.1})(images).numpy()
    covered = (np.abs(after - images) > 0.01).mean(axis=(1, 2, 3))
    assert covered.max() <= 0.115
    assert covered.max() > 0.04


def test_colour_jitter_changes_colours_and_neither_grey_nor_brightness() -> None:
    tf.random.set_seed(1)
    generator = np.random.default_rng(0)
    colour = generator.uniform(90, 160, (8, 4, 4, 3)).astype(np.float32)
    grey = colour.mean(axis=-1, keepdims=True)
    jitter = OFF.model_copy(update={"saturation": 0.5, "hue": 30.0})
    after = jitter(colour).numpy()
    assert (np.abs(after - colour).max(axis=(1, 2, 3)) > 1).all()
    assert np.allclose(after.mean(axis=-1), grey[..., 0], atol=0.01)
    assert np.allclose(jitter(grey), grey, atol=0.01)
    assert np.allclose(jitter(np.repeat(grey, 3, axis=3)), np.repeat(grey, 3, axis=3), atol=0.01)


def test_hue_turns_colours_around_grey_to_the_other_channels() -> None:
    tf.random.set_seed(3)
    red = np.full((64, 2, 2, 3), 90, np.float32)
    red[..., 0] = 120
    after = OFF.model_copy(update={"hue": 120.0})(red).numpy()[:, 0, 0]
    assert np.allclose(after.mean(axis=1), 100, atol=0.01)
    assert np.allclose(np.linalg.norm(after - 100, axis=1), np.linalg.norm([20, -10, -10]), atol=0.01)
    assert {int(pixel.argmax()) for pixel in after} == {0, 1, 2}
