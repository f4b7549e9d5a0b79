"""A fault of the page is one line with its fix, and the daemon goes on without it."""

from __future__ import annotations

import http.client
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.broker import free_port, wait_until
from support.page_stage import PASSWORD, Asker, PageStage, page_alone, taken_port
from support.paths import ROOT

from edge_emotion.cli.main import main
from edge_emotion.config.settings import MqttSettings
from edge_emotion.config.web_settings import WebSettings
from edge_emotion.doctor.page import page
from edge_emotion.errors import BackendUnavailable
from edge_emotion.web.sink import require_extra


class Silent(PageStage):
    """A daemon whose page does not come."""

    def _listens(self) -> bool:
        return self.daemon.summary.frames > 0

    @property
    def told(self) -> str:
        """Why, in the node's info."""
        return str(self.daemon.on_turn.__self__.info()["web"]["failure"])  # type: ignore[attr-defined]


def check_that_it_goes_on(folder: Path, hint: str, web: dict[str, Any], caplog: pytest.LogCaptureFixture) -> None:
    with Silent(folder, web=web, jsonl={"path": str(folder / "events.jsonl")}) as stage:
        stage.wait(lambda: (folder / "events.jsonl").stat().st_size)
        (line,) = [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]
        assert line == f"there is no page: {stage.told}"
        assert re.search(hint, line), line
        assert "\n" not in line


