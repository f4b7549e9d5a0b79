"""A TCP proxy whose cable can be pulled: connections stay, nothing passes."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from select import select


class Proxy:
    """Forwards from a free loopback port to ``target``, in a thread of its own, until ``close``."""

    def __init__(self, target: int) -> None:
        self._target = target
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self._peers: dict[socket.socket, socket.socket] = {}
        self._whole, self._ended = threading.Event(), threading.Event()
        self._whole.set()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def cut(self) -> None:
        """From now on nothing passes and nobody is told."""
        self._whole.clear()

    def mend(self) -> None:
        """Undo ``cut``; what was on its way goes on."""
        self._whole.set()

    def close(self) -> None:
        self._ended.set()
        self._whole.set()
        self._thread.join(10)
        for sock in (self._listener, *self._peers):
            sock.close()

    def _run(self) -> None:
        while self._whole.wait() and not self._ended.is_set():
            for sock in select([self._listener, *self._peers], [], [], 0.02)[0]:
                if not self._whole.is_set():
                    break
                if sock is self._listener:
                    self._accept()
                elif sock in self._peers:
                    self._forward(sock)

    def _accept(self) -> None:
        near = self._listener.accept()[0]
        try:
            far = socket.create_connection(("127.0.0.1", self._target), 2)
        except OSError:
            near.close()
            return
        near.settimeout(2)
        self._peers[near], self._peers[far] = far, near

    def _forward(self, sock: socket.socket) -> None:
        data = b""
        with suppress(OSError):
            data = sock.recv(65536)
            self._peers[sock].sendall(data)
        if not data:
            other = self._peers.pop(sock)
            self._peers.pop(other, None)
            sock.close()
            other.close()
