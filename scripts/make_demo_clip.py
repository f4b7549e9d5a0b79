"""Makes the bundled demo clip: a visitor enters, moves, comes closer, tilts her head and leaves.

The visitor is the NASA portrait of the astronaut Eileen Collins that ships with scikit-image (public domain).

    python scripts/make_demo_clip.py edge_emotion/demo.mp4
"""

from __future__ import annotations

import argparse
import math
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
from skimage import data

WIDTH, HEIGHT, FPS = 640, 480, 15
FACE = 224.0, 115.0
"""Centre of the face in the 512 x 512 portrait."""

KEYS = (
    # second, x and y of the face, scale, tilt in degrees
    (0.0, -260.0, 200.0, 1.2, 0.0),
    (0.8, -260.0, 200.0, 1.2, 0.0),
    (2.2, 300.0, 190.0, 1.2, 0.0),
    (3.6, 390.0, 200.0, 1.5, 0.0),
    (4.6, 330.0, 210.0, 1.6, -22.0),
    (6.0, 300.0, 210.0, 1.6, 22.0),
    (7.0, 310.0, 200.0, 1.4, 0.0),
    (8.6, 900.0, 200.0, 1.2, 0.0),
    (10.2, 900.0, 200.0, 1.2, 0.0),
)

Pixels = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]


def pose(second: float) -> tuple[float, float, float, float]:
    """Position, scale and tilt at a time: cosine easing between the keys."""
    for before, after in pairwise(KEYS):
        if second <= after[0]:
            share = (1 - math.cos(math.pi * (second - before[0]) / (after[0] - before[0]))) / 2
            x, y, scale, tilt = (a + share * (b - a) for a, b in zip(before[1:], after[1:], strict=True))
            return x, y, scale, tilt
    return KEYS[-1][1:]


def background() -> Floats:
    """A wall with light from the upper left, and a darker floor line."""
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH].astype(np.float32)
    light = 1 - 0.35 * np.hypot(x / WIDTH - 0.3, y / HEIGHT - 0.2)
    wall = np.stack([light * 165, light * 175, light * 182], axis=2)
    wall[int(HEIGHT * 0.86) :] *= 0.75
    return wall.astype(np.float32)


def visitor() -> tuple[Floats, Floats]:
    """The portrait as BGR, and a soft-edged mask around head and shoulders."""
    portrait = cv2.cvtColor(data.astronaut(), cv2.COLOR_RGB2BGR).astype(np.float32)
    mask = np.zeros(portrait.shape[:2], np.float32)
    cv2.ellipse(mask, (225, 128), (92, 112), 0, 0, 360, 1.0, cv2.FILLED)
    cv2.ellipse(mask, (215, 430), (185, 215), 0, 0, 360, 1.0, cv2.FILLED)
    return portrait, cv2.GaussianBlur(mask, (0, 0), 8)[..., None]


def frame(second: float, wall: Floats, portrait: Floats, mask: Floats) -> Pixels:
    """One picture of the clip."""
    x, y, scale, tilt = pose(second)
    matrix = cv2.getRotationMatrix2D(FACE, tilt, scale)
    matrix[:, 2] += x - FACE[0], y - FACE[1]
    figure = cv2.warpAffine(portrait, matrix, (WIDTH, HEIGHT), borderMode=cv2.BORDER_REPLICATE)
    cover = cv2.warpAffine(mask, matrix, (WIDTH, HEIGHT))[..., None]
    return np.asarray((cover * figure + (1 - cover) * wall).clip(0, 255), np.uint8)


def main() -> None:
    """Write the clip."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("output", type=Path)
    output = parser.parse_args().output
    writer = cv2.VideoWriter(str(output), cv2.VideoWriter_fourcc(*"mp4v"), FPS, (WIDTH, HEIGHT))
    wall, (portrait, mask) = background(), visitor()
    for index in range(int(KEYS[-1][0] * FPS)):
        writer.write(frame(index / FPS, wall, portrait, mask))
    writer.release()
    print(f"{output}: {output.stat().st_size / 1e3:.0f} kB")


if __name__ == "__main__":
    main()
