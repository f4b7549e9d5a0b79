"""Settings that are places in a camera's picture, in fractions of its width and height."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator

ROTATIONS = (0, 90, 180, 270)


def checked_rotation(value: object) -> object:
    """One of ROTATIONS or ``auto``. Raises ValueError for anything else."""
    if value == "auto":
        return value
    if str(value) in map(str, ROTATIONS) and not isinstance(value, bool):
        return int(str(value))
    raise ValueError(f"expected {', '.join(map(str, ROTATIONS))} or auto, not {value!r}")


def checked_fourcc(value: str | None) -> str | None:
    """Four characters that name a pixel format. Raises ValueError for anything else."""
    if value is not None and not (len(value) == 4 and value.isascii() and value.isprintable()):
        raise ValueError(f"expected four characters such as MJPG or YUYV, not {value!r}")
    return value


def checked_crop(value: tuple[float, float, float, float] | None) -> tuple[float, float, float, float] | None:
    """Left, top, right, bottom. Raises ValueError for what holds nothing of the picture."""
    if value is not None:
        left, top, right, bottom = value
        if not (0 <= left < right <= 1 and 0 <= top < bottom <= 1):
            raise ValueError(
                "expected left, top, right, bottom in fractions of the picture from 0 to 1, left below right and top "
                f"below bottom, not {list(value)}"
            )
    return value


def _checked_polygon(value: tuple[tuple[float, float], ...]) -> tuple[tuple[float, float], ...]:
    """A polygon of three or more points with an area, (x, y) from 0 to 1. Raises ValueError for anything else."""
    if len(value) < 3:
        raise ValueError(f"a polygon has three points or more, not {len(value)}")
    for x, y in value:
        if not (0 <= x <= 1 and 0 <= y <= 1):
            raise ValueError(f"the point [{x:g}, {y:g}] lies outside of the picture: give fractions from 0 to 1")
    following = (*value[1:], value[0])
    if not sum(x * next_y - next_x * y for (x, y), (next_x, next_y) in zip(value, following, strict=True)):
        raise ValueError("the polygon holds no area: its points lie on one line")
    return value


PolygonSetting = Annotated[tuple[tuple[float, float], ...], AfterValidator(_checked_polygon)]
"""Corners [x, y] in fractions of the picture."""
