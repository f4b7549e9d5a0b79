"""The checks of the machine: Python, packages, OpenCV, clock, heat, power, disk, and what makes a Jetson one.

``root`` is where the system's own files are looked for; tests give another one.
"""

from __future__ import annotations

import ctypes
import importlib
import platform
import sys
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, metadata, requires, version
from importlib.util import find_spec
from pathlib import Path

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from edge_emotion.doctor.report import Finding
from edge_emotion.system import sensors
from edge_emotion.system.sensors import ROOT

_PROGRAM = "edge-emotion"
_MACHINES = ("x86_64", "aarch64")
_OPENCV = ("opencv-python-headless", "opencv-python", "opencv-contrib-python", "opencv-contrib-python-headless")
_SUBSTITUTES = {"opencv-python-headless": "cv2", "ai-edge-litert": "tflite_runtime"}
"""Distribution -> a module that does as well: the system's OpenCV, the interpreter's predecessor."""

_HOT = 80.0
"""Degrees Celsius. From here on a Raspberry Pi slows down (raspberrypi.com, "Frequency management")."""

_THROTTLED = {0: "the supply voltage is too low", 1: "the clock rate is capped", 2: "throttled", 3: "hot: slowed down"}
"""Meaning of the bits of the Raspberry Pi's firmware."""

_PLAUSIBLE = (datetime(2026, 1, 1, tzinfo=timezone.utc), datetime(2100, 1, 1, tzinfo=timezone.utc))
_UNSYNCHRONISED = 5
"""TIME_ERROR of adjtimex(2)."""

_JETPACK = {"35": "5", "36": "6", "38": "7"}
"""Release of Jetson Linux (R36) -> JetPack."""


def python(root: Path = ROOT) -> Finding:
    """Version and word size of Python, and on what it runs."""
    where = _read(root / "proc/device-tree/model") or platform.machine()
    detail = f"{platform.python_version()} on {where}, {_system()}; {sys.prefix}"
    if sys.maxsize < 2**32 or platform.machine() not in _MACHINES:
        return Finding("fail", detail, "install the 64-bit system: the interpreter has no package for this one")
    try:
        wanted = metadata(_PROGRAM)["Requires-Python"]
    except PackageNotFoundError:
        return Finding("ok", detail)
    if not SpecifierSet(wanted).contains(platform.python_version()):
        return Finding("fail", f"{detail}; Python must be {wanted}", "make the environment with another Python")
    return Finding("ok", detail)


def packages() -> Finding:
    """A finding on the required packages: present, and in a usable version."""
    try:
        requirements = [Requirement(text) for text in requires(_PROGRAM) or ()]
    except PackageNotFoundError:
        return Finding("warn", "edge-emotion runs from its source, without a list of its packages", "pip install .")
    wanted = [item for item in requirements if item.marker is None or item.marker.evaluate({"extra": ""})]
    versions = {item.name: _version(item.name) for item in wanted}
    unfit = [item for item in wanted if not _fits(item, versions[item.name])]
    if unfit:
        have = ", ".join(f"{item.name} {versions[item.name] or 'is missing'}" for item in unfit)
        needed = " ".join(f"'{item.name}{item.specifier}'" for item in unfit)
        return Finding("fail", have, f"{sys.executable} -m pip install {needed}")
    detail = ", ".join(f"{name} {found or _substitute(name)}" for name, found in versions.items())
    twins = [name for name in _OPENCV if _version(name)]
    if len(twins) > 1:
        advice = f"{sys.executable} -m pip uninstall {' '.join(twins)}, then pip install {twins[0]}"
        return Finding("warn", f"{' and '.join(twins)} have overwritten parts of each other", advice)
    return Finding("ok", detail)


def opencv(root: Path = ROOT) -> Finding:
    """Video backends of this OpenCV."""
    import cv2

    from edge_emotion.system.opencv_build import has_gstreamer

    parts = {
        "FFmpeg": cv2.videoio_registry.hasBackend(cv2.CAP_FFMPEG),
        "V4L2": cv2.videoio_registry.hasBackend(cv2.CAP_V4L2),
        "GStreamer": has_gstreamer(),
    }
    detail = f"{cv2.__version__}: " + ", ".join(f"{name} {'yes' if here else 'no'}" for name, here in parts.items())
    if not (parts["FFmpeg"] and parts["V4L2"]):
        return Finding("warn", detail, f"{sys.executable} -m pip install opencv-python-headless")
    if is_jetson(root) and not parts["GStreamer"]:
        fix = "sudo apt-get install nvidia-jetpack, then sudo deploy/install.sh --opencv system"
        return Finding("warn", f"{detail}: no camera on the CSI connector", fix)
    return Finding("ok", detail)


