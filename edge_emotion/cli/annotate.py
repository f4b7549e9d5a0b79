"""Drawing boxes and labels on a picture that the user asked for. Nothing in the daemon calls this."""

from __future__ import annotations

from collections.abc import Iterable

import cv2
import numpy as np

from edge_emotion.datatypes import EmotionScores, Face, Image

COLOUR = (80, 200, 60)
INK = (20, 20, 20)
FONT = cv2.FONT_HERSHEY_SIMPLEX


def annotate(image: Image, findings: Iterable[tuple[Face, EmotionScores]], *, threshold: float = 0.0) -> Image:
    """A copy of an H x W x 3 BGR picture with a box, the emotion and its confidence at each face.

    Less confidence than ``threshold`` is 'unknown'.
    """
    drawn: Image = image.copy()
    thickness = max(1, round(min(image.shape[:2]) / 240))
    for face, scores in findings:
        box = face.box
        corner, opposite = (round(box.x), round(box.y)), (round(box.x + box.width), round(box.y + box.height))
        cv2.rectangle(drawn, corner, opposite, COLOUR, thickness, cv2.LINE_AA)
        for x, y in face.landmarks:
            cv2.circle(drawn, (round(x), round(y)), thickness, COLOUR, cv2.FILLED, cv2.LINE_AA)
        _label(drawn, f"{scores.named(threshold)} {scores.confidence:.0%}", corner)
    return drawn


def _label(image: Image, text: str, corner: tuple[int, int]) -> None:
    """Text on a filled strip above ``corner``, or inside the picture where there is no room above."""
    scale = max(0.4, min(image.shape[:2]) / 800)
    thickness = max(1, round(2 * scale))
    (width, height), base = cv2.getTextSize(text, FONT, scale, thickness)
    left = int(np.clip(corner[0], 0, max(image.shape[1] - width, 0)))
    bottom = max(corner[1], height + 2 * base)
    cv2.rectangle(image, (left, bottom - height - 2 * base), (left + width, bottom), COLOUR, cv2.FILLED)
    cv2.putText(image, text, (left, bottom - base), FONT, scale, INK, thickness, cv2.LINE_AA)
