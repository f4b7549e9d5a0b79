"""The client id of a node: the same after a crash, another one on a copy of its SD card or state directory."""

from __future__ import annotations

import hashlib
import secrets
from contextlib import suppress
from pathlib import Path

_MACHINE = ("/etc/machine-id", "/sys/firmware/devicetree/base/serial-number")
"""Files that identify a machine: of the installed system, and of a Raspberry Pi's or Jetson's board."""


def make_client_id(node: str, token: str, file: Path | None) -> str:
    """``edge-emotion-<node>-<eight hexadecimal digits>``; random without a ``token`` or ``file``.

    The same one after a crash makes the broker end the old connection first, so that its last will cannot arrive
    later. Two nodes with one client id would disconnect each other, so the digits depend on the machine and on the
    ``file``, in which ``token`` is stored, and not only on the token, which a copy of the file contains, too.
    """
    if not token or file is None:
        return f"edge-emotion-{node}-{secrets.token_hex(4)}"
    parts = [token.encode(), str(file.resolve()).encode(errors="surrogateescape"), str(file.stat().st_ino).encode()]
    for path in _MACHINE:
        with suppress(OSError):
            parts.append(Path(path).read_bytes())
    return f"edge-emotion-{node}-{hashlib.sha256(b'|'.join(parts)).hexdigest()[:8]}"
