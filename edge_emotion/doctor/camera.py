"""The check of one configured camera: is it there, may we use it, what does it offer, does it give frames."""

from __future__ import annotations

import errno
import os
import stat
import time
from pathlib import Path

from edge_emotion.config.settings import CameraSettings
from edge_emotion.config.source_spec import SourceKind, classify_source, device_path
from edge_emotion.doctor import v4l2
from edge_emotion.doctor.report import Check, Finding
from edge_emotion.doctor.users import group_name, is_member, user_name
from edge_emotion.factory.cameras import make_source

_EXCLUSIVE = ("device", "picamera2", "pipeline")
"""What only one program at a time can open."""

_FIXES: dict[SourceKind, str] = {
    "device": "see what is there: v4l2-ctl --list-devices; who holds it: fuser -v /dev/video*; then correct {key}",
    "picamera2": "see what is there: rpicam-hello --list-cameras; then correct {key}",
    "pipeline": "try it with gst-launch-1.0, then correct {key}",
    "stream": "try its address from this machine: ffprobe -rtsp_transport tcp ADDRESS; then correct {key}",
    "images": "correct {key}: a folder, a pattern or a picture that the daemon's user can read",
    "video": "correct {key}: a whole video file that the daemon's user can read",
}
_MARGIN = 60.0
"""Seconds beyond the camera's own time-outs: a small device takes long to load OpenCV for the first time."""


def camera_check(name: str, settings: CameraSettings, *, in_use: bool) -> Check:
    """The check of one camera. ``in_use``: the daemon runs, so what only one program can open is not opened."""
    key = f"cameras.{name}.source"
    return Check(
        f"camera {name}",
        lambda: examine_camera(settings, key, in_use=in_use),
        _FIXES[classify_source(settings.source)].format(key=key),
        settings.open_timeout + settings.read_timeout + _MARGIN,
    )


def examine_camera(settings: CameraSettings, key: str, *, in_use: bool) -> Finding:
    """Look at one camera and take one frame, which is thrown away. Raises SourceError or BackendUnavailable."""
    kind = classify_source(settings.source)
    make_source(settings)  # a library that is missing comes first
    offer = None
    if kind == "device":
        path = device_path(settings.source)
        refusal = _refusal(path)
        if refusal is not None:
            return refusal
        offer = _offer(path)
        if offer is not None and not offer.modes:
            fix = (
                f"one camera has several devices, the first gives pictures: v4l2-ctl --list-devices, then correct {key}"
            )
            return Finding("fail", f"{path} ({offer.card}) gives no pictures", fix)
    about = "" if offer is None else describe(offer) + "; "
    if in_use and kind in _EXCLUSIVE:
        return _compared(f"{about}not opened, the daemon uses it", settings, offer, None)
    width, height, seconds = _take_frame(settings)
    detail = f"{about}a frame of {width} x {height} after {seconds:.1f} s"
    return _compared(detail, settings, offer, (width, height) if kind in ("device", "picamera2") else None)


def describe(offer: v4l2.Offer) -> str:
    """A camera and the largest mode of each of its formats, as text."""
    largest: dict[str, v4l2.Mode] = {}
    for mode in offer.modes:
        best = largest.get(mode.pixels)
        if best is None or mode.width * mode.height > best.width * best.height:
            largest[mode.pixels] = mode
    return f"{offer.card} ({offer.driver}): {', '.join(map(_mode, largest.values()))}"


def _mode(mode: v4l2.Mode) -> str:
    size = f" up to {mode.width} x {mode.height}" if mode.width else ""
    return f"{mode.pixels}{size}" + (f" at {mode.fps:g}/s" if mode.fps else "")


def _take_frame(settings: CameraSettings) -> tuple[int, int, float]:
    """Width and height of a frame in pixels, and seconds until it came."""
    source, start = make_source(settings), time.monotonic()
    try:
        source.open()
        height, width = source.read().image.shape[:2]
    finally:
        source.close()
    return width, height, time.monotonic() - start


def _compared(detail: str, settings: CameraSettings, offer: v4l2.Offer | None, got: tuple[int, int] | None) -> Finding:
    """Whether a camera can do, and did, what the settings ask."""
    asked = (settings.width, settings.height)
    if got is not None and any(wish not in (None, size) for wish, size in zip(asked, got, strict=True)):
        wish = " x ".join(str(size or "any") for size in asked)
        return Finding("warn", f"{detail}, although {wish} was asked for", "set width and height to a size that it has")
    if offer is not None and settings.fps is not None and offer.modes:
        fitting = [
            mode.fps for mode in offer.modes if mode.any_size or asked in ((mode.width, mode.height), (None, None))
        ]
        if 0 < max(fitting, default=0) < settings.fps:
            fix = f"set fps to {max(fitting):g} or less, or a smaller width and height"
            return Finding("warn", f"{detail}; {settings.fps:g} frames a second were asked for", fix)
    return Finding("ok", detail)


def _refusal(path: str) -> Finding | None:
    """Why this process may not use a device that is there; None if it may, or if there is none."""
    try:
        os.close(os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC))
        return None
    except PermissionError as error:
        if error.errno == errno.EPERM:
            fix = "allow it with DeviceAllow= in a drop-in: sudo systemctl edit edge-emotion"
            return Finding("fail", f"{path}: systemd does not let the service use it", fix)
        status = Path(path).stat()
    except OSError:
        return None  # the source says it better
    user, group = user_name(), group_name(status.st_gid)
    detail = f"no permission to use {path}: it is {stat.filemode(status.st_mode)} of group {group}, this is user {user}"
    if is_member(user, group):
        return Finding("fail", detail, f"{user} has joined {group} since this began: log in again, restart the service")
    return Finding("fail", detail, f"sudo usermod -aG {group} {user}, then log in again and restart the service")


def _offer(path: str) -> v4l2.Offer | None:
    """None if the driver does not tell; opening the camera will."""
    try:
        return v4l2.ask(path)
    except OSError:
        return None
