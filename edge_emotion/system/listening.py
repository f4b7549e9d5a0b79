"""A TCP socket that is bound to an address of this machine."""

from __future__ import annotations

import errno
import socket

_REMEDIES = {
    errno.EACCES: "ports below 1024 are for root: choose another one",
    errno.EADDRINUSE: "end the program that uses it, or choose another port",
}


def bound_socket(host: str, port: int) -> socket.socket:
    """A socket on which ``listen`` can be called; port 0 is any free one. Raises OSError."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    family, kind, protocol, _, address = found[0]
    bound = socket.socket(family, kind, protocol)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(address)
    except OSError:
        bound.close()
        raise
    return bound


def remedy(error: OSError) -> str:
    """The advice for an error of ``bound_socket``."""
    return _REMEDIES.get(error.errno or 0, "give an address of this machine")
