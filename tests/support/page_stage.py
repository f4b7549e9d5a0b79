"""A page without a daemon or with a real one, and requests to it."""

from __future__ import annotations

import http.client
import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import yaml

from edge_emotion.app import make_daemon
from edge_emotion.cli.demo import CLIP
from edge_emotion.config.loader import load
from edge_emotion.config.settings import MqttSettings
from edge_emotion.config.web_settings import WebSettings
from edge_emotion.web.server import PageServer, serve_alone
from support.broker import free_port, wait_until

PASSWORD, TOKEN = "correct horse battery", "token-of-a-program"


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def detail(self) -> str:
        """Of a problem, whose form is checked."""
        assert self.headers["content-type"] == "application/problem+json"
        assert self.json["status"] == self.status
        assert "\n" not in self.json["detail"]
        return str(self.json["detail"])


class Asker:
    """Asks one page; a write has the page's Origin and JSON unless told otherwise (None leaves a header out)."""

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")
        self.host = urlsplit(url).netloc

    def get(self, path: str, **headers: str) -> Answer:
        return self.ask("GET", path, headers)

    def post(self, path: str, value: object = None, **headers: str | None) -> Answer:
        plain: dict[str, str | None] = {"Content-Type": "application/json", "Origin": self.url}
        body = value if isinstance(value, bytes) else json.dumps({} if value is None else value).encode()
        return self.ask("POST", path, {**plain, **_headers(headers)}, body)

    def ask(self, method: str, path: str, headers: dict[str, Any], body: bytes | None = None) -> Answer:
        connection = http.client.HTTPConnection(self.host, timeout=30)
        try:
            given = {name: value for name, value in _headers(headers).items() if value is not None}
            connection.request(method, path, body, given)
            answer = connection.getresponse()
            return Answer(answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read())
        finally:
            connection.close()

    @contextmanager
    def stream(self, path: str = "/api/v1/stream", **headers: str) -> Iterator[Iterator[dict[str, str]]]:
        """The messages of the stream, each with the fields id, event and data that it has."""
        connection = http.client.HTTPConnection(self.host, timeout=30)
        try:
            connection.request("GET", path, headers=_headers(headers))
            answer = connection.getresponse()
            assert answer.status == 200, answer.read()
            yield _messages(answer)
        finally:
            connection.close()


def _headers(headers: dict[str, Any]) -> dict[str, Any]:
    return {name.replace("_", "-"): value for name, value in headers.items()}


def _messages(answer: http.client.HTTPResponse) -> Iterator[dict[str, str]]:
    fields: dict[str, str] = {}
    while line := answer.readline().decode():
        name, colon, value = line.rstrip("\n").partition(": ")
        if colon and name:
            fields[name] = value
        elif not line.strip() and "data" in fields:
            yield fields
            fields = {}


@contextmanager
def page_alone(
    folder: Path, *, password: str | None = None, token: str | None = None, mqtt: MqttSettings | None = None, **web: Any
) -> Iterator[tuple[Asker, PageServer]]:
    """A page without a daemon, with a password and a token if they are given."""
    for name, text in {"password_file": password, "token_file": token}.items():
        if text is not None:
            (folder / name).write_text(text + "\n")
            web[name] = folder / name
    server = serve_alone(WebSettings(**{"listen": "127.0.0.1:0", **web}), mqtt, lambda: {"asked": True})
    try:
        yield Asker(server.url), server
    finally:
        server.stop()


class PageStage:
    """A daemon on the clip with the small model, its settings in a file, and its page."""

    def __init__(self, folder: Path, *, web: dict[str, Any] | None = None, **settings: Any) -> None:
        self.port, self.file = free_port(), folder / "edge-emotion.yaml"
        self.tree: dict[str, Any] = {
            "node": "pi5",
            "cameras": {"desk": {"source": str(CLIP), "loop": True}},
            "classifier": {"model": "tiny"},
            "state_dir": str(folder / "state"),
            "web": {"listen": f"127.0.0.1:{self.port}", **(web or {})},
            **settings,
        }
        self.write()
        self.daemon = make_daemon(load(self.file, environment=False), load=lambda: load(self.file, environment=False))
        self.page = Asker(f"http://127.0.0.1:{self.port}/")
        self._thread = threading.Thread(target=self.daemon.run, name="daemon")

    def write(self, **settings: Any) -> None:
        """Change the file, section by section."""
        self.tree |= settings
        self.file.write_text(yaml.safe_dump(self.tree))

    def __enter__(self) -> PageStage:
        self._thread.start()
        self.wait(self._listens)
        return self

    def _listens(self) -> bool:
        with socket.socket() as tried:
            return tried.connect_ex(("127.0.0.1", self.port)) == 0

    def __exit__(self, *_: object) -> None:
        self.daemon.stop()
        self._thread.join(20)
        assert not self._thread.is_alive()

    def wait(self, predicate: Callable[[], object]) -> None:
        """Until it is true; fails at once if the daemon has ended."""

        def looked() -> object:
            assert self._thread.is_alive(), "the daemon has ended"
            return predicate()

        wait_until(looked, 30)


@contextmanager
def taken_port() -> Iterator[int]:
    """A port that another program listens on."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]
