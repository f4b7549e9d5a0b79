"""Description of this machine, which belongs to every figure: hardware, versions, load."""

from __future__ import annotations

import os
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from edge_emotion.system.processor import processor_name

CHECKOUT = Path(__file__).parents[2]
OURS = "edge-emotion"
PACKAGES = (
    OURS,
    "ai-edge-litert",
    "tflite-runtime",
    "onnxruntime",
    "onnxruntime-gpu",
    "tensorrt",
    "opencv-python-headless",
    "numpy",
)


def describe_machine() -> dict[str, Any]:
    """Name, processor, cores, load and versions of this machine, as plain JSON values."""
    return {
        "machine": _read("/proc/device-tree/model") or platform.machine(),
        "processor": processor_name(),
        "cores": os.cpu_count(),
        "load": round(os.getloadavg()[0], 2),
        "governor": _read("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor") or "unknown",
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "packages": {name: found for name in PACKAGES if (found := _version(name))},
    }


def machine_line(machine: dict[str, Any]) -> str:
    """A machine's description in one line of text."""
    packages = ", ".join(f"{name} {number}" for name, number in machine["packages"].items())
    return (
        f"{machine['machine']}, {machine['processor']}, {machine['cores']} cores, load {machine['load']}, "
        f"governor {machine['governor']}, {packages}"
    )


def _read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace").strip("\0\n ")
    except OSError:
        return ""


def _version(package: str) -> str:
    try:
        found = version(package)
    except PackageNotFoundError:
        return ""
    return f"{found} {commit}" if package == OURS and (commit := commit_of_clone()) else found


def commit_of_clone(folder: Path = CHECKOUT) -> str:
    """Abbreviated commit of a clone, ``-dirty`` after changes; empty without git or outside a clone."""
    try:
        done = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--exclude", "*"], cwd=folder, capture_output=True, text=True
        )
    except OSError:
        return ""
    return done.stdout.strip()
