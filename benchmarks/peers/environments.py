"""Environments of the peers: a virtual environment or a folder of npm packages, made once and kept in the cache."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from benchmarks.peers.catalogue import NPM_WORKER, Peer
from benchmarks.results.machine import CHECKOUT
from edge_emotion.errors import BackendUnavailable

MADE = ".made"
INSTALL_TIMEOUT, WORK_TIMEOUT = 1800, 3600
"""Seconds that pip or npm, and a worker, may take."""


class Runner(NamedTuple):
    """The interpreter, worker module and worker options that run one peer or model."""

    python: Path
    worker: str
    options: tuple[str, ...]


def runner_of(peer: Peer, cache: Path) -> Runner:
    """The runner of ``peer``, installed if necessary. Raises BackendUnavailable with the reason if that fails."""
    if peer.worker == NPM_WORKER:
        return Runner(Path(sys.executable), peer.worker, (str(modules_of(peer, cache)), *peer.options))
    return Runner(python_of(peer, cache), peer.worker, peer.options)


def python_of(peer: Peer, cache: Path) -> Path:
    """The interpreter of the peer's virtual environment, which is made if it is missing or incomplete.

    Peers with the same packages share one. Raises BackendUnavailable with pip's last line if it cannot be made.
    """

    def make(folder: Path) -> None:
        # The pip of this environment installs into that one: to give each its own takes seconds.
        _call("venv", [sys.executable, "-m", "venv", "--without-pip", str(folder)])
        pip = [sys.executable, "-m", "pip", "--python", str(folder / "bin" / "python")]
        pip += ["install", "--quiet", "--disable-pip-version-check"]
        _call("pip", [*pip, *peer.packages])
        if peer.bare:
            _call("pip", [*pip, "--no-deps", *peer.bare])

    return _made(cache, "\n".join([sys.version, *peer.packages, *peer.bare]), make) / "bin" / "python"


def modules_of(peer: Peer, cache: Path) -> Path:
    """The absolute folder with the peer's npm packages, made if it is missing or incomplete.

    npm writes the versions of all dependencies to the ``package-lock.json`` beside it. Raises BackendUnavailable with
    npm's reason, or if node or npm is missing.
    """
    for program in ("node", "npm"):
        if shutil.which(program) is None:
            raise BackendUnavailable(f"{program} is not installed here: it needs Node.js 16 or newer, and npm")

    def make(folder: Path) -> None:
        folder.mkdir(parents=True)
        options = ["--save-exact", "--ignore-scripts", "--no-audit", "--no-fund", "--json"]
        _call("npm", ["npm", "install", "--prefix", str(folder), *options, *peer.packages])

    return _made(cache.absolute(), "\n".join(peer.packages), make) / "node_modules"


def _made(cache: Path, wanted: str, make: Callable[[Path], None]) -> Path:
    folder = cache / hashlib.sha256(wanted.encode()).hexdigest()[:16]
    if not (folder / MADE).is_file():
        shutil.rmtree(folder, ignore_errors=True)
        make(folder)
        (folder / MADE).write_text(wanted + "\n", encoding="utf-8")
    return folder


def run_worker(python: Path, worker: str, task: Path, answer: Path, options: Sequence[str]) -> None:
    """Run one worker in a subprocess. Raises BackendUnavailable with its last line on stderr if it fails."""
    answer.unlink(missing_ok=True)
    module = f"benchmarks.peers.{worker}"
    _call(
        module,
        [str(python), "-m", module, str(task), str(answer), *options],
        environment={"PYTHONPATH": str(CHECKOUT), "TF_CPP_MIN_LOG_LEVEL": "3"},
        timeout=WORK_TIMEOUT,
    )
    if not answer.is_file():
        raise BackendUnavailable(f"{module} ended without an answer")


def _call(
    name: str,
    command: Sequence[str],
    *,
    environment: dict[str, str] | None = None,
    timeout: float = INSTALL_TIMEOUT,
) -> None:
    try:
        done = subprocess.run(
            command, env=os.environ | (environment or {}), capture_output=True, text=True, timeout=timeout, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise BackendUnavailable(f"{name} took more than {timeout:g} s") from error
    if done.returncode:
        raise BackendUnavailable(f"{name} failed ({done.returncode}): {_last_words(done.stdout, done.stderr)}")


def _last_words(output: str, errors: str) -> str:
    """The last line of the output; for npm the summary of ``--json``, since its last line only names a log file."""
    summary = re.search(r'^ *"summary": (".*"),?$', output + errors, re.MULTILINE)
    if summary:
        return str(json.loads(summary[1])).partition("\n")[0]
    return next((line.strip() for line in reversed(errors.splitlines()) if line.strip()), "no reason given")
