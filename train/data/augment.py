"""Data augmentation as tf functions on whole batches: a fixed number of kernel calls per step.

Images are float32 N x H x W x C in 0..255.
"""

from __future__ import annotations

import math
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from train.keras import tf

Tensor = Any


class Augmentation(BaseModel):
    """Ranges and probabilities of the random changes; 0 switches a change off.

    ``rotation``, ``zoom`` and ``shift`` cover the variation of a detector's boxes (``python -m train crop`` measures
    it).
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    flip: bool = True
    rotation: float = Field(default=12.0, ge=0, le=180)
    """Degrees, at most, in either direction."""
    zoom: float = Field(default=0.12, ge=0, lt=1)
    """Factor 1 +- zoom."""
    shift: float = Field(default=0.08, ge=0, lt=1)
    """Fraction of the side."""
    brightness: float = Field(default=0.15, ge=0, le=1)
    """Largest offset, as a fraction of 255."""
    contrast: float = Field(default=0.25, ge=0, lt=1)
    """Factor 1 +- contrast."""
    saturation: float = Field(default=0.0, ge=0, le=1)
    """Factor 1 +- saturation of the distance from grey; for colour inputs."""
    hue: float = Field(default=0.0, ge=0, le=180)
    """Degrees, at most, in either direction around the grey axis; for colour inputs."""
    blur: float = Field(default=0.0, ge=0, le=1)
    """Probability of a Gaussian blur, with a standard deviation of up to 2 % of the side."""
    low_resolution: float = Field(default=0.0, ge=0, le=1)
    """Probability of a lower resolution: a third to two thirds of the pixels of a 48 px face."""
    jpeg: float = Field(default=0.0, ge=0, le=1)
    """Probability of JPEG compression with quality 20 to 80."""
    erase: float = Field(default=0.3, ge=0, le=1)
    """Probability of an occlusion: one rectangle of 2 % to ``erase_area`` of the picture."""
    erase_area: float = Field(default=0.2, gt=0.02, le=1)

    def __call__(self, images: Tensor) -> Tensor:
        """Augment a batch; the result has the same shape, in 0..255."""
        images = self._move(images)
        images = _some(self.blur, images, _blur)
        images = _some(self.low_resolution, images, _low_resolution)
        images = tf.clip_by_value(self._colour(self._light(images)), 0.0, 255.0)
        images = self._jpeg(images)
        return self._erase(images)

    def _move(self, images: Tensor) -> Tensor:
        """Flip, rotation, zoom and shift as one projective transform about the centre."""
        n, size = tf.shape(images)[0], tf.cast(tf.shape(images)[1], tf.float32)
        angle = _uniform(n, self.rotation) * (math.pi / 180)
        zoom = 1.0 + _uniform(n, self.zoom)
        mirror = tf.where(tf.random.uniform([n]) < 0.5, -1.0, 1.0) if self.flip else tf.ones([n])
        cos, sin = tf.cos(angle) * zoom, tf.sin(angle) * zoom
        middle = (size - 1) / 2
        right = middle + _uniform(n, self.shift) * size - mirror * cos * middle + sin * middle
        down = middle + _uniform(n, self.shift) * size - mirror * sin * middle - cos * middle
        zero = tf.zeros([n])
        transforms = tf.stack([mirror * cos, -sin, right, mirror * sin, cos, down, zero, zero], axis=1)
        return tf.raw_ops.ImageProjectiveTransformV3(
            images=images,
            transforms=transforms,
            output_shape=tf.shape(images)[1:3],
            interpolation="BILINEAR",
            fill_mode="NEAREST",
            fill_value=0.0,
        )

    def _light(self, images: Tensor) -> Tensor:
        n = tf.shape(images)[0]
        mean = tf.reduce_mean(images, axis=(1, 2, 3), keepdims=True)
        factor = tf.reshape(1.0 + _uniform(n, self.contrast), [-1, 1, 1, 1])
        offset = tf.reshape(_uniform(n, self.brightness * 255.0), [-1, 1, 1, 1])
        return (images - mean) * factor + mean + offset

    def _colour(self, images: Tensor) -> Tensor:
        """Colour jitter (Howard 2013; Chen et al. 2020) around the grey axis, so that BGR and RGB are treated alike."""
        if images.shape[-1] != 3 or not (self.saturation or self.hue):
            return images
        n = tf.shape(images)[0]
        grey = tf.reduce_mean(images, axis=-1, keepdims=True)
        colour = (images - grey) * tf.reshape(1.0 + _uniform(n, self.saturation), [-1, 1, 1, 1])
        angle = tf.reshape(_uniform(n, self.hue) * (math.pi / 180), [-1, 1, 1, 1])
        # Rodrigues' rotation of vectors at right angles to the axis (1, 1, 1) / sqrt(3).
        across = (tf.roll(colour, 1, axis=-1) - tf.roll(colour, -1, axis=-1)) / math.sqrt(3)
        return grey + colour * tf.cos(angle) + across * tf.sin(angle)

    def _jpeg(self, images: Tensor) -> Tensor:
        """The codec takes one picture at a time, so only the chosen pictures go through it."""
        if not self.jpeg:
            return images
        shape = images.shape[1:]
        n = tf.shape(images)[0]
        # Drawn before the loop, whose iterations run in any order.
        chosen, qualities = tf.random.uniform([n]) < self.jpeg, tf.random.uniform([n], 20, 80, tf.int32)

        def through_codec(image: Tensor, quality: Tensor) -> Tensor:
            return tf.cast(tf.image.adjust_jpeg_quality(tf.cast(image, tf.uint8), quality), tf.float32)

        def one(element: tuple[Tensor, Tensor, Tensor]) -> Tensor:
            image, wanted, quality = element
            image = tf.cond(wanted, lambda: through_codec(image, quality), lambda: image)
            return tf.ensure_shape(image, shape)

        return tf.map_fn(one, (images, chosen, qualities), fn_output_signature=tf.float32)

    def _erase(self, images: Tensor) -> Tensor:
        """Random erasing (Zhong et al. 2020): a rectangle is filled with the picture's mean."""
        if not self.erase:
            return images
        n, size = tf.shape(images)[0], tf.shape(images)[1]
        area = tf.random.uniform([n], 0.02, self.erase_area)
        aspect = tf.exp(_uniform(n, math.log(3.0)))
        mean = tf.reduce_mean(images, axis=(1, 2, 3), keepdims=True)
        rows = _inside(size, tf.sqrt(area * aspect))[:, :, None]
        columns = _inside(size, tf.sqrt(area / aspect))[:, None, :]
        chosen = tf.random.uniform([n, 1, 1]) < self.erase
        return tf.where((rows & columns & chosen)[..., None], mean, images)


