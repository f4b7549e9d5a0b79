"""Worker for npm packages: ``python -m benchmarks.peers.npm_worker TASK ANSWER MODULES SCRIPT [OPTION ...]``.

JavaScript cannot read .npz. Its task is a folder beside TASK: ``task.json`` with ``calls``, ``judge`` and the shapes of
``crops``, ``frames`` and ``video`` (see worker.py), and ``crops.raw`` and so on with their bytes in C order, colours in
the order R, G, B. Its ANSWER is JSON with the same names, arrays as lists.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.harness.video_loop import Array
from benchmarks.peers.worker import one_core

PICTURES = "crops", "frames", "video"


def write_raw(task_file: Path) -> Path:
    """Write the task for JavaScript, once for all rounds; returns its folder."""
    folder = task_file.with_suffix("")
    if not folder.exists():
        folder.mkdir()
        task = np.load(task_file)
        content: dict[str, Any] = {"calls": int(task["calls"]), "judge": bool(task["judge"])}
        for name in PICTURES:
            pictures = task[name][..., ::-1] if task[name].ndim == 4 else task[name]
            (folder / f"{name}.raw").write_bytes(pictures.tobytes())
            content[name] = pictures.shape
        (folder / "task.json").write_text(json.dumps(content), encoding="utf-8")
    return folder


def read_json(text: str) -> dict[str, Array]:
    """JavaScript's answer as the arrays that worker.py writes."""
    answer = {name: np.array(value) for name, value in json.loads(text).items()}
    if "boxes" in answer:  # an empty list has lost its second dimension
        count = len(answer["boxes"])
        answer["boxes"] = answer["boxes"].reshape(count, 5)
        answer["box_scores"] = answer["box_scores"].reshape(count, len(answer["labels"]))
    return answer


def main(task: str, answer: str, modules: str, script: str, *options: str) -> None:
    """Do one task: replace this process by node, bound to the same core."""
    one_core()
    command = ["node", str(Path(__file__).parent / script), str(write_raw(Path(task))), answer, *options]
    os.execvpe("node", command, os.environ | {"NODE_PATH": modules})  # noqa: S606


if __name__ == "__main__":
    main(*sys.argv[1:])
