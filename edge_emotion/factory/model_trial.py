"""The first run of a model file that is not shipped, in a process of its own: a bad file can end its interpreter."""

from __future__ import annotations

import json
import logging
import resource
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import numpy as np

from edge_emotion.errors import ModelError
from edge_emotion.factory.interpreters import INTERPRETERS
from edge_emotion.models.folder import load_manifest, shipped_hashes
from edge_emotion.models.manifest import ModelFile
from edge_emotion.models.preprocess import normalise
from edge_emotion.models.self_test import self_test_inputs

SECONDS = 120.0
"""Time limit of the trial: start of Python, one run on zeros, and the self-test."""

_START = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); from edge_emotion.factory.model_trial import main; main()"
)

_faults: dict[tuple[str, str, int], str] = {}
"""What was found out about a file (by its hash), interpreter and number of threads; empty if it is usable."""

log = logging.getLogger(__name__)


def try_out(path: Path, entry: ModelFile, interpreter: str, threads: int, seconds: float = SECONDS) -> None:
    """Run a file of a model folder once in another process, unless it is a shipped one or was tried before.

    Raises ModelError if that process dies or has not ended after ``seconds``. Whatever else is wrong with the file is
    left to the caller, who finds it again. TensorRT is not tried: to build an engine takes minutes.
    """
    key = (entry.sha256, interpreter, threads)
    if interpreter == "tensorrt" or entry.sha256 in shipped_hashes():
        return
    if key not in _faults:
        _faults[key] = _fault(path, interpreter, threads, seconds)
    if _faults[key]:
        raise ModelError(f"{path} {_faults[key]}: it is damaged or was not made for this interpreter; convert it again")


def _fault(path: Path, interpreter: str, threads: int, seconds: float) -> str:
    command = [sys.executable, "-c", _START, json.dumps(sys.path), str(path), interpreter, str(threads)]
    try:
        done = subprocess.run(
            command,
            timeout=seconds,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return f"has not ended its first run ({interpreter}) after {seconds:g} s"
    except OSError as error:
        log.warning("%s is used without a trial, no process can be started for it: %s", path, error.strerror)
        return ""
    if done.returncode >= 0:
        return ""
    return f"ends the process that runs it ({interpreter}) by {signal.Signals(-done.returncode).name}"


def main() -> None:
    """The other process: run ``argv``'s file on zeros and on the inputs of its self-test, if it has one."""
    with suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    path, interpreter, threads = Path(sys.argv[2]), sys.argv[3], int(sys.argv[4])
    manifest = load_manifest(path.parent)
    entry = next(file for file in manifest.files if file.file == path.name)
    backend = INTERPRETERS[interpreter].make(path, entry, threads)
    backend.run(np.zeros((1, *backend.input_shape), np.float32))
    if entry.golden is not None:
        backend.run(normalise(self_test_inputs(manifest.input, entry.golden.seeds), manifest.input))
