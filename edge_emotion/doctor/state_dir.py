"""The check of the state directory, and whether a daemon is using it. Nothing in it is touched."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from edge_emotion.config.settings import Settings
from edge_emotion.doctor.report import Finding
from edge_emotion.doctor.users import user_name

_LEAST, _SMALL = 20, 200
"""Megabytes: below the first, events of an outage of the broker may not fit; below the second, soon."""


def state(settings: Settings) -> Finding:
    """A finding on the directory: present or possible, private, of this user, writable, and with room.

    Raises OSError or ConfigError where that cannot be checked.
    """
    path = settings.state_path
    if not path.exists():
        parent = next(folder for folder in path.parents if folder.exists())
        if not os.access(parent, os.W_OK | os.X_OK):
            return Finding("fail", f"{path} is not there and {user_name()} may not make it", _make(path))
        return _room(parent, f"{path} is made at the first start")
    if not path.is_dir():
        return Finding("fail", f"{path} is no folder", "set state_dir to a folder, or move the file away")
    status = path.stat()
    if status.st_uid != os.geteuid():
        return _of_another(path, status.st_uid)
    if not os.access(path, os.R_OK | os.W_OK | os.X_OK):
        return Finding("fail", f"{path} cannot be written", f"chmod 0700 {path}; is its file system read-only? (mount)")
    if status.st_mode & 0o077:
        return Finding("warn", f"{path} is open to others (mode {status.st_mode & 0o777:04o})", f"chmod 0700 {path}")
    return _room(path, f"{path}, mode {status.st_mode & 0o777:04o}")


def daemon_runs(settings: Settings) -> bool:
    """True while a daemon of this node holds the lock of its event counter, from /proc/locks, see proc(5)."""
    try:
        inode = (settings.state_path / f"{settings.node}.lock").stat().st_ino
        locks = Path("/proc/locks").read_text(encoding="ascii").splitlines()
    except (OSError, ValueError):
        return False
    return any(f":{inode} " in line and "FLOCK" in line for line in locks)


def _of_another(path: Path, owner: int) -> Finding:
    name = user_name(owner)
    if os.geteuid() == 0:
        fix = f"run this as the daemon's user: sudo -u {name} edge-emotion doctor (docs/how-to/find-faults.md)"
        return Finding("warn", f"{path} belongs to {name}, and this is root, who sees everything", fix)
    fix = f"sudo chown -R {user_name()} {path}, or run this as {name}: sudo -u {name} edge-emotion doctor"
    return Finding("fail", f"{path} belongs to {name}, not to {user_name()}", fix)


def _room(path: Path, detail: str) -> Finding:
    free = shutil.disk_usage(path).free / 1e6
    text = f"{detail}, {free / 1000:.1f} GB free" if free >= 1000 else f"{detail}, {free:.0f} MB free"
    if free >= _SMALL:
        return Finding("ok", text)
    return Finding(
        "fail" if free < _LEAST else "warn", text, f"make room: df -h {path}; sudo journalctl --vacuum-size=100M"
    )


def _make(path: Path) -> str:
    return f"sudo install -d -m 0700 -o {user_name()} {path}, or set state_dir"