def test_a_port_that_is_in_use(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with taken_port() as port:
        check_that_it_goes_on(tmp_path, "in use; .*choose another port", {"listen": f"127.0.0.1:{port}"}, caplog)


def test_an_address_that_is_not_ours(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "password").write_text(PASSWORD)
    web = {"listen": "203.0.113.9:8765", "password_file": str(tmp_path / "password")}
    check_that_it_goes_on(tmp_path, r"203\.0\.113\.9:8765: .*; give an address of this machine", web, caplog)


@pytest.mark.parametrize(
    ("make", "hint"),
    [
        (lambda file: None, "password: No such file"),
        (lambda file: file.mkdir(), "password: Is a directory"),
        (lambda file: file.write_bytes(b"\xff\xfe\x00" * 9), "password: it is no text in UTF-8"),
        (lambda file: file.write_text(""), "at least 8 characters"),
    ],
)
def test_a_password_file_that_cannot_be_read(
    make: Callable[[Path], object], hint: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make(tmp_path / "password")
    assert main(["web", "--listen", "127.0.0.1:0", "--page-password-file", str(tmp_path / "password")]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: web.password_file")
    assert hint in line


def test_a_daemon_goes_on_without_its_password_file(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    check_that_it_goes_on(tmp_path, "web.password_file .*nothing", {"password_file": str(tmp_path / "nothing")}, caplog)


def without_the_extra(patch: pytest.MonkeyPatch) -> None:
    patch.delitem(sys.modules, "edge_emotion.web.server", raising=False)
    patch.setitem(sys.modules, "uvicorn", None)


def test_the_extra_that_is_not_installed(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_the_extra(monkeypatch)
    check_that_it_goes_on(tmp_path, r"needs uvicorn: pip install 'edge-emotion\[web\]'", {}, caplog)
    with pytest.raises(BackendUnavailable, match="pip install"):
        require_extra()


@pytest.mark.parametrize("arguments", [["web"], ["demo", "--web"], ["run", "--source", "0", "--show"]])
def test_commands_for_the_page_end_without_the_extra(
    arguments: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    without_the_extra(monkeypatch)
    assert main(arguments) == 5
    assert "pip install 'edge-emotion[web]'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (["--listen", "0.0.0.0:8765"], "--listen: other machines reach 0.0.0.0:8765: set --page-password-file"),
        (["--listen", "8765"], "--listen: expected an address of this machine and a port"),
        (["--host", "http://x"], "--host: 'http://x' is no host name"),
        (["--cert", "x"], "--cert and --key go together"),
    ],
)
def test_impossible_options_are_one_line(arguments: list[str], hint: str, capsys: pytest.CaptureFixture[str]) -> None:
    options = [*arguments, "--mqtt", "localhost"] if "--cert" in arguments else arguments
    assert main(["web", *options]) == 2
    assert hint in capsys.readouterr().err


# doctor


def test_doctor_finds_what_is_wrong_with_the_page(tmp_path: Path) -> None:
    missing = page(WebSettings(), in_use=False, installed=lambda name: None if name == "uvicorn" else name)
    assert (missing.status, missing.detail) == ("fail", "uvicorn is not installed")
    assert "edge-emotion[web]" in missing.fix
    assert page(WebSettings(listen="127.0.0.1:0"), in_use=False).status == "ok"
    with taken_port() as port:
        taken = WebSettings(listen=f"127.0.0.1:{port}")
        found = page(taken, in_use=False)
        assert (found.status, "in use" in found.detail, "another port" in found.fix) == ("fail", True, True)


def test_doctor_finds_a_daemon_without_its_page() -> None:
    with taken_port() as port:
        pass
    found = page(WebSettings(listen=f"127.0.0.1:{port}"), in_use=True)
    assert (found.status, "there is no page at" in found.detail) == ("fail", True)
    assert "log" in found.fix


def test_doctor_tells_whether_a_password_is_asked_for(tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text(PASSWORD)
    settings = WebSettings(listen="127.0.0.1:0", password_file=file, token_file=file)
    assert page(settings, in_use=False).detail.endswith("with a password and a token")
    assert page(WebSettings(listen="127.0.0.1:0"), in_use=False).detail.endswith("for users of this machine")


# The command


def test_the_page_without_a_daemon_serves_until_it_is_told_to_stop() -> None:
    command = [sys.executable, "-m", "edge_emotion", "web", "--listen", "127.0.0.1:0"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, env=os.environ) as process:
        assert process.stdout is not None
        url = process.stdout.readline().removeprefix("page: ").strip()
        asker = Asker(url)
        info = asker.get("/api/v1/info").json
        assert info["web"] == {**info["web"], "daemon": False, "broker": False, "preview": False}
        assert asker.get("/api/v1/state").json == asker.get("/api/v1/cameras").json == {}
        assert asker.get("/healthz").status == asker.get("/readyz").status == asker.get("/metrics").status == 200
        assert "without a daemon" in asker.post("/api/v1/reload").detail
        assert "--mqtt HOST" in asker.get("/api/v1/nodes").detail
        with asker.stream():
            process.send_signal(signal.SIGTERM)
            assert process.wait(20) == 0


def test_the_demo_shows_its_page_while_it_runs() -> None:
    command = [sys.executable, "-u", "-m", "edge_emotion", "demo", "--web", "--seconds", "60"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            asker = Asker(
                next(line for line in process.stdout if line.startswith("page: ")).removeprefix("page: ").strip()
            )
            next(line for line in process.stdout if "camera" in line and "online" in line)
            info = asker.get("/api/v1/info").json
            assert (info["node"], info["web"]["daemon"], info["web"]["broker"]) == ("demo", True, True)
            with asker.stream() as messages:
                assert next(message for message in messages if message["event"] == "frame")
        finally:
            process.send_signal(signal.SIGTERM)
            process.stdout.read()
        assert process.wait(20) == 0


def test_a_broker_that_is_away_is_one_line_and_the_page_stays(tmp_path: Path) -> None:
    mqtt = MqttSettings.model_validate({"host": "127.0.0.1", "port": free_port()})
    with page_alone(tmp_path, mqtt=mqtt) as (asker, _):
        answer = asker.get("/api/v1/nodes")
        assert (answer.status, "127.0.0.1" in answer.detail) == (503, True)
        assert asker.get("/api/v1/info").json["web"]["broker"] is True


# Clients that are slow


def test_connections_that_ask_nothing_are_closed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edge_emotion.web.server.PATIENCE", 0.1)
    whole = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
    with page_alone(tmp_path) as (asker, _):
        host, port = asker.host.split(":")
        for sent in (b"", whole[:20], whole + whole[:20]):
            with socket.create_connection((host, int(port)), timeout=10) as idle:
                idle.sendall(sent)
                while idle.recv(4096):  # the end, not a time-out
                    pass


def test_a_viewer_that_takes_nothing_is_dropped_and_its_connection_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edge_emotion.web.server.PATIENCE", 0.1)
    monkeypatch.setattr("edge_emotion.web.streaming.SLOW", 0.2)
    with page_alone(tmp_path) as (asker, server):
        host, port = asker.host.split(":")
        live, connections = server._site.live, server._server.server_state.connections
        with socket.create_connection((host, int(port))) as lazy:
            lazy.sendall(b"GET /api/v1/stream HTTP/1.1\r\nHost: localhost\r\n\r\n")
            wait_until(lambda: live.streams == 1)

            def dropped() -> bool:
                live.show("frame", lambda: {"much": "x" * 100_000})
                return live.streams == 0

            wait_until(dropped)
            wait_until(lambda: not connections)
        assert asker.get("/healthz").status == 200


def test_the_head_of_a_stream_takes_no_place(tmp_path: Path) -> None:
    with page_alone(tmp_path) as (asker, server):
        connection = http.client.HTTPConnection(asker.host, timeout=20)
        connection.request("HEAD", "/api/v1/stream")
        answer = connection.getresponse()
        assert (answer.status, answer.read()) == (200, b"")
        wait_until(lambda: server._site.live.streams == 0)  # while the connection stays open
        connection.close()
