"""Drawing for explanations: heat maps on faces, grids of feature maps, patches. Independent of any network."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from edge_emotion.cli.annotate import FONT, INK
from edge_emotion.datatypes import Image
from edge_emotion.models.preprocess import Pixels
from edge_emotion.protocols import FloatArray

SIDE = 224
"""Side in pixels of a face in these pictures; 48 pixels would be too small to see."""

PAPER = 255
GAP = 4
LINE = 22
"""Height of a line of text in pixels."""

BAR_ROOM = 84
"""Width of a colour bar with its text."""


def enlarge(face: Pixels, side: int = SIDE) -> Image:
    """A face crop, h x w (x 1) grey or h x w x 3 BGR, as side x side x 3 BGR, enlarged without interpolation."""
    colour = face if face.ndim == 3 and face.shape[2] == 3 else cv2.cvtColor(face, cv2.COLOR_GRAY2BGR)
    return np.asarray(cv2.resize(colour, (side, side), interpolation=cv2.INTER_NEAREST), np.uint8)


def heat_colours(heat: FloatArray, side: int = SIDE) -> Image:
    """A map h x w of values 0..1 as side x side x 3 BGR: black, violet, orange, light yellow."""
    levels = cv2.resize(np.clip(heat, 0, 1).astype(np.float32), (side, side), interpolation=cv2.INTER_LINEAR)
    return np.asarray(cv2.applyColorMap(np.rint(255 * levels).astype(np.uint8), cv2.COLORMAP_INFERNO), np.uint8)


def overlay(face: Pixels, heat: FloatArray, *, strength: float = 0.55) -> Image:
    """A heat map (h x w, 0..1) on an enlarged face: SIDE x SIDE x 3 BGR. ``strength``: weight of the heat map, 0..1."""
    blend = (1 - strength) * enlarge(face).astype(np.float32) + strength * heat_colours(heat)
    return np.asarray(np.rint(blend), np.uint8)


def grid(tiles: Sequence[Image], columns: int) -> Image:
    """Pictures of one size in rows of ``columns``, with gaps between them."""
    height, width = tiles[0].shape[:2]
    rows, columns = -(-len(tiles) // columns), min(columns, len(tiles))
    sheet = np.full((rows * (height + GAP) - GAP, columns * (width + GAP) - GAP, 3), PAPER, np.uint8)
    for place, tile in enumerate(tiles):
        top, left = (place // columns) * (height + GAP), (place % columns) * (width + GAP)
        sheet[top : top + height, left : left + width] = tile
    return sheet


def feature_grid(maps: FloatArray, *, count: int = 64, columns: int = 8, side: int = 64) -> Image:
    """The ``count`` channels of h x w x C with the largest standard deviation, largest first, each scaled to 0..1."""
    deviation = maps.std(axis=(0, 1))
    strongest = np.argsort(-deviation, kind="stable")[:count]
    chosen = maps[..., strongest]
    low, high = chosen.min(axis=(0, 1)), chosen.max(axis=(0, 1))
    scaled = (chosen - low) / np.maximum(high - low, 1e-9)
    return grid([_tile(scaled[..., i], side) for i in range(scaled.shape[-1])], columns)


def patch_view(face: Pixels, rows: int, columns: int, *, gap: int = GAP) -> Image:
    """A face cut into rows x columns patches with gaps between them: the input tokens of a Vision Transformer."""
    high, wide = max(SIDE // rows, 1), max(SIDE // columns, 1)
    whole = cv2.resize(enlarge(face), (wide * columns, high * rows), interpolation=cv2.INTER_NEAREST)
    patches = np.asarray(whole, np.uint8).reshape(rows, high, columns, wide, 3)
    room = ((0, 0), (0, gap), (0, 0), (0, gap), (0, 0))
    apart = np.pad(patches, room, constant_values=PAPER).reshape(rows * (high + gap), columns * (wide + gap), 3)
    return np.ascontiguousarray(apart[:-gap, :-gap]) if gap else apart


def caption(image: Image, *lines: str) -> Image:
    """The picture with lines of (ASCII) text above it."""
    strip = np.full((LINE * len(lines), image.shape[1], 3), PAPER, np.uint8)
    for number, text in enumerate(lines, start=1):
        cv2.putText(strip, text, (GAP, LINE * number - 7), FONT, 0.42, INK, 1, cv2.LINE_AA)
    return np.concatenate([strip, image])


def with_colour_bar(image: Image, what: str) -> Image:
    """The picture with the colours of heat maps at its right, from 0 (below) to 1 (above); ``what`` they measure."""
    bar = np.full((image.shape[0], BAR_ROOM, 3), PAPER, np.uint8)
    high, top = min(SIDE, image.shape[0] - 2 * LINE), LINE
    levels = np.linspace(1, 0, high, dtype=np.float32)[:, None]
    colours = cv2.applyColorMap(np.rint(255 * levels).astype(np.uint8), cv2.COLORMAP_INFERNO)
    bar[top : top + high, 2 * GAP : 2 * GAP + LINE] = colours
    for text, y in ((what, LINE - 7), ("1", top + 12), ("0", top + high)):
        x = 2 * GAP if text == what else 3 * GAP + LINE
        cv2.putText(bar, text, (x, y), FONT, 0.42, INK, 1, cv2.LINE_AA)
    return np.concatenate([image, bar], axis=1)


def _tile(values: FloatArray, side: int) -> Image:
    levels = cv2.resize(values.astype(np.float32), (side, side), interpolation=cv2.INTER_NEAREST)
    return np.asarray(cv2.applyColorMap(np.rint(255 * levels).astype(np.uint8), cv2.COLORMAP_VIRIDIS), np.uint8)
