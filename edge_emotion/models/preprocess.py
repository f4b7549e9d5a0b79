"""The only place where pixels become model input: crop, align, resize, normalise.

Training, conversion, benchmarks and the daemon all call these functions.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, TypeVar

import cv2
import numpy as np
import numpy.typing as npt

from edge_emotion.datatypes import Face, Image
from edge_emotion.errors import ModelError
from edge_emotion.models.manifest import CropSpec, InputSpec
from edge_emotion.protocols import FloatArray

Pixels = npt.NDArray[np.uint8]
Values = TypeVar("Values", bound=Any)

MAX_OVERSAMPLING = 8
"""Most samples per pixel of detail of a crop that cannot be halved further: enough for 8 x 48 = 384 px."""

NORMAL_LIGHT, MAX_GAIN = 90.0, 10.0
"""Brightness of a picture as detectors are used to it, and how much a dark one is multiplied at most."""

DIM, FACE_LIGHT = 64.0, 100.0
"""Mean grey level of a crop below which a face is brightened, and to which."""

SMOOTHING = 0.4 / 48
"""Deviation of the filter for a face with half the light of DIM, in sides of the crop; it grows with the logarithm."""

MIN_DOWNSAMPLE_RATIO = 3
"""Crops are halved from this multiple of their detail on: what is left is still sampled more finely than the detail."""


def crop_square(face: Face, spec: CropSpec) -> tuple[float, float, float]:
    """Middle x, middle y and side, in pixels, of the square around a face that the classifier sees.

    The shift follows the face's own axis: a tilted face is framed like an upright one.
    """
    size, roll = max(face.box.width, face.box.height), face.roll
    centre_x, centre_y = face.box.centre
    down = spec.shift * size
    return centre_x - down * math.sin(roll), centre_y + down * math.cos(roll), size * (1 + 2 * spec.margin)


def align(image: Image, face: Face, spec: CropSpec, *, grey: bool = False) -> Pixels:
    """The upright square around a face: detail x detail x 3 uint8 BGR, or detail x detail if it is to be ``grey``.

    Rotated so that the eyes are level; what lies outside the picture repeats its edge. Large faces are halved, sampled
    at a multiple of the detail and averaged down, so that they do not alias.
    """
    centre_x, centre_y, side = crop_square(face, spec)
    roll = face.roll
    cos, sin = math.cos(roll), math.sin(roll)
    halvings = max(math.frexp(side / (MIN_DOWNSAMPLE_RATIO * spec.detail))[1], 0)
    left, top, right, bottom = _reach(centre_x, centre_y, side * (abs(cos) + abs(sin)), image, 2**halvings)
    part = image[top:bottom, left:right]
    if grey:
        part = _colour(part, "gray")
    centre_x, centre_y = centre_x - left, centre_y - top
    for _ in range(halvings):
        if (part.shape[0] | part.shape[1]) % 2:
            break
        part = _half(part)
        centre_x, centre_y, side = centre_x / 2, centre_y / 2, side / 2
    factor = min(max(round(side / spec.detail), 1), MAX_OVERSAMPLING)
    size = spec.detail * factor
    along_x, along_y = side / size * cos, side / size * sin
    half = (size - 1) / 2
    # Output pixel (u, v) -> picture: pixel centres, so the square's middle is at (size - 1) / 2 and at centre - 0.5.
    to_part = np.array(
        [
            [along_x, -along_y, centre_x - 0.5 - half * (along_x - along_y)],
            [along_y, along_x, centre_y - 0.5 - half * (along_y + along_x)],
        ]
    )
    square = cv2.warpAffine(
        part, to_part, (size, size), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP, borderMode=cv2.BORDER_REPLICATE
    )
    if factor > 1:
        square = cv2.resize(square, (spec.detail, spec.detail), interpolation=cv2.INTER_AREA)
    return np.asarray(square, np.uint8)


def _reach(centre_x: float, centre_y: float, extent: float, image: Image, step: int) -> tuple[int, int, int, int]:
    """Left, top, right, bottom of the part of a picture that a turned square, ``extent`` wide, is sampled from.

    Never empty. Colours are converted for this part alone. It reaches two ``step`` further, for interpolation, and to
    multiples of ``step``, a power of two, where the picture does, so that it can be halved until a step is a pixel.
    """
    half = extent / 2 + 2 * step

    def span(middle: float, whole: int) -> tuple[int, int]:
        low = int(min(max(middle - half, 0), whole - 1)) // step * step
        return low, max(min(-int(-(middle + half) // step) * step, whole), low + 1)

    height, width = image.shape[:2]
    (left, right), (top, bottom) = span(centre_x, width), span(centre_y, height)
    return left, top, right, bottom


def to_input(crop: Pixels, spec: InputSpec) -> Pixels:
    """A face crop in the model's size and colours: uint8 H x W x C.

    ``crop`` is h x w (grey) or h x w x 3 (BGR), already framed as the training data is.
    """
    if spec.crop is not None and max(crop.shape[:2]) > spec.crop.detail:
        crop = _resize(crop, spec.crop.detail, spec.crop.detail)
    pixels = _resize(_colour(crop, spec.colour), spec.width, spec.height)
    return pixels.reshape(spec.shape)


def normalise(pixels: npt.NDArray[np.uint8], spec: InputSpec) -> FloatArray:
    """``pixel * scale + offset`` as float32, any leading axes."""
    values: FloatArray = pixels.astype(np.float32)  # first: a product of two types takes twice as long
    return to_model_range(values, spec)


def to_model_range(values: Values, spec: InputSpec) -> Values:
    """``value * scale + offset`` for float32 values of 0 to 255: a NumPy array, which is changed, or a tensor."""
    values *= np.float32(spec.scale)
    values += np.float32(spec.offset)
    return values


def to_pixel_range(values: Values, spec: InputSpec) -> Values:
    """The inverse of ``to_model_range``, as new float32 values."""
    values = values - np.float32(spec.offset)
    values /= np.float32(spec.scale)
    return values


def face_batch(image: Image, faces: Sequence[Face], spec: InputSpec) -> FloatArray:
    """Model input for faces in one picture: float32 N x H x W x C, N = len(faces) >= 1.

    Raises ModelError for a model whose manifest has no ``input.crop``.
    """
    if spec.crop is None:
        raise ModelError("this model's manifest has no input.crop: it cannot be used on detected faces")
    batch = np.empty((len(faces), *spec.shape), np.uint8)
    for pixels, face in zip(batch, faces, strict=True):
        pixels[:] = to_input(align(image, face, spec.crop, grey=spec.colour == "gray"), spec)
    return normalise(batch, spec)


def brightened(crops: FloatArray, spec: InputSpec) -> FloatArray:
    """Crops of faces (N x H x W x C model input) with dark ones as in normal light; the same array if none is dark.

    Where there is less light there is more noise: the darker a crop, the more it is smoothed. Limits, filter and target
    were chosen on the validation split of FER+: docs/results/quality-gate.md.
    """
    light = to_pixel_range(crops.mean(axis=(1, 2, 3)), spec)
    dark = np.flatnonzero(light < DIM)
    if not dark.size:
        return crops
    crops = crops.copy()
    for index, mean in zip(dark.tolist(), np.maximum(light[dark], 1.0).tolist(), strict=True):
        sigma = SMOOTHING * spec.width * math.log2(DIM / mean)
        smooth = cv2.GaussianBlur(crops[index], (0, 0), sigma, borderType=cv2.BORDER_REPLICATE).reshape(spec.shape)
        grey = to_pixel_range(smooth, spec) * np.float32(FACE_LIGHT / mean)
        crops[index] = to_model_range(np.clip(grey, 0, 255), spec)
    return crops


def letterbox(image: Image, spec: InputSpec) -> tuple[FloatArray, float]:
    """A whole picture for a detector: float32 1 x H x W x 3, and the factor from model pixels to picture pixels.

    The picture keeps its aspect and lies at the top left; the rest is black, which is -1 or 0 after normalising.
    """
    pixels, factor = letterbox_pixels(image, spec)
    return normalise(pixels, spec), factor


def letterbox_pixels(image: Image, spec: InputSpec) -> tuple[Pixels, float]:
    """As ``letterbox``, for a model that takes pixels as they are (scale 1, offset 0): uint8 1 x H x W x 3."""
    height, width = image.shape[:2]
    factor = max(height / spec.height, width / spec.width)
    inner_width, inner_height = max(round(width / factor), 1), max(round(height / factor), 1)
    inner = _colour(_shrink(image, inner_width, inner_height), spec.colour)
    if inner.shape == spec.shape:
        return inner[None], factor
    canvas = np.zeros(spec.shape, np.uint8)
    canvas[:inner_height, :inner_width] = inner
    return canvas[None], factor


def brightness(image: Image) -> float:
    """Mean of the values of a picture, 0 to 255, from one pixel of each 8 x 8."""
    return float(image[::8, ::8].mean())


def lightened(image: Image, mean: float) -> Image:
    """A picture multiplied so that a brightness of ``mean`` becomes NORMAL_LIGHT, by MAX_GAIN at most."""
    gain = min(NORMAL_LIGHT / max(mean, 1.0), MAX_GAIN)
    return np.asarray(cv2.convertScaleAbs(image, alpha=gain), np.uint8)


def _shrink(image: Image, width: int, height: int) -> Pixels:
    """A whole picture in another size: halved as often as it can be, which costs a fraction of an area average."""
    while image.shape[0] >= 2 * height and image.shape[1] >= 2 * width and not (image.shape[0] | image.shape[1]) % 2:
        image = _half(image)
    if image.shape[0] >= 2 * height or image.shape[1] >= 2 * width or image.shape[:2] == (height, width):
        return _resize(image, width, height)
    return np.asarray(cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR_EXACT), np.uint8)


def _half(image: Pixels) -> Pixels:
    """Each 2 x 2 pixels as their mean; both sides must be even."""
    return np.asarray(cv2.resize(image, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA), np.uint8)


def _resize(image: Pixels, width: int, height: int) -> Pixels:
    """Area average down, bilinear up (half-pixel centres); unchanged if the size is already right.

    Bilinear is OpenCV's exact one: the usual one rounds differently on arm64 and x86_64, and where a face is ambiguous,
    one grey level moves a probability by tenths.
    """
    if image.shape[:2] == (height, width):
        return image
    smaller = height < image.shape[0] or width < image.shape[1]
    method = cv2.INTER_AREA if smaller else cv2.INTER_LINEAR_EXACT
    return np.asarray(cv2.resize(image, (width, height), interpolation=method), np.uint8)


def _colour(image: Pixels, colour: str) -> Pixels:
    """BGR or grey to the model's colours: H x W for gray, H x W x 3 otherwise."""
    grey = image.ndim == 2
    if colour == "gray":
        return image if grey else np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), np.uint8)
    if grey:
        return np.asarray(cv2.cvtColor(image, cv2.COLOR_GRAY2BGR), np.uint8)
    return image if colour == "bgr" else np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), np.uint8)
