"""How far away a camera can be from the faces that are found in its pictures."""

from __future__ import annotations

import math

from edge_emotion.config.settings import CameraSettings, Range
from edge_emotion.factory.models import TILES

SHARE = 0.09
"""Of the longer side of a picture that is searched as a whole: the least size of faces most of which are found
(docs/results/detection.md: 60 px in 640 x 480)."""

IN_TILES = 40
"""Pixels of the picture: the same where tiles of it are searched, too."""

VIEW = 60.0
"""Degrees that the lens of an ordinary webcam sees from left to right."""

FACE = 0.16
"""Metres: width of a head."""


def reach_as_text(camera: CameraSettings, frame: tuple[int, int], seen: tuple[int, int], min_size: int) -> str:
    """From which size on faces are found, and up to which distance that is.

    ``frame``: width and height of the camera's pictures in pixels, ``seen``: the same of what its view leaves of them.
    """
    pixels = _least_pixels(seen, camera.range, min_size)
    text = f"faces from {pixels} px on are found, up to about {_metres(frame, pixels)} with a lens of {VIEW:g} degrees"
    if pixels > (better := _least_pixels(seen, "room", min_size)):
        text += f"; with range: room up to about {_metres(frame, better)}"
    return text


def _least_pixels(seen: tuple[int, int], reach: Range, min_size: int) -> int:
    tile = TILES.get(reach)
    divided = tile is not None and (seen[0] > tile[0] or seen[1] > tile[1])
    return max(min_size, IN_TILES if divided else math.ceil(SHARE * max(seen)))


def _metres(frame: tuple[int, int], pixels: int) -> str:
    return f"{max(frame) * FACE / (2 * pixels * math.tan(math.radians(VIEW / 2))):.1f} m"
