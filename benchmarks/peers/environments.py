"""A Python environment for each peer, made once and kept in the cache."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import benchmarks
from benchmarks.peers.catalogue import Peer
from edge_emotion.errors import BackendUnavailable

CHECKOUT = Path(benchmarks.__file__).parent.parent
MADE = ".made"
INSTALL_TIMEOUT, WORK_TIMEOUT = 1800, 3600


def python_of(peer: Peer, cache: Path) -> Path:
    """The interpreter of this peer's environment, which is made where it is missing or was left half made.

    Peers with the same packages share one. Raises BackendUnavailable with pip's last words if it cannot be made.
    """
    wanted = "\n".join([sys.version, *peer.packages, *peer.bare])
    folder = cache / hashlib.sha256(wanted.encode()).hexdigest()[:16]
    python = folder / "bin" / "python"
    if (folder / MADE).is_file():
        return python
    shutil.rmtree(folder, ignore_errors=True)
    _call([sys.executable, "-m", "venv", str(folder)])
    pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    _call([*pip, *peer.packages])
    if peer.bare:
        _call([*pip, "--no-deps", *peer.bare])
    (folder / MADE).write_text(wanted + "\n", encoding="utf-8")
    return python


def run_worker(python: Path, worker: str, task: Path, answer: Path, options: Sequence[str]) -> None:
    """One worker in a process of its own. Raises BackendUnavailable with its last words if it fails."""
    _call(
        [str(python), "-m", f"benchmarks.peers.{worker}", str(task), str(answer), *options],
        environment={"PYTHONPATH": str(CHECKOUT), "TF_CPP_MIN_LOG_LEVEL": "3"},
        timeout=WORK_TIMEOUT,
    )


def _call(
    command: Sequence[str], *, environment: dict[str, str] | None = None, timeout: float = INSTALL_TIMEOUT
) -> None:
    try:
        done = subprocess.run(
            command, env=os.environ | (environment or {}), capture_output=True, text=True, timeout=timeout, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise BackendUnavailable(f"{Path(command[0]).name} {command[2]} took more than {timeout:g} s") from error
    if done.returncode:
        last = next((line for line in reversed(done.stderr.strip().splitlines()) if line.strip()), "no reason given")
        raise BackendUnavailable(f"{command[2]} failed ({done.returncode}): {last.strip()}")
