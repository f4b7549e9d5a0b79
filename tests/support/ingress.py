"""A small reverse proxy that serves a site under a prefix, as Home Assistant's ingress does, and can drop clients."""

from __future__ import annotations

import http.client
import socket
import threading
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

_OF_THE_CONNECTION = {"connection", "keep-alive", "transfer-encoding", "date", "server"}


class Ingress:
    """Forwards what is below ``prefix`` to ``port`` on this machine; ``requests`` are paths with their headers."""

    def __init__(self, port: int, prefix: str = "/api/hassio_ingress/abc/") -> None:
        self.requests: list[tuple[str, dict[str, str]]] = []
        self.away = False
        self._clients: set[socket.socket] = set()
        ingress = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                ingress.requests.append((self.path, dict(self.headers.items())))
                ingress._clients.add(self.connection)
                if ingress.away:
                    self.send_error(502)
                elif not self.path.startswith(prefix):
                    self.send_error(404)
                else:
                    with suppress(OSError, http.client.HTTPException):
                        self._forward(self.path.removeprefix(prefix.rstrip("/")))

            do_POST = do_GET  # noqa: N815

            def _forward(self, path: str) -> None:
                connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                connection.request(self.command, path, body, dict(self.headers.items()))
                answer = connection.getresponse()
                self.send_response_only(answer.status)
                for name, value in answer.getheaders():
                    if name.lower() not in _OF_THE_CONNECTION:
                        self.send_header(name, value)
                self.send_header("Connection", "close")
                self.end_headers()
                while chunk := answer.read1(65_536):
                    self.wfile.write(chunk)
                    self.wfile.flush()
                connection.close()

            def log_message(self, *_: object) -> None:
                """Nothing: pytest shows enough."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._server.handle_error = lambda *_: None  # type: ignore[method-assign]  # clients that were dropped
        self.address = f"http://127.0.0.1:{self._server.server_port}{prefix}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    def drop(self) -> None:
        """Close all connections to clients."""
        for client in list(self._clients):
            with suppress(OSError):
                client.shutdown(socket.SHUT_RDWR)
        self._clients.clear()

    def close(self) -> None:
        self._server.shutdown()
        self.drop()
        self._server.server_close()
        self._thread.join(10)
