"""Augmentation as tf functions over whole batches: one kernel call per step, whatever the batch size.

Images are float32 N x H x W x C in 0..255.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from train.keras import tf

Tensor = Any


@dataclass(frozen=True)
class Augmentation:
    """How far each random change may go; 0 switches it off.

    rotation: degrees; zoom: factor 1 +- zoom; shift: fraction of the side; brightness: of 255; contrast: factor
    1 +- contrast; erase: chance of blanking one rectangle of 2 to ``erase_area`` of the picture.
    """

    flip: bool = True
    rotation: float = 12.0
    zoom: float = 0.12
    shift: float = 0.08
    brightness: float = 0.15
    contrast: float = 0.25
    erase: float = 0.3
    erase_area: float = 0.2

    def __call__(self, images: Tensor) -> Tensor:
        """Changed pictures of the same shape, still in 0..255."""
        images = self._move(images)
        images = self._light(images)
        return tf.clip_by_value(self._erase(images), 0.0, 255.0)

    def _move(self, images: Tensor) -> Tensor:
        """Flip, rotation, zoom and shift as one projective transform about the middle."""
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

    def _erase(self, images: Tensor) -> Tensor:
        """Random erasing (Zhong et al. 2020): a rectangle takes the picture's own mean."""
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


def _uniform(n: Tensor, limit: float) -> Tensor:
    return tf.random.uniform([n], -limit, limit) if limit else tf.zeros([n])


def _inside(size: Tensor, length: Tensor) -> Tensor:
    """N x size: True within a random stretch of ``length`` (fraction of the side)."""
    position = (tf.cast(tf.range(size), tf.float32) + 0.5) / tf.cast(size, tf.float32)
    middle = tf.random.uniform(tf.shape(length))
    return tf.abs(position[None, :] - middle[:, None]) < length[:, None] / 2
