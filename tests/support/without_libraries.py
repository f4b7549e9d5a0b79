"""Runs commands in a process that has only the libraries of the runtime, as after ``pip install .``."""

from __future__ import annotations

import contextlib
import io
import json
import sys
import traceback
from collections.abc import Callable
from importlib import import_module
from typing import Any

RUNTIME_ONLY = {
    "flatbuffers", "google", "h5py", "keras", "matplotlib", "nacl", "onnx", "onnxruntime", "pandas", "safetensors",
    "tensorflow", "tensorflow_model_optimization", "tf2onnx", "tf_keras", "tqdm",
}  # fmt: skip
"""Top-level names of what the groups train and convert install."""

MAINS = {"train": "train.commands.cli", "convert": "convert.cli", "benchmarks": "benchmarks.cli"}


class Blocked:
    """A finder of modules for which the research libraries are not installed."""

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> None:
        if name.partition(".")[0] in RUNTIME_ONLY:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


def outcome(main: Callable[[list[str]], int], words: list[str]) -> tuple[int | str, str]:
    """Exit code, or the last line of a traceback, and what was written on standard error."""
    output, errors = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(output), contextlib.redirect_stderr(errors):
        try:
            return main(words), errors.getvalue()
        except SystemExit as end:
            return f"exit {end.code}", errors.getvalue()
        except BaseException:  # noqa: BLE001 - each is reported to the test
            return traceback.format_exc(), errors.getvalue()


if __name__ == "__main__":
    sys.meta_path.insert(0, Blocked())  # type: ignore[arg-type]
    commands: list[tuple[str, list[str]]] = json.load(sys.stdin)
    print(json.dumps([outcome(import_module(MAINS[stage]).main, words) for stage, words in commands]))
