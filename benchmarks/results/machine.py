"""What a figure must carry: the machine, the versions, how busy it was."""

from __future__ import annotations

import os
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

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
    """Name, processor, cores, load and versions, as plain JSON values."""
    return {
        "machine": _read("/proc/device-tree/model") or platform.machine(),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "load": round(os.getloadavg()[0], 2),
        "governor": _read("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor") or "unknown",
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "packages": {name: found for name in PACKAGES if (found := _version(name))},
    }


def machine_line(machine: dict[str, Any]) -> str:
    """The machine in one line of text."""
    packages = ", ".join(f"{name} {number}" for name, number in machine["packages"].items())
    return (
        f"{machine['machine']}, {machine['processor']}, {machine['cores']} cores, load {machine['load']}, "
        f"governor {machine['governor']}, {packages}"
    )


def _processor(cpuinfo: str = "/proc/cpuinfo") -> str:
    """Its name and, on x86, its numbers: virtual machines of many generations go by one name."""
    said: dict[str, str] = {}
    for line in _read(cpuinfo).splitlines():
        key, _, value = line.partition(":")
        said.setdefault(key.strip(), value.strip())
    name = said.get("model name") or said.get("Model") or platform.processor() or "unknown"
    keys = {"cpu family": "family", "model": "model", "stepping": "stepping"}
    numbers = [f"{word} {said[key]}" for key, word in keys.items() if key in said]
    return f"{name} ({', '.join(numbers)})" if numbers else name


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
    return f"{found} {commit}" if package == OURS and (commit := _commit()) else found


def _commit() -> str:
    """Of this clone, ``-dirty`` if anything was changed since; empty where git does not tell."""
    try:
        done = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--exclude", "*"], cwd=CHECKOUT, capture_output=True, text=True
        )
    except OSError:
        return ""
    return done.stdout.strip()
