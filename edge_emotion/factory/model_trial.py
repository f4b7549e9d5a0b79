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

from edge_emotion.errors import BackendUnavailable, EdgeEmotionError, ModelError
from edge_emotion.factory.interpreters import INTERPRETERS, guarding_model
from edge_emotion.models.folder import load_manifest, shipped_hashes
from edge_emotion.models.manifest import ModelFile
from edge_emotion.models.preprocess import normalise
from edge_emotion.models.self_test import self_test_inputs

SECONDS = 120.0
"""Time limit of the trial: start of Python, one run on zeros, and the self-test."""

_START = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); from edge_emotion.factory.model_trial import main; main()"
)
_ERRORS: dict[int, type[EdgeEmotionError]] = {each.exit_code: each for each in (ModelError, BackendUnavailable)}
"""What the other process may end with, by its exit code; the message is its output."""

Fault = tuple[type[EdgeEmotionError], str]

_faults: dict[tuple[str, str, int], Fault | None] = {}
"""The result for a file (by its hash), interpreter and number of threads; None if the file is usable."""

log = logging.getLogger(__name__)


def try_out(path: Path, entry: ModelFile, interpreter: str, threads: int, seconds: float = SECONDS) -> None:
    """Run a file of a model folder once in another process, unless it is a shipped one or was tried before.

    Raises ModelError if that process dies or has not ended after ``seconds``, and whatever the interpreter's backend
    raises there: the file is opened in this process only if it could be run in that one. TensorRT is not tried: to
    build an engine takes minutes.
    """
    key = (entry.sha256, interpreter, threads)
    if interpreter == "tensorrt" or entry.sha256 in shipped_hashes():
        return
    if key not in _faults:
        _faults[key] = _fault(path, interpreter, threads, seconds)
    if (fault := _faults[key]) is not None:
        error, message = fault
        raise error(message)


def _fault(path: Path, interpreter: str, threads: int, seconds: float) -> Fault | None:
    # This package comes first: a test folder or a script's folder may hold another one of its name.
    places = json.dumps([str(Path(__file__).parents[2]), *sys.path])
    command = [sys.executable, "-c", _START, places, str(path), interpreter, str(threads)]
    advice = "it is damaged or was not made for this interpreter; convert it again"
    try:
        done = subprocess.run(
            command,
            timeout=seconds,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return ModelError, f"{path} has not ended its first run ({interpreter}) after {seconds:g} s: {advice}"
    except OSError as error:
        log.warning("%s is used without a trial, no process can be started for it: %s", path, error.strerror)
        return None
    if done.returncode < 0:
        name = signal.Signals(-done.returncode).name
        return ModelError, f"{path} ends the process that runs it ({interpreter}) by {name}: {advice}"
    if done.returncode in _ERRORS:
        return _ERRORS[done.returncode], done.stdout.decode("utf-8", "replace").strip()
    if done.returncode:
        log.warning("%s is used without a trial, the process for it ended with exit code %d", path, done.returncode)
    return None


def main() -> None:
    """The other process: run ``argv``'s file on zeros and on the inputs of its self-test, if it has one."""
    with suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    path, interpreter, threads = Path(sys.argv[2]), sys.argv[3], int(sys.argv[4])
    try:
        with guarding_model(path.name):
            _run(path, interpreter, threads)
    except EdgeEmotionError as error:
        _end(error.exit_code, str(error))
    except MemoryError:
        _end(ModelError.exit_code, f"{path} needs more memory than there is, or is damaged ({interpreter})")


def _end(code: int, message: str) -> None:
    sys.stdout.buffer.write(message.encode("utf-8", "backslashreplace"))
    sys.exit(code)


def _run(path: Path, interpreter: str, threads: int) -> None:
    manifest = load_manifest(path.parent)
    entry = next(file for file in manifest.files if file.file == path.name)
    backend = INTERPRETERS[interpreter].make(path, entry, threads)
    backend.run(np.zeros((1, *backend.input_shape), np.float32))
    if entry.golden is not None and backend.input_shape == manifest.input.shape:
        backend.run(normalise(self_test_inputs(manifest.input, entry.golden.seeds), manifest.input))
