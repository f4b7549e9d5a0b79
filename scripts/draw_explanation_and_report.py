"""Draw two pictures of the documentation: a sheet of ``explain`` and the top of a page of ``report``.

Faces of the sheet: the demo clip. Figures of the page: the shipped models on FER+'s validation split.
Run in the clone, with Debian's chromium-headless-shell:
PYTHONPATH=. python scripts/draw_explanation_and_report.py FER_PLUS_FOLDER
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

import cv2
from playwright.sync_api import sync_playwright

from train.commands.cli import main as train

ROOT = Path(__file__).parents[1]
PLOTS = ROOT / "docs/results/plots"
CLIP = ROOT / "edge_emotion/demo.mp4"
FRAMES = 30, 60, 90
WIDTH = 1000
"""Of the browser's window, in pixels."""
BELOW = "h2:has-text('Precision')"
"""The picture of the page ends above this heading."""


def main() -> None:
    """Write both pictures."""
    with tempfile.TemporaryDirectory() as folder:
        _draw_sheet(Path(folder))
        _draw_page(Path(folder), sys.argv[1])


def _draw_sheet(folder: Path) -> None:
    files = []
    clip = cv2.VideoCapture(str(CLIP))
    for number in FRAMES:
        clip.set(cv2.CAP_PROP_POS_FRAMES, number)
        files.append(str(folder / f"frame-{number}.png"))
        cv2.imwrite(files[-1], clip.read()[1])
    maps = folder / "maps"
    train(["explain", "mobilenet_v2", "--image", *files, "--detect", "--out", str(maps)])
    (sheet,) = maps.glob("sheet-*.png")
    shutil.copyfile(sheet, PLOTS / "explain.png")


def _draw_page(folder: Path, data: str) -> None:
    page = folder / "page"
    train(["report", "mobilenet_v2", "efficientnet_lite0", "tiny", "--data", data, "--no-faces", "--out", str(page)])
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=shutil.which("chromium-headless-shell"))
        view = browser.new_page(viewport={"width": WIDTH, "height": WIDTH})
        view.goto((page / "report.html").as_uri())
        place = view.locator(BELOW).bounding_box()
        assert place is not None, f"{BELOW} is not on the page"
        top: Any = {"x": 0, "y": 0, "width": WIDTH, "height": place["y"]}
        view.screenshot(path=PLOTS / "report.png", full_page=True, clip=top)
        browser.close()


if __name__ == "__main__":
    main()
