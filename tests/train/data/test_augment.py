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
