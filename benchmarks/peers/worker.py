"""What every worker does: read the task, time its functions on one core, write the answer. numpy only.

Task (.npz): ``crops`` uint8 N x S x S, ``frames`` uint8 M x H x W, both grey or with a last axis of B, G, R, ``video``
uint8 V x H x W x 3, which follow one another, ``calls`` timed calls, ``judge`` whether the scores are wanted. Answer
(.npz): ``labels`` C, ``versions`` JSON, ``scores`` N x C, ``boxes`` K x 5 (frame, x, y, width, height), ``box_scores``
K x C, ``crop_ms``, ``frame_ms`` and ``video_ms``, each so many calls.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from importlib.metadata import version
from itertools import cycle, islice
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

from benchmarks.harness.video_loop import Array, to_and_fro

WARM_UP = 10

Crop = Callable[[Array], Array]
"""A face crop, grey or BGR -> C scores."""
Frame = Callable[[Array], tuple[Array, Array]]
"""An H x W x 3 BGR picture -> K x 4 boxes, K x C scores (C is 0 for a detector)."""


def one_core() -> None:
    """Stay on one core, for every thread that is started later. Call it before heavy imports."""
    os.environ.update(OMP_NUM_THREADS="1", TF_NUM_INTRAOP_THREADS="1", TF_NUM_INTEROP_THREADS="1")
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})


def serve(
    task_file: str,
    answer_file: str,
    *,
    labels: Sequence[str],
    packages: Sequence[str],
    crop: Crop | None = None,
    frame: Frame | None = None,
    video: Callable[[Array], object] | None = None,
    colour: bool = False,
) -> None:
    """Do the task with the functions that there are; ``video`` is for those that remember the last frame.

    ``crop`` is given what the data set holds, or BGR if it wants ``colour``: making that is none of its work.
    """
    task = np.load(task_file)
    answer: dict[str, Any] = {
        "labels": np.array(labels, str),
        "versions": json.dumps({name: version(name) for name in packages}),
    }
    pictures = [as_bgr(picture) for picture in task["frames"]]
    crops = [as_bgr(one) for one in task["crops"]] if colour else task["crops"]
    if task["judge"]:
        if crop is not None:
            answer["scores"] = np.stack([crop(one) for one in crops])
        if frame is not None:
            found = [frame(picture) for picture in pictures]
            index = [np.full((len(boxes), 1), i, float) for i, (boxes, _) in enumerate(found)]
            answer["boxes"] = np.concatenate(
                [np.hstack(pair) for pair in zip(index, [b for b, _ in found], strict=True)]
            )
            answer["box_scores"] = np.concatenate([scores for _, scores in found])
    if crop is not None:
        answer["crop_ms"] = _time(crop, crops, int(task["calls"]))
    if frame is not None:
        answer["frame_ms"] = _time(frame, pictures, int(task["calls"]))
        answer["video_ms"] = _time(video or frame, to_and_fro(task["video"]), int(task["calls"]))
    with Path(answer_file).open("wb") as file:
        np.savez(file, **answer)


def as_bgr(picture: Array) -> Array:
    """A picture, grey (H x W) or BGR already, as H x W x 3."""
    return picture if picture.ndim == 3 else np.repeat(picture[..., None], 3, axis=2)


def _time(call: Callable[[Array], Any], inputs: Sequence[Array], calls: int) -> Array:
    """Milliseconds of so many calls, over the inputs again and again, after a few that do not count."""
    taken = []
    for one in islice(cycle(inputs), WARM_UP + calls):
        begin = perf_counter()
        call(one)
        taken.append((perf_counter() - begin) * 1000)
    return np.array(taken[WARM_UP:])
