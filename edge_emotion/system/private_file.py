"""Files and folders of the state directory: readable by their owner only, and never through a symbolic link."""

from __future__ import annotations

import logging
import os
import stat
from pathlib import Path

_log = logging.getLogger(__name__)


def make_private_folder(folder: Path) -> None:
    """Make ``folder``, mode 0700, and the folders above it, 0755 at most whatever the umask. Raises OSError."""
    if folder.is_dir():
        return
    missing = [above for above in folder.parents if not above.exists()]
    for above in reversed(missing):
        above.mkdir(mode=0o755, exist_ok=True)
    folder.mkdir(mode=0o700, exist_ok=True)


def open_private(path: Path) -> int:
    """Descriptor for reading and writing; an absent file is made with mode 0600. Raises OSError.

    Anything that is no regular file is moved aside, which is logged.
    """
    move_aside_unless_regular(path)
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    handle = os.open(path, flags, 0o600)
    os.fchmod(handle, 0o600)
    return handle


def move_aside_unless_regular(path: Path) -> None:
    """Rename a symbolic link, FIFO or device to ``<name>.damaged``. Raises OSError."""
    try:
        mode = os.lstat(path).st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISREG(mode):
        aside = path.with_name(path.name + ".damaged")
        path.replace(aside)
        _log.warning("%s is no regular file: moved to %s, a new one begins", path, aside.name)


def is_gone(path: Path, handle: int) -> bool:
    """True if ``path`` no longer names the file that is open as ``handle``."""
    try:
        return not os.path.samestat(os.lstat(path), os.fstat(handle))
    except FileNotFoundError:
        return True
    except OSError:  # a folder that cannot be reached for the moment
        return False