def clock(root: Path = ROOT) -> Finding:
    """A finding on the clock: plausible and synchronised; events carry its time, TLS needs it."""
    now = datetime.now(timezone.utc)
    fix = "sudo timedatectl set-ntp true; let UDP port 123 out, or name your own server in /etc/systemd/timesyncd.conf"
    detail = f"{now:%Y-%m-%d %H:%M:%S} UTC"
    if not _PLAUSIBLE[0] <= now < _PLAUSIBLE[1]:
        return Finding("fail", f"{detail} cannot be right", fix)
    synchronised = _synchronised(root)
    if synchronised is None:
        return Finding("warn", f"{detail}; this process may not ask whether it is synchronised", "run timedatectl")
    if not synchronised:
        return Finding("warn", f"{detail}, not synchronised", fix)
    return Finding("ok", f"{detail}, synchronised")


def temperature(root: Path = ROOT) -> Finding:
    """The hottest of the kernel's thermal zones."""
    hottest = max(sensors.zones(root), key=lambda zone: zone.degrees, default=None)
    if hottest is None:
        return Finding("ok", "this machine has no sensor that it shows")
    detail = f"{hottest.degrees:.1f} °C ({hottest.kind})"
    if hottest.degrees >= _HOT:
        return Finding("warn", detail, "a heat sink or fan, a cooler place, or a lower cameras.<name>.max_fps")
    return Finding("ok", detail)


def throttling(root: Path = ROOT) -> Finding:
    """A finding on whether firmware or kernel slow the processor down, from sysfs: a service cannot use vcgencmd."""
    flags = sensors.firmware(root) or sensors.Firmware((), ())
    now = [_THROTTLED[bit] for bit in flags.now]
    now += dict.fromkeys(f"{device.kind} slows down" for device in sensors.cooling(root) if device.active)
    fix = "power: the official supply and a short cable, nothing else on its USB; heat: a heat sink or a fan"
    if now:
        return Finding("warn", f"now: {', '.join(now)}", fix)
    if flags.before:
        before = ", ".join(_THROTTLED[bit] for bit in flags.before)
        return Finding("warn", f"not now, but since the start: {before}", fix)
    return Finding("ok", "no sign of it")


def is_jetson(root: Path = ROOT) -> bool:
    """True on NVIDIA's Jetson modules."""
    return (root / "etc/nv_tegra_release").exists() or "nvidia,tegra" in _read(root / "proc/device-tree/compatible")


def jetson(root: Path = ROOT) -> Finding:
    """JetPack, and TensorRT as this Python sees it. It is not imported: that would start CUDA."""
    words = _read(root / "etc/nv_tegra_release").replace(",", " ").split()
    release = next((word[1:] for word in words if word[:1] == "R" and word[1:].isdigit()), "")
    revision = words[words.index("REVISION:") + 1] if "REVISION:" in words[:-1] else "?"
    jetpack = f"JetPack {_JETPACK.get(release, '(unknown)')}, Jetson Linux {release or '?'}.{revision}"
    if find_spec("tensorrt") is None:
        fix = "sudo apt-get install nvidia-jetpack, and an environment with --system-site-packages (deploy/install.sh)"
        return Finding("warn", f"{jetpack}; TensorRT is not seen from {sys.prefix}", fix)
    return Finding("ok", f"{jetpack}, TensorRT {_version('tensorrt') or 'of the system'}")


def _system() -> str:
    try:
        return platform.freedesktop_os_release()["PRETTY_NAME"]
    except (OSError, KeyError):
        return platform.system()


def _version(distribution: str) -> str | None:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return None


def _fits(requirement: Requirement, found: str | None) -> bool:
    if found is None:
        return _substitute(requirement.name) != ""
    return requirement.specifier.contains(found, prereleases=True)


def _substitute(distribution: str) -> str:
    """The version of a module that does as well, and where it comes from; empty if there is none."""
    name = _SUBSTITUTES.get(distribution)
    if name is None or find_spec(name) is None:
        return ""
    return f"{getattr(importlib.import_module(name), '__version__', '?')} (not from PyPI: {name})"


def _synchronised(root: Path) -> bool | None:
    """True if the clock is synchronised, by the kernel or by systemd-timesyncd; None if neither can be read."""
    answer = ctypes.CDLL(None).adjtimex(ctypes.create_string_buffer(512))  # all zero: only ask
    if answer >= 0:
        return bool(answer != _UNSYNCHRONISED)
    return True if (root / "run/systemd/timesync/synchronized").exists() else None


def _read(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8", "replace").replace("\0", " ").strip()
    except OSError:
        return ""