def _some(chance: float, images: Tensor, change: Any) -> Tensor:
    """Apply ``change`` to each picture with probability ``chance``."""
    if not chance:
        return images
    chosen = tf.random.uniform([tf.shape(images)[0], 1, 1, 1]) < chance
    return tf.where(chosen, change(images), images)


def _blur(images: Tensor) -> Tensor:
    """Gaussian blur with one random width per batch: a standard deviation of 0.5 to 2 % of the side."""
    size, channels = images.shape[1], images.shape[-1]
    radius = max(math.ceil(size * 0.05), 1)
    sigma = tf.random.uniform([], 0.005, 0.02) * size
    line = tf.exp(-0.5 * (tf.range(-radius, radius + 1, dtype=tf.float32) / sigma) ** 2)
    line = tf.tile((line / tf.reduce_sum(line))[:, None, None, None], [1, 1, channels, 1])
    padded = tf.pad(images, [[0, 0], [radius, radius], [radius, radius], [0, 0]], mode="SYMMETRIC")
    blurred = tf.nn.depthwise_conv2d(padded, line, [1, 1, 1, 1], "VALID")
    return tf.nn.depthwise_conv2d(blurred, tf.transpose(line, [1, 0, 2, 3]), [1, 1, 1, 1], "VALID")


def _low_resolution(images: Tensor) -> Tensor:
    """A distant face: downsampled to 16 to 32 pixels, the same for the batch, and upsampled again."""
    side = tf.random.uniform([], 16, 33, tf.int32)
    small = tf.image.resize(images, [side, side], antialias=True)
    return tf.image.resize(small, images.shape[1:3])


def _uniform(n: Tensor, limit: float) -> Tensor:
    return tf.random.uniform([n], -limit, limit) if limit else tf.zeros([n])


def _inside(size: Tensor, length: Tensor) -> Tensor:
    """N x size: True within a random interval of ``length`` (fraction of the side)."""
    position = (tf.cast(tf.range(size), tf.float32) + 0.5) / tf.cast(size, tf.float32)
    middle = tf.random.uniform(tf.shape(length))
    return tf.abs(position[None, :] - middle[:, None]) < length[:, None] / 2
