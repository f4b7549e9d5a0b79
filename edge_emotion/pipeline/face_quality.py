"""How much a face crop can be trusted."""

from __future__ import annotations

from edge_emotion.datatypes import Face


def face_quality(face: Face, detail: int) -> float:
    """0..1: detector score x size (1 from ``detail`` pixels on, the resolution the model was trained at) x frontality.

    Frontality falls from 1 to 0 as the nose tip moves from the middle between the eyes to under one of them.
    """
    size = min(1.0, max(face.box.width, face.box.height) / detail)
    return min(max(face.score, 0.0), 1.0) * size * _frontality(face)


def _frontality(face: Face) -> float:
    if len(face.landmarks) < 3:
        return 1.0
    (left_x, left_y), (right_x, right_y), (nose_x, nose_y) = face.landmarks[:3]
    across_x, across_y = right_x - left_x, right_y - left_y
    length = across_x**2 + across_y**2
    if length == 0:
        return 0.0
    along = ((nose_x - left_x) * across_x + (nose_y - left_y) * across_y) / length
    return max(0.0, 1 - 2 * abs(along - 0.5))
