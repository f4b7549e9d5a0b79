"""A small HTTP server that answers as Home Assistant's Supervisor does when an app asks for the MQTT service."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

TOKEN = "token-of-the-supervisor"


class Supervisor:
    """``service`` is what it knows, None for nothing; ``failures`` requests are answered by 502 first."""

    def __init__(self, service: dict[str, Any] | None, failures: int = 0) -> None:
        self.service, self.failures, self.paths = service, failures, list[str]()
        supervisor = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                supervisor.paths.append(self.path)
                status, body = supervisor._answer(self.headers.get("Authorization"))
                sent = json.dumps(body).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(sent)))
                self.end_headers()
                self.wfile.write(sent)

            def log_message(self, *_: object) -> None:
                """Nothing: pytest shows enough."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    def _answer(self, authorization: str | None) -> tuple[int, dict[str, Any]]:
        """api/services.py and api/utils.py of the Supervisor."""
        if authorization != f"Bearer {TOKEN}":
            return 401, {"result": "error", "message": "unauthorized"}
        if self.failures > 0:
            self.failures -= 1
            return 502, {}
        if self.service is None:
            return 400, {"result": "error", "message": "Service not enabled"}
        return 200, {"result": "ok", "data": self.service}

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(10)
