"""The check of one configured camera: presence, permission, modes, and a first frame."""

from __future__ import annotations

import errno
import os
import stat
import time
from pathlib import Path

from edge_emotion.config.settings import CameraSettings
from edge_emotion.config.source_spec import SourceKind, classify_source, device_path
from edge_emotion.datatypes import Image
from edge_emotion.doctor import v4l2
from edge_emotion.doctor.reach import reach_as_text
from edge_emotion.doctor.report import Check, Finding
from edge_emotion.doctor.users import group_name, is_member, user_name
from edge_emotion.factory.cameras import make_source, view_of

_EXCLUSIVE = ("device", "picamera2", "pipeline")
"""Kinds of sources that only one program at a time can open."""

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


Size = tuple[int, int]
"""Width and height in pixels."""


def camera_check(name: str, settings: CameraSettings, *, min_size: int, in_use: bool) -> Check:
    """The check of one camera, whose faces have at least ``min_size`` pixels.

    ``in_use``: the daemon runs, so what only one program can open is not opened.
    """
    key = f"cameras.{name}.source"
    return Check(
        f"camera {name}",
        lambda: examine_camera(settings, key, min_size=min_size, in_use=in_use),
        _FIXES[classify_source(settings.source)].format(key=key),
        settings.open_timeout + settings.read_timeout + _MARGIN,
    )


def examine_camera(settings: CameraSettings, key: str, *, min_size: int, in_use: bool) -> Finding:
    """Check one camera and read one frame, which is discarded. Raises SourceError or BackendUnavailable."""
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
    about = "" if offer is None else modes_as_text(offer) + "; "
    if in_use and kind in _EXCLUSIVE:
        return _compared(f"{about}not opened, the daemon uses it", settings, offer, None)
    frame, seen, seconds = _take_frame(settings)
    detail = f"{about}a frame of {frame[0]} x {frame[1]} after {seconds:.1f} s"
    detail += f"; {reach_as_text(settings, frame, seen, min_size)}"
    return _compared(detail, settings, offer, frame if kind in ("device", "picamera2") else None)


def modes_as_text(offer: v4l2.Offer) -> str:
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


def _take_frame(settings: CameraSettings) -> tuple[Size, Size, float]:
    """Width and height of a frame and of what is seen of it, in pixels, and seconds until it came."""
    source, start = make_source(settings), time.monotonic()
    try:
        source.open()
        image = source.read().image
    finally:
        source.close()
    return _size(image), _size(view_of(settings).apply(image)), time.monotonic() - start


def _size(image: Image) -> Size:
    return image.shape[1], image.shape[0]


def _compared(detail: str, settings: CameraSettings, offer: v4l2.Offer | None, got: tuple[int, int] | None) -> Finding:
    """A finding on whether the camera gave the size and frame rate of the settings."""
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
    """A finding if this process has no permission for a device that exists; otherwise None."""
    try:
        os.close(os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC))
        return None
    except PermissionError as error:
        if error.errno == errno.EPERM:
            fix = "allow it with DeviceAllow= in a drop-in: sudo systemctl edit edge-emotion"
            return Finding("fail", f"{path}: systemd does not let the service use it", fix)
        status = Path(path).stat()
    except OSError:
        return None  # the source has a better message
    user, group = user_name(), group_name(status.st_gid)
    detail = f"no permission to use {path}: it is {stat.filemode(status.st_mode)} of group {group}, this is user {user}"
    if is_member(user, group):
        return Finding("fail", detail, f"{user} has joined {group} since this began: log in again, restart the service")
    return Finding("fail", detail, f"sudo usermod -aG {group} {user}, then log in again and restart the service")


def _offer(path: str) -> v4l2.Offer | None:
    """The modes of a device; None if the driver does not list them, which opening it will show."""
    try:
        return v4l2.ask(path)
    except OSError:
        return None
