from __future__ import annotations

import hashlib
import math

import cv2
import numpy as np
import pytest

from edge_emotion.datatypes import Box, Face, Image
from edge_emotion.errors import ModelError
from edge_emotion.models.manifest import CropSpec, InputSpec
from edge_emotion.models.preprocess import (
    DIM,
    FACE_LIGHT,
    align,
    brightened,
    crop_square,
    face_batch,
    letterbox,
    normalise,
    to_input,
    to_pixel_range,
)
from edge_emotion.protocols import FloatArray

GRAY = InputSpec(
    height=96, width=96, channels=1, colour="gray", scale=1 / 128, offset=-1.0,
    crop=CropSpec(margin=0.12, shift=-0.1, detail=48),
)  # fmt: skip
EXACT = CropSpec(margin=0.0, shift=0.0, detail=48)

pytestmark = pytest.mark.numeric


def pattern(height: int = 480, width: int = 640) -> Image:
    """A picture in which every place looks different; made of integers, so that it is the same everywhere."""
    y, x = np.mgrid[0:height, 0:width]
    channels = [(x * 3 + y) % 256, (x + y * 5) % 256, (x * y // 64) % 256]
    return cv2.GaussianBlur(np.stack(channels, axis=2).astype(np.uint8), (5, 5), 0).astype(np.uint8)


def upright(x: float, y: float, size: float) -> Face:
    return Face(Box(x, y, size, size), 0.9)


def tilted(degrees: float, centre: tuple[float, float] = (320, 240), size: float = 96) -> Face:
    dx, dy = 20 * math.cos(math.radians(degrees)), 20 * math.sin(math.radians(degrees))
    x, y = centre
    box = Box(x - size / 2, y - size / 2, size, size)
    return Face(box, 0.9, ((x - dx, y - dy), (x + dx, y + dy)))


def test_golden_frame_and_box_give_exactly_this_tensor() -> None:
    face = Face(Box(200, 120, 100, 110), 0.9, ((225.0, 150.0), (272.0, 163.0)))
    tensor = face_batch(pattern(), [face], GRAY)
    assert (tensor.shape, tensor.dtype) == ((1, 96, 96, 1), np.float32)
    pixels = np.rint(tensor * 128 + 128).astype(np.uint8)
    assert np.array_equal(normalise(pixels, GRAY), tensor)
    assert pixels[0, ::24, ::24, 0].tolist() == GOLDEN_PIXELS
    assert hashlib.sha256(pixels.tobytes()).hexdigest()[:16] == GOLDEN_HASH


GOLDEN_PIXELS = [[88, 133, 127, 89], [129, 104, 116, 187], [165, 148, 90, 98], [126, 115, 209, 57]]
GOLDEN_HASH = "f3d7f83d96895452"


def test_an_upright_box_of_the_detail_size_is_cut_out_exactly() -> None:
    image = pattern()
    assert np.array_equal(align(image, upright(100, 50, 48), EXACT), image[50:98, 100:148])


def test_a_large_box_is_averaged_down_and_not_sampled() -> None:
    image = pattern()
    expected = cv2.resize(image[50:242, 100:292], (48, 48), interpolation=cv2.INTER_AREA)
    halved = align(image, upright(100, 50, 192), EXACT).astype(int)
    assert np.abs(halved - expected).max() <= 1, "halving rounds once more"
    half = cv2.resize(image, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
    assert np.array_equal(align(image, upright(100, 50, 144), EXACT), align(half, upright(50, 25, 72), EXACT))
    assert np.array_equal(
        align(image, upright(101, 50, 96), EXACT),
        cv2.resize(image[50:146, 101:197], (48, 48), interpolation=cv2.INTER_AREA),
    )


@pytest.mark.parametrize("size", [200, 300, 420])
def test_a_large_face_does_not_alias(size: int) -> None:
    """Stripes that are too fine for the crop become grey, also where the face is larger than can be oversampled."""
    image = np.zeros((480, 640, 3), np.uint8)
    image[:, ::2] = 255
    crop = align(image, upright(60, 20, size), EXACT).astype(int)
    assert np.abs(crop - 127.5).max() < 10


def test_a_grey_crop_is_the_coloured_one_in_grey() -> None:
    image = pattern()
    for face in (upright(100, 50, 60), upright(30, 40, 250), tilted(25), upright(-40, 400, 120), upright(700, 600, 50)):
        grey = align(image, face, EXACT, grey=True)
        colour = cv2.cvtColor(align(image, face, EXACT), cv2.COLOR_BGR2GRAY)
        assert grey.shape == (48, 48)
        assert np.abs(grey.astype(int) - colour).max() <= 2, "rounded before and after sampling"


def test_a_crop_from_a_part_of_the_picture_is_that_of_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only a part around the square is read: what lies further away changes nothing, whatever size, place and roll."""
    generator, image = np.random.default_rng(0), pattern()
    faces = []
    for _ in range(100):
        x, y = generator.uniform(-100, 700, 2).tolist()
        faces.append(tilted(generator.uniform(-80, 80), (x, y), generator.uniform(5, 600)))
    parts = [align(image, face, EXACT) for face in faces]
    monkeypatch.setattr("edge_emotion.models.preprocess._reach", lambda *_: (0, 0, 640, 480))
    for face, part in zip(faces, parts, strict=True):
        assert np.array_equal(align(image, face, EXACT), part), face


def test_margin_and_shift_move_the_square() -> None:
    spec = CropSpec(margin=0.25, shift=-0.1, detail=48)
    assert crop_square(upright(100, 100, 80), spec) == (140, pytest.approx(132), 120)


@pytest.mark.parametrize("degrees", [-40, -15, 20, 45])
def test_a_tilted_face_is_turned_upright(degrees: float) -> None:
    image = pattern()
    turn = cv2.getRotationMatrix2D((319.5, 239.5), -degrees, 1.0)
    turned = cv2.warpAffine(image, turn, (640, 480)).astype(np.uint8)
    straight = align(image, tilted(0), EXACT).astype(int)
    again = align(turned, tilted(degrees), EXACT).astype(int)
    assert np.abs(straight - again)[4:-4, 4:-4].mean() < 4
    assert np.abs(straight - align(turned, tilted(0), EXACT)).mean() > 20


def test_the_shift_follows_the_tilt() -> None:
    spec = CropSpec(margin=0.0, shift=0.5, detail=48)
    x, y, _ = crop_square(tilted(90, (100, 100), 80), spec)
    assert (x, y) == (pytest.approx(60), pytest.approx(100))


def test_outside_of_the_picture_its_edge_goes_on() -> None:
    image = np.full((100, 100, 3), 200, np.uint8)
    assert (align(image, upright(-30, -30, 60), EXACT) == 200).all()


def test_the_model_never_sees_more_detail_than_it_was_trained_on() -> None:
    crop = np.random.default_rng(0).integers(0, 256, (192, 192), np.uint8)
    coarse = cv2.resize(crop, (48, 48), interpolation=cv2.INTER_AREA)
    assert np.array_equal(to_input(crop, GRAY), to_input(coarse, GRAY))


def test_a_training_crop_passes_unchanged_but_for_its_size() -> None:
    crop = np.random.default_rng(0).integers(0, 256, (48, 48), np.uint8)
    expected = cv2.resize(crop, (96, 96), interpolation=cv2.INTER_LINEAR_EXACT)
    assert np.array_equal(to_input(crop, GRAY)[..., 0], expected)


def test_colours_are_put_in_the_models_order() -> None:
    blue = np.zeros((96, 96, 3), np.uint8)
    blue[..., 0] = 255
    spec = GRAY.model_copy(update={"channels": 3, "crop": None})
    assert to_input(blue, spec.model_copy(update={"colour": "bgr"}))[0, 0].tolist() == [255, 0, 0]
    assert to_input(blue, spec.model_copy(update={"colour": "rgb"}))[0, 0].tolist() == [0, 0, 255]
    assert to_input(blue, GRAY.model_copy(update={"crop": None}))[0, 0].tolist() == [29]
    assert to_input(blue[..., 0], spec.model_copy(update={"colour": "rgb"}))[0, 0].tolist() == [255, 255, 255]


def test_normalising_is_exact_in_int8_terms() -> None:
    pixels = np.arange(256, dtype=np.uint8)
    assert np.array_equal(normalise(pixels, GRAY) * 128, np.arange(-128, 128))
    assert np.array_equal(to_pixel_range(normalise(pixels, GRAY), GRAY), pixels)


@pytest.mark.parametrize(("height", "width", "factor"), [(480, 640, 2.5), (640, 480, 2.5), (100, 50, 100 / 256)])
def test_a_letterbox_keeps_the_aspect(height: int, width: int, factor: float) -> None:
    spec = InputSpec(height=256, width=256, channels=3, colour="rgb", scale=1 / 127.5, offset=-1.0)
    tensor, back = letterbox(np.full((height, width, 3), 255, np.uint8), spec)
    assert back == pytest.approx(factor)
    inside = tensor[0, ..., 0] == 1
    assert inside[: round(height / factor), : round(width / factor)].all()
    assert inside.sum() == round(height / factor) * round(width / factor)


def test_a_model_without_a_crop_cannot_be_used_on_faces() -> None:
    with pytest.raises(ModelError, match=r"no input\.crop"):
        face_batch(pattern(), [upright(0, 0, 50)], GRAY.model_copy(update={"crop": None}))


def noisy(light: float, noise: float) -> FloatArray:
    """A grey crop of this light, with a step of a fifth of it in the middle, and noise."""
    generator = np.random.default_rng(0)
    grey = np.full((96, 96, 1), light) + generator.normal(0, noise, (96, 96, 1))
    grey[:, 48:] *= 1.2
    return normalise(np.clip(np.rint(grey), 0, 255).astype(np.uint8), GRAY)


def test_dark_faces_are_brightened_and_smoothed_the_more_the_darker_they_are() -> None:
    roughness = []
    for light in (40.0, 20.0, 10.0):
        (found,) = to_pixel_range(brightened(noisy(light, light / 10)[None], GRAY), GRAY)
        assert found.mean() == pytest.approx(FACE_LIGHT, rel=0.05)
        left, right = found[:, 8:40], found[:, 56:88]
        assert right.mean() / left.mean() == pytest.approx(1.2, rel=0.05), "what is there stays"
        roughness.append(float(left.std()))
    assert roughness == sorted(roughness, reverse=True) and roughness[-1] < 4 < roughness[0]


def test_of_several_faces_only_dark_ones_change_and_the_crops_stay_for_other_measures() -> None:
    batch = np.stack([noisy(DIM + 20, 5), noisy(15, 3), normalise(np.zeros((96, 96, 1), np.uint8), GRAY)])
    before = batch.copy()
    found = brightened(batch, GRAY)
    assert np.array_equal(batch, before) and np.array_equal(found[0], batch[0])
    assert (found[1] != batch[1]).any() and np.array_equal(found[2], batch[2]), "black stays black"
    light = batch[:1]
    assert brightened(light, GRAY) is light
