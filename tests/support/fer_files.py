"""FER+ as files, small enough to be read in a moment. The faces are noise."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from edge_emotion.labels import EMOTIONS

SIDE = 48


def fer_plus(folder: Path, *, per_class: int = 2, dark: tuple[str, ...] = ()) -> Path:
    """A folder with fer2013.csv and fer2013new.csv: so many faces of each class in each split, all ten votes alike.

    The faces of the classes in ``dark`` have a quarter of the brightness.
    """
    folder.mkdir()
    generator = np.random.default_rng(0)
    faces, votes = ["emotion,pixels,Usage"], [",".join(["Usage", "Image name", *EMOTIONS, "unknown", "NF"])]
    for usage in ("Training", "PublicTest", "PrivateTest"):
        for label in list(range(len(EMOTIONS))) * per_class:
            pixels = generator.integers(0, 256, SIDE * SIDE) // (4 if EMOTIONS[label] in dark else 1)
            faces.append(f"0,{' '.join(map(str, pixels))},{usage}")
            votes.append(f"{usage},face.png,{','.join('10' if i == label else '0' for i in range(len(EMOTIONS) + 2))}")
    (folder / "fer2013.csv").write_text("\n".join(faces) + "\n")
    (folder / "fer2013new.csv").write_text("\n".join(votes) + "\n")
    return folder


def read_once(folder: Path) -> Callable[..., Any]:
    """``load_fer_plus``, which reads ``folder`` once for each choice of options, and other folders every time."""
    from train.data.layouts import load_fer_plus

    def load(path: Path, *, label_votes: Mapping[str, float] | None = None, skip_bad: bool = False) -> Any:
        votes = label_votes or {}
        if path == folder:
            return _read(path, tuple(votes.items()), skip_bad)
        return load_fer_plus(path, label_votes=votes, skip_bad=skip_bad)

    return load


@cache
def _read(folder: Path, votes: tuple[tuple[str, float], ...], skip_bad: bool) -> Any:
    from train.data.layouts import load_fer_plus

    data = load_fer_plus(folder, label_votes=dict(votes), skip_bad=skip_bad)
    for faces in data.splits.values():
        for values in (faces.images, faces.votes, faces.clear):
            values.setflags(write=False)  # a test that wrote to them would change the data of others
    return data
