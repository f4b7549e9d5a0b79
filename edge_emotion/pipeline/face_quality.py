"""The quality of a face crop, 0 to 1: low where the classifier is less reliable."""

from __future__ import annotations

import math

from edge_emotion.datatypes import Face


def face_quality(face: Face, detail: int) -> float:
    """0..1: detector score x size (1 from ``detail`` pixels on, the resolution the model was trained at) x frontality.

    Frontality falls from 1 to 0 as the nose tip moves from the middle between the eyes to under one of them.
    """
    size = min(1.0, max(face.box.width, face.box.height) / detail)
    return min(max(face.score, 0.0), 1.0) * size * max(0.0, 1 - yaw(face))


def yaw(face: Face) -> float:
    """How far a face is turned to the side: the nose tip's distance from the middle between the eyes, along their line.

    In half distances of the eyes: 0 in the middle, 1 under an eye; 0 without landmarks, infinite if the eyes coincide.
    """
    if len(face.landmarks) < 3:
        return 0.0
    (left_x, left_y), (right_x, right_y), (nose_x, nose_y) = face.landmarks[:3]
    across_x, across_y = right_x - left_x, right_y - left_y
    length = across_x**2 + across_y**2
    if length == 0:
        return math.inf
    along = ((nose_x - left_x) * across_x + (nose_y - left_y) * across_y) / length
    return 2 * abs(along - 0.5)
