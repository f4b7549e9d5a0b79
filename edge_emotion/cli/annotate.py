"""Drawing boxes and labels on a picture that the user asked for. Nothing in the daemon calls this."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import cv2
import numpy as np

from edge_emotion.datatypes import EmotionScores, Face, Image
from edge_emotion.labels import EMOTIONS

COLOURS = dict(
    zip(
        EMOTIONS,
        ("#7f7f7f", "#e3a008", "#17a2b8", "#3b6fb6", "#c0392b", "#5f8f3e", "#7d4fa3", "#a0673a"),
        strict=True,
    )
)
"""One colour per emotion, in annotated pictures and in plots."""

OTHER = "#444444"
"""Of 'unknown', and of labels that are none of our emotions."""

INK, PAPER = (20, 20, 20), (255, 255, 255)
FONT = cv2.FONT_HERSHEY_SIMPLEX
LEAST_SCALE = 0.05
"""Of letters; smaller ones are no letters any more."""

Colour = tuple[int, int, int]


def annotate(image: Image, findings: Iterable[tuple[Face, EmotionScores]], *, threshold: float = 0.0) -> Image:
    """A copy of an H x W x 3 BGR picture with a box, a number from 1, the emotion and its confidence at each face.

    Less confidence than ``threshold`` is 'unknown'.
    """
    drawn: Image = image.copy()
    thickness = max(1, round(min(image.shape[:2]) / 240))
    for number, (face, scores) in enumerate(findings, start=1):
        box, emotion = face.box, scores.named(threshold)
        colour = _bgr(COLOURS.get(emotion, OTHER))
        corner, opposite = (round(box.x), round(box.y)), (round(box.x + box.width), round(box.y + box.height))
        cv2.rectangle(drawn, corner, opposite, colour, thickness, cv2.LINE_AA)
        for x, y in face.landmarks:
            cv2.circle(drawn, (round(x), round(y)), thickness, colour, cv2.FILLED, cv2.LINE_AA)
        _label(drawn, f"{number} {emotion} {scores.confidence:.0%}", corner, colour)
    return drawn


class Strip(NamedTuple):
    """The place of a label: edges of its filled strip and its baseline in pixels, and the size of its letters."""

    left: int
    top: int
    right: int
    bottom: int
    baseline: int
    scale: float
    thickness: int


def place_label(text: str, size: tuple[int, int], corner: tuple[int, int]) -> Strip:
    """The strip above ``corner`` (x, y) in a picture of ``size`` (H, W) pixels, moved and shrunk until it fits."""
    high, wide = size
    scale = max(0.4, min(high, wide) / 800)
    (width, height), base = cv2.getTextSize(text, FONT, scale, _stroke(scale))
    while (width > wide or height + 2 * base > high) and scale > LEAST_SCALE:
        scale *= 0.9
        (width, height), base = cv2.getTextSize(text, FONT, scale, _stroke(scale))
    left = int(np.clip(corner[0], 0, max(wide - width, 0)))
    bottom = int(np.clip(corner[1], min(height + 2 * base, high), high))
    top = bottom - height - 2 * base
    return Strip(left, top, left + width, bottom, bottom - base, scale, _stroke(scale))


def _stroke(scale: float) -> int:
    return max(1, round(2 * scale))


def _label(image: Image, text: str, corner: tuple[int, int], colour: Colour) -> None:
    strip = place_label(text, image.shape[:2], corner)
    cv2.rectangle(image, (strip.left, strip.top), (strip.right, strip.bottom), colour, cv2.FILLED)
    place = strip.left, strip.baseline
    cv2.putText(image, text, place, FONT, strip.scale, _ink(colour), strip.thickness, cv2.LINE_AA)


def _bgr(text: str) -> Colour:
    red, green, blue = bytes.fromhex(text[1:])
    return blue, green, red


def _ink(colour: Colour) -> Colour:
    """Dark ink on light colours, white on dark ones, by their luma (ITU-R BT.601)."""
    blue, green, red = colour
    return INK if 0.114 * blue + 0.587 * green + 0.299 * red > 120 else PAPER
