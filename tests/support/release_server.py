"""A real HTTPS server on loopback that serves a folder with ranges, and that can misbehave."""

from __future__ import annotations

import re
import socket
import ssl
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from support.broker import Authority


@dataclass
class Faults:
    """By the name of a file."""

    cut_after: dict[str, int] = field(default_factory=dict)
    """The next answer ends after so many bytes, once."""
    endless: set[str] = field(default_factory=set)
    """The body does not end: chunks of zeros after the file."""
    slow: dict[str, float] = field(default_factory=dict)
    """Seconds before each byte of the body."""
    redirect: dict[str, str] = field(default_factory=dict)
    whole: bool = False
    """Ranges are not known: every answer is the whole file."""
    without_length: bool = False


class ReleaseServer:
    """Serves the files of ``folder`` below ``address``, with a certificate of ``authority`` or without TLS."""

    def __init__(self, folder: Path, authority: Authority | None = None) -> None:
        self.folder, self.faults = folder, Faults()
        self.requests: list[tuple[str, str]] = []
        """Path and range of each request."""
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self._scheme = "http"
        if authority is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*authority.issue("releases"))
            self._server.socket = context.wrap_socket(
                self._server.socket, server_side=True, do_handshake_on_connect=False
            )
            self._scheme = "https"
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    @property
    def address(self) -> str:
        """Of the folder."""
        return f"{self._scheme}://127.0.0.1:{self._server.server_address[1]}"

    def behave(self) -> None:
        """Forget faults and requests."""
        self.faults = Faults()
        self.requests.clear()

    def close(self) -> None:
        """Stop serving."""
        self._server.shutdown()
        self._server.server_close()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                with suppress(OSError):
                    server._answer(self)

            def log_message(self, *_: object) -> None:
                """Keep the tests' output clean."""

        return Handler

    def _answer(self, handler: BaseHTTPRequestHandler) -> None:
        path, faults = self.folder / handler.path.lstrip("/"), self.faults
        name, asked = path.name, handler.headers.get("Range", "")
        self.requests.append((handler.path, asked))
        if name in faults.redirect:
            handler.send_response(302)
            handler.send_header("Location", faults.redirect[name])
            handler.send_header("Content-Length", "0")
            handler.end_headers()
            return
        if not path.is_file():
            handler.send_error(404)
            return
        self._send(handler, name, path.read_bytes(), asked)

    def _send(self, handler: BaseHTTPRequestHandler, name: str, content: bytes, asked: str) -> None:
        faults, part = self.faults, re.fullmatch(r"bytes=(\d+)-", asked)
        if part and not faults.whole:
            start, size = int(part[1]), len(content)
            content = content[start:]
            handler.send_response(206)
            handler.send_header("Content-Range", f"bytes {start}-{size - 1}/{size}")
        else:
            handler.send_response(200)
        if name in faults.endless or faults.without_length:
            handler.close_connection = True
            handler.send_header("Connection", "close")
        else:
            handler.send_header("Content-Length", str(len(content)))
        handler.end_headers()
        cut = faults.cut_after.pop(name, None)
        for byte in content if name in faults.slow else ():
            time.sleep(faults.slow[name])
            handler.wfile.write(bytes([byte]))
        handler.wfile.write(content if cut is None else content[:cut])
        if cut is not None:
            handler.close_connection = True
            handler.connection.shutdown(socket.SHUT_RDWR)
        while name in faults.endless:
            handler.wfile.write(bytes(65536))
