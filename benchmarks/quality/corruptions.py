"""What happens to pictures on the way to a camera's frame, each in five severities.

As Hendrycks and Dietterich (2019, arXiv:1903.12261) corrupt ImageNet: fixed steps, from hardly seen to hardly usable.
Sizes are shares of the face's side, so that they mean the same for every face.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from edge_emotion.datatypes import Box, Image
from train.data.crop import FRAME, place

SEVERITIES = (1, 2, 3, 4, 5)
SIDE = 160
"""Pixels across a pasted face, where its size is not what is varied."""

EYE_LINE, MOUTH_LINE = 0.40, 0.76
"""Height of eyes and mouth in an FER+ face, in sides: medians of BlazeFace's landmarks on 396 validation faces."""

Generator = np.random.Generator


class Scene(NamedTuple):
    """A 480 x 640 picture and the square in it that the face fills."""

    image: Image
    square: Box


class Corruption(NamedTuple):
    """``values``: the parameter at severity 1 to 5, in ``unit``. ``make`` puts a face into a picture with one."""

    values: tuple[float, ...]
    unit: str
    make: Callable[[npt.NDArray[np.uint8], float, Generator], Scene]


def scene(face: npt.NDArray[np.uint8], generator: Generator, side: int = SIDE) -> Scene:
    """A grey face crop of ``side`` pixels, somewhere in the middle third of a picture."""
    left, top = ((size - side) // 2 + int(generator.integers(-size // 6, size // 6 + 1)) for size in FRAME[::-1])
    return Scene(place(face, side, left, top), Box(left, top, side, side))


def corrupt(face: npt.NDArray[np.uint8], name: str, severity: int, generator: Generator) -> Scene:
    """A grey face crop in a picture, corrupted; severity 0 leaves it as it is."""
    if severity == 0:
        return scene(face, generator)
    corruption = CORRUPTIONS[name]
    return corruption.make(face, corruption.values[severity - 1], generator)


def _after(apply: Callable[[Scene, float, Generator], Scene]) -> Callable[..., Scene]:
    """Corrupt a scene in which the face has its usual size."""
    return lambda face, value, generator: apply(scene(face, generator), value, generator)


def _scale(face: npt.NDArray[np.uint8], pixels: float, generator: Generator) -> Scene:
    return scene(face, generator, round(pixels))


def _blur(at: Scene, sigma: float, _: Generator) -> Scene:
    return at._replace(image=_pixels(cv2.GaussianBlur(at.image, (0, 0), sigma * at.square.width)))


def _noise(at: Scene, sigma: float, generator: Generator) -> Scene:
    return at._replace(image=_pixels(at.image + _standard(at, generator) * np.float32(sigma)))


def darkened(image: Image, gain: float, generator: Generator) -> Image:
    """Less light, the same sensor: shot noise grows against the signal, and three grey levels of it are read noise."""
    signal = image * np.float32(gain)
    noise = generator.standard_normal(image.shape, np.float32)
    return _pixels(signal + noise * np.sqrt(signal * 0.5 + 9.0))


def turned(image: Image, centre: tuple[float, float], degrees: float) -> Image:
    """A picture turned about a point, counter-clockwise, in a frame of the same size; its edge goes on."""
    turn = cv2.getRotationMatrix2D(centre, degrees, 1.0)
    return _pixels(cv2.warpAffine(image, turn, image.shape[1::-1], borderMode=cv2.BORDER_REPLICATE))


def _low_light(at: Scene, gain: float, generator: Generator) -> Scene:
    return at._replace(image=darkened(at.image, gain, generator))


def _contrast(at: Scene, gain: float, _: Generator) -> Scene:
    return at._replace(image=_pixels((at.image - at.image.mean()) * gain + at.image.mean()))


def _jpeg(at: Scene, quality: float, _: Generator) -> Scene:
    encoded = cv2.imencode(".jpg", at.image, [cv2.IMWRITE_JPEG_QUALITY, int(quality)])[1]
    return at._replace(image=np.asarray(cv2.imdecode(encoded, cv2.IMREAD_COLOR), np.uint8))


def _low_resolution(at: Scene, pixels: float, _: Generator) -> Scene:
    factor = pixels / at.square.width
    small = cv2.resize(at.image, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)
    return at._replace(image=_pixels(cv2.resize(small, FRAME[::-1], interpolation=cv2.INTER_LINEAR)))


def _eyes(at: Scene, height: float, _: Generator) -> Scene:
    return _bar(at, EYE_LINE, height, grey=20)


def _mouth(at: Scene, height: float, _: Generator) -> Scene:
    return _bar(at, MOUTH_LINE, height, grey=220)


def _bar(at: Scene, line: float, height: float, *, grey: int) -> Scene:
    """Dark glasses or a light mask: a bar of 80 % of the square's width, its middle at ``line``."""
    image, (x, y, side) = at.image.copy(), (at.square.x, at.square.y, at.square.width)
    top, bottom = (round(y + (line + sign * height / 2) * side) for sign in (-1, 1))
    image[max(top, 0) : bottom, round(x + 0.1 * side) : round(x + 0.9 * side)] = grey
    return at._replace(image=image)


def _roll(at: Scene, degrees: float, generator: Generator) -> Scene:
    """The head tilts about the middle of the face, to either side."""
    return at._replace(image=turned(at.image, at.square.centre, degrees * generator.choice((-1, 1))))


def _standard(at: Scene, generator: Generator) -> npt.NDArray[np.float32]:
    """Standard normal values, one for each value of the picture."""
    return generator.standard_normal(at.image.shape, np.float32)


def _pixels(values: npt.ArrayLike) -> Image:
    return np.asarray(np.clip(np.rint(values), 0, 255), np.uint8)


CORRUPTIONS: Mapping[str, Corruption] = {
    "blur": Corruption((0.02, 0.035, 0.05, 0.075, 0.1), "sigma, face sides", _after(_blur)),
    "noise": Corruption((10, 20, 35, 50, 70), "sigma, grey levels", _after(_noise)),
    "low light": Corruption((0.5, 0.25, 0.12, 0.06, 0.03), "share of the light", _after(_low_light)),
    "contrast": Corruption((0.6, 0.4, 0.25, 0.15, 0.08), "share of the contrast", _after(_contrast)),
    "jpeg": Corruption((30, 15, 8, 4, 2), "quality", _after(_jpeg)),
    "low resolution": Corruption((32, 24, 18, 13, 9), "pixels across the face", _after(_low_resolution)),
    "eyes hidden": Corruption((0.08, 0.14, 0.2, 0.26, 0.32), "height of the bar, face sides", _after(_eyes)),
    "mouth hidden": Corruption((0.1, 0.18, 0.26, 0.34, 0.42), "height of the bar, face sides", _after(_mouth)),
    "roll": Corruption((10, 20, 30, 45, 60), "degrees", _after(_roll)),
    "scale": Corruption((110, 80, 60, 45, 32), "pixels across the face", _scale),
}
