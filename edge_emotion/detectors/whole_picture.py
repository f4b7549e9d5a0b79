"""A detector for pictures that are face crops already."""

from __future__ import annotations

from collections.abc import Sequence

from edge_emotion.datatypes import Box, Face, Image


class WholePicture:
    """A detector for pictures that are face crops already: the crop that it leads to is the picture itself."""

    def __init__(self, margin: float, shift: float) -> None:
        self._margin, self._shift = margin, shift

    def detect(self, image: Image) -> Sequence[Face]:
        """One face, whose square after margin and shift is the middle square of the picture."""
        height, width = image.shape[:2]
        side = min(height, width) / (1 + 2 * self._margin)
        left, top = width / 2 - side / 2, height / 2 - side / 2 - self._shift * side
        return (Face(Box(left, top, side, side), 1.0),)
