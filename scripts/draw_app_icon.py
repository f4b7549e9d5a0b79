#!/usr/bin/env python3
"""Draw icon.png and logo.png of the app for Home Assistant from the pages' icon.svg.

Usage: draw_app_icon.py [FOLDER]    Writes both files (default: deploy/homeassistant/edge-emotion).

Sizes: https://developers.home-assistant.io/docs/apps/presentation
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from xml.etree import ElementTree

import cv2
import numpy as np

from edge_emotion.system.image_files import write_png

ROOT = Path(__file__).resolve().parent.parent
SVG = ROOT / "edge_emotion" / "web" / "static" / "icon.svg"
APP = ROOT / "deploy" / "homeassistant" / "edge-emotion"
ICON, LOGO = 128, (250, 100)
NAME = "edge-emotion"
FINER = 8
"""Lines are drawn so many times larger, as OpenCV draws no half pixels, and then made smaller."""

Line = np.ndarray
"""N x 2 points in the units of the SVG."""


def lines(svg: ElementTree.Element) -> list[Line]:
    """The ellipses and paths of the icon as lines; of paths the commands M, h and q, each with one set of numbers."""
    found = []
    turn = np.linspace(0, 2 * np.pi, 200)
    for shape in svg:
        values = shape.attrib
        if shape.tag.endswith("ellipse"):
            x, y, across, down = (float(values[name]) for name in ("cx", "cy", "rx", "ry"))
            found.append(np.stack([x + across * np.cos(turn), y + down * np.sin(turn)], axis=1))
        else:
            found += path_lines(values["d"])
    return found


def path_lines(text: str) -> list[Line]:
    """The lines of a path: each begins with M. Raises ValueError for a command that the icon does not have."""
    found: list[Line] = []
    at = np.zeros(2)
    for command, numbers in re.findall(r"([a-zA-Z])([-\d. ]*)", text):
        values = [float(number) for number in numbers.split()]
        if command == "M":
            at = np.array(values)
            continue
        if command == "h":
            points = np.array([at, (at[0] + values[0], at[1])])
        elif command == "q":
            step = np.linspace(0, 1, 50)[:, None]
            points = at + 2 * step * (1 - step) * np.array(values[:2]) + step**2 * np.array(values[2:])
        else:
            raise ValueError(f"the command {command} of a path is not drawn here")
        found.append(points)
        at = points[-1]
    return found


def drawn(size: tuple[int, int], text: str = "") -> np.ndarray:
    """A picture of ``size`` (width, height), BGRA: the icon as high as it, and a text beside it."""
    svg = ElementTree.parse(SVG).getroot()  # noqa: S314 - a file of this repository
    colour = [int(svg.attrib["stroke"][at : at + 2], 16) for at in (5, 3, 1)]
    width, height = size[0] * FINER, size[1] * FINER
    unit = height / float(svg.attrib["viewBox"].split()[3])
    alpha = np.zeros((height, width), np.uint8)
    thickness = round(unit * float(svg.attrib["stroke-width"]))
    for line in lines(svg):
        cv2.polylines(alpha, [np.round(line * unit).astype(np.int32)], False, 255, thickness)
    if text:
        font, left = cv2.FONT_HERSHEY_DUPLEX, round(height * 0.92)
        (across, down), _ = cv2.getTextSize(text, font, 1, 1)
        scale = (width - left - height * 0.08) / across
        place = left, round((height + down * scale) / 2)
        cv2.putText(alpha, text, place, font, scale, 255, round(2.2 * scale))
    alpha = cv2.resize(alpha, size, interpolation=cv2.INTER_AREA)
    picture = np.empty((*alpha.shape, 4), np.uint8)
    picture[..., :3], picture[..., 3] = colour, alpha
    return picture


def main() -> None:
    """Write both pictures."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else APP
    write_png(folder / "icon.png", drawn((ICON, ICON)))
    write_png(folder / "logo.png", drawn(LOGO, NAME))


if __name__ == "__main__":
    main()
