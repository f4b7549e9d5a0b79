"""Faces far away in large pictures: the whole picture is searched, and parts of it at their own resolution, in turn."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from edge_emotion.datatypes import Box, Face, Image
from edge_emotion.protocols import FaceDetector

log = logging.getLogger(__name__)

OVERLAP = 0.25
"""Of a tile's height, by which neighbours overlap: a face of up to this size lies in one of them as a whole."""

SAME_PLACE = 0.3
"""Two faces whose boxes overlap by more than this (intersection over union) are one that was found twice."""

INSIDE = 0.7
"""Share of a box inside of another one, from which on the two are one face: one of them is a part that the edge of a
tile has cut off, or goes around head and shoulders."""

Tile = tuple[int, int, int, int]
"""Left, top, right, bottom in pixels."""


class TiledDetector:
    """Two detectors: ``whole`` for the whole picture, ``part`` for tiles of it, ``width`` x ``height`` pixels each.

    ``per_call`` tiles are searched in each call, in turn; None: all of them. ``name`` is for the warning, logged once,
    that pictures are no larger than a tile; None: there is no warning.
    """

    def __init__(
        self,
        whole: FaceDetector,
        part: FaceDetector,
        *,
        width: int,
        height: int,
        per_call: int | None = 1,
        max_faces: int = 64,
        name: str | None = None,
    ) -> None:
        self._whole, self._part = whole, part
        self._size, self._per_call, self._max_faces = (width, height), per_call, max_faces
        self._name = name
        self._shape: tuple[int, ...] = ()
        self._tiles: Sequence[Tile] = ()
        self._next, self._said = 0, name is None

    def detect(self, image: Image) -> Sequence[Face]:
        """Faces in an H x W x 3 BGR picture, best score first; small ones only where this call's tiles are."""
        if image.shape != self._shape:
            self._divide(image)
        found = list(self._whole.detect(image))
        for left, top, right, bottom in self._due():
            found += [face.moved(left, top) for face in self._part.detect(image[top:bottom, left:right])]
        kept: list[Face] = []
        for face in sorted(found, key=lambda face: face.score, reverse=True):
            if not any(_same_place(face.box, other.box) for other in kept):
                kept.append(face)
        return kept[: self._max_faces]

    def _due(self) -> Sequence[Tile]:
        count = len(self._tiles) if self._per_call is None else min(self._per_call, len(self._tiles))
        due = [self._tiles[(self._next + step) % len(self._tiles)] for step in range(count)]
        self._next += count
        return due

    def _divide(self, image: Image) -> None:
        self._shape, self._next = image.shape, 0
        height, width = image.shape[:2]
        self._tiles = tiles(width, height, *self._size)
        if len(self._tiles) == 1:
            self._tiles = ()
        if not self._tiles and not self._said:
            self._said = True
            log.warning(
                "%s: pictures of %d x %d are searched as one: set range: near, or a larger width and height",
                self._name, width, height,
            )  # fmt: skip


def _same_place(one: Box, other: Box) -> bool:
    return one.iou(other) > SAME_PLACE or max(one.covered_by(other), other.covered_by(one)) > INSIDE


def tiles(width: int, height: int, tile_width: int, tile_height: int) -> list[Tile]:
    """Evenly spread tiles that cover a picture, neighbours overlapping by OVERLAP of a tile's height at least."""
    overlap = round(OVERLAP * tile_height)
    columns, rows = _starts(width, tile_width, overlap), _starts(height, tile_height, overlap)
    return [(x, y, min(x + tile_width, width), min(y + tile_height, height)) for y in rows for x in columns]


def _starts(whole: int, part: int, overlap: int) -> list[int]:
    if whole <= part:
        return [0]
    count = -(-(whole - overlap) // (part - overlap))
    return [round(index * (whole - part) / (count - 1)) for index in range(count)]
