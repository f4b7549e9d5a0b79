"""A package of npm, in node: ``python -m benchmarks.peers.npm_worker TASK ANSWER MODULES SCRIPT [OPTION ...]``.

JavaScript knows no .npz. What it reads is a folder beside TASK: ``task.json`` with ``calls``, ``judge`` and the shapes
of ``crops``, ``frames`` and ``video`` (see worker.py), and ``crops.raw`` and so on with their bytes in C order, of
colours R, G, B. What it writes as ANSWER is JSON: the same names, arrays as lists.
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
    """The folder with the task as JavaScript reads it; the rounds that follow find it there."""
    folder = task_file.with_suffix("")
    if not folder.exists():
        folder.mkdir()
        task = np.load(task_file)
        said: dict[str, Any] = {"calls": int(task["calls"]), "judge": bool(task["judge"])}
        for name in PICTURES:
            pictures = task[name][..., ::-1] if task[name].ndim == 4 else task[name]
            (folder / f"{name}.raw").write_bytes(pictures.tobytes())
            said[name] = pictures.shape
        (folder / "task.json").write_text(json.dumps(said), encoding="utf-8")
    return folder


def read_json(text: str) -> dict[str, Array]:
    """The answer of JavaScript as the arrays that worker.py writes."""
    answer = {name: np.array(value) for name, value in json.loads(text).items()}
    if "boxes" in answer:  # an empty list does not tell its second dimension
        count = len(answer["boxes"])
        answer["boxes"] = answer["boxes"].reshape(count, 5)
        answer["box_scores"] = answer["box_scores"].reshape(count, len(answer["labels"]))
    return answer


def main(task: str, answer: str, modules: str, script: str, *options: str) -> None:
    """Serve one task: become node, on the core that this process is bound to."""
    one_core()
    command = ["node", str(Path(__file__).parent / script), str(write_raw(Path(task))), answer, *options]
    os.execvpe("node", command, os.environ | {"NODE_PATH": modules})  # noqa: S606


if __name__ == "__main__":
    main(*sys.argv[1:])
