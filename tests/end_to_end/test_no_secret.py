"""No credential in any log, output, file or topic: by looking at everything that a run with twenty of them leaves."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import yaml
from support.broker import Broker, Subscriber, free_port, needs_mosquitto, password_access, wait_until
from support.paths import ROOT

from edge_emotion.cli.demo import CLIP

CLOSED = free_port()
"""A port at which nothing listens."""

USER_INFORMATION = "rtsp://admin:{}@127.0.0.1:{closed}/live"
ADDRESSES = {
    "quote": USER_INFORMATION.format("it'h00eim", closed="{closed}"),
    "double-quote": USER_INFORMATION.format('a"h01eim', closed="{closed}"),
    "blank": USER_INFORMATION.format("a h02eim", closed="{closed}"),
    "encoded": USER_INFORMATION.format("%68%303ei%6d", closed="{closed}"),
    "at": USER_INFORMATION.format("a@h04eim", closed="{closed}"),
    "slash": USER_INFORMATION.format("a/h05eim", closed="{closed}"),
    "hash": USER_INFORMATION.format("a#h06eim", closed="{closed}"),
    "question": USER_INFORMATION.format("a?h07eim", closed="{closed}"),
    "colon": USER_INFORMATION.format("a:h08eim", closed="{closed}"),
    "umlaut": USER_INFORMATION.format("\u00e4 h09eim", closed="{closed}"),
    "user": "rtsp://h10eim:x@127.0.0.1:{closed}/live",
    "psk": "rtsp://127.0.0.1:{closed}/live?psk=h11eim&channel=1",
    "p": "http://127.0.0.1:{port}/refused?p=h12eim",
    "token": "http://127.0.0.1:{port}/moved?access_token=h13eim",
    "page": "http://127.0.0.1:{port}/page?usr=me&pwd=h14eim",
    "path": "http://127.0.0.1:{port}/refused/abcdefgh15eim0123456789/live",
    "pairs": "rtsp://127.0.0.1:{closed}/user=admin_password=h16eim_channel=1.sdp",
    "login": "http://admin:h17%27eim@127.0.0.1:{port}/refused",
    "bare": "http://127.0.0.1:{closed}/snap?h18eim",
}
MQTT_PASSWORD = 'it\'s "h19eim" %20'
LEAK = re.compile(rb"h[01][0-9](%27|')?eim|%68%303ei%6d")


class Camera(BaseHTTPRequestHandler):
    """A camera that refuses, moves and explains, and repeats in its answers what it was sent."""

    def do_GET(self) -> None:
        refused, moved = "/refused" in self.path, "/moved" in self.path
        self.send_response(
            401 if refused else 302 if moved else 200, f"seen {self.path} {self.headers['Authorization']}"
        )
        if moved:
            self.send_header("Location", f"http://localhost:{CLOSED}{self.path}")
        self.send_header("Content-Type", f"text/html-{self.path.partition('?')[2]}")
        self.send_header("WWW-Authenticate", 'Basic realm="camera"')
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def camera_port() -> Iterator[int]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Camera)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    yield server.server_port
    server.shutdown()
    server.server_close()
    thread.join()


@needs_mosquitto
def test_a_run_with_twenty_secrets_shows_none_of_them_anywhere(camera_port: int, tmp_path: Path) -> None:
    home, other = tmp_path / "home", tmp_path / "broker"
    home.mkdir()
    other.mkdir()
    sources = {name: address.format(closed=CLOSED, port=camera_port) for name, address in ADDRESSES.items()}
    assert len(sources) + 1 == 20 and all(LEAK.search(source.encode()) for source in sources.values())
    broker = Broker(other, password_access(other, "me", MQTT_PASSWORD)).start()
    settings = {
        "node": "pi5",
        "cameras": {"desk": {"source": str(CLIP), "loop": True}}
        | {name: {"source": source, "open_timeout": 3} for name, source in sources.items()},
        "mqtt": {"host": "127.0.0.1", "port": broker.port, "username": "me", "password": MQTT_PASSWORD},
        "jsonl": {"path": str(home / "events.jsonl")},
        "state_dir": str(home / "state"),
    }
    config = tmp_path / "c.yaml"
    config.write_text(yaml.safe_dump(settings, allow_unicode=True))
    environment = {**os.environ, "HOME": str(home), "TMPDIR": str(home), "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "edge_emotion"]
    options = ["--debug", "--config", str(config)]
    with (home / "log").open("wb") as log:
        daemon = subprocess.Popen([*command, "run", *options], cwd=home, env=environment, stdout=log, stderr=log)
    subscriber = Subscriber(broker, "watcher", "me", MQTT_PASSWORD)
    try:
        asked = [
            subprocess.run([*command, *words, *options], env=environment, capture_output=True, timeout=120, check=False)
            for words in (["check-config"], ["doctor"])
        ]
        offline = (home / "log").read_bytes
        wait_until(lambda: all(b"camera %s is offline" % name.encode() in offline() for name in sources), 60)
        wait_until(lambda: subscriber.on("/events"), 60)
        subscriber.publish("edge-emotion/pi5/request/info", b"{}")
        wait_until(lambda: subscriber.on("response/info"))
        daemon.send_signal(signal.SIGTERM)
        assert daemon.wait(30) == 0
    finally:
        daemon.kill()
        daemon.wait(10)
        subscriber.close()
        broker.stop()

    assert [done.returncode for done in asked] == [0, 9]
    assert asked[0].stdout.count(b"***") >= 20 and asked[1].stdout.count(b"camera ") >= 20
    seen = {f"output of {number}": done.stdout + done.stderr for number, done in enumerate(asked)}
    seen |= {f"file {path}": path.read_bytes() for path in home.rglob("*") if path.is_file()}
    seen |= {f"topic {one.topic}": one.payload + one.topic.encode() for one in subscriber.messages}
    seen["broker"] = broker.log.encode()
    assert {"availability", "info", "events", "state", "config"} <= {name.rsplit("/", 1)[-1] for name in seen}
    for name, content in seen.items():
        found = LEAK.search(content)
        assert found is None, f"{name}: {content[max(0, found.start() - 200) : found.end() + 50]!r}"
