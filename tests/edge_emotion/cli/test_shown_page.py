"""``run --show``: the page is switched on and opened in the user's browser, or its address is printed."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import webbrowser
from pathlib import Path

import pytest
import yaml
from support.broker import free_port, wait_until
from support.page_stage import Asker, taken_port
from support.paths import ROOT

from edge_emotion.cli.demo import CLIP
from edge_emotion.cli.main import main
from edge_emotion.cli.shown_page import page_settings, show_page
from edge_emotion.config.loader import load
from edge_emotion.config.web_settings import WebSettings

CAMERA = {"cameras": {"desk": {"source": "0"}}}


@pytest.fixture
def programs(tmp_path: Path) -> Path:
    """A folder with a browser with and one without windows; each writes down the address that it is given."""
    folder = tmp_path / "programs"
    folder.mkdir()
    for name in ("xdg-open", "lynx"):
        (folder / name).write_text(f'#!/bin/sh\nfor address; do :; done\necho "$address" >> {tmp_path}/{name}.opened\n')
        (folder / name).chmod(0o755)
    return folder


def test_the_address_of_the_page_is_printed_and_opened_in_a_browser_with_windows(
    programs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def shown(url: str, **environment: str) -> str:
        for name in ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER"):
            monkeypatch.delenv(name, raising=False)
        for name, value in {"PATH": str(programs), "TERM": "xterm", **environment}.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr(webbrowser, "_browsers", {})  # it looks for programs once
        monkeypatch.setattr(webbrowser, "_tryorder", None)
        show_page(url)
        wait_until(lambda: not [thread for thread in threading.enumerate() if thread.name == "browser"])
        return capsys.readouterr().err

    opened = tmp_path / "xdg-open.opened"
    assert shown("http://0.0.0.0:8765/", DISPLAY=":7") == "the page is at http://localhost:8765/\n"
    wait_until(lambda: opened.exists() and opened.read_text())
    assert opened.read_text() == "http://localhost:8765/\n"
    opened.unlink()
    printed = "the page is at http://127.0.0.1:8765/\n"
    assert shown("http://127.0.0.1:8765/") == printed
    assert not opened.exists()
    (programs / "xdg-open").unlink()
    assert shown("http://127.0.0.1:8765/", WAYLAND_DISPLAY="wayland-0") == printed
    assert not (tmp_path / "lynx.opened").exists()  # it would take the terminal


def test_run_switches_the_page_on_and_opens_it(tmp_path: Path, programs: Path) -> None:
    port = free_port()
    tree = {"cameras": {"desk": {"source": str(CLIP), "loop": True}}, "classifier": {"model": "tiny"}}
    file = tmp_path / "settings.yaml"
    file.write_text(yaml.safe_dump({**tree, "state_dir": str(tmp_path), "web": {"listen": f"127.0.0.1:{port}"}}))
    command = [sys.executable, "-m", "edge_emotion", "run", "-c", str(file), "--show"]
    environment = {**os.environ, "BROWSER": f"{programs}/lynx"}
    with subprocess.Popen(command, cwd=ROOT, env=environment, stderr=subprocess.PIPE, text=True) as process:
        try:
            opened = tmp_path / "lynx.opened"
            wait_until(lambda: opened.exists() and opened.read_text().endswith("\n"), 30)
            (address,) = opened.read_text().split()
            assert address == f"http://127.0.0.1:{port}/"
            assert Asker(address).get("/api/v1/info").json["web"]["daemon"] is True
        finally:
            process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0


def test_the_page_has_its_default_address_or_a_free_port_where_the_settings_say_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = free_port()
    monkeypatch.setattr(WebSettings, "address", ("127.0.0.1", port))
    assert page_settings() == {"web": {"listen": f"127.0.0.1:{port}"}}
    with taken_port() as taken:
        monkeypatch.setattr(WebSettings, "address", ("127.0.0.1", taken))
        listen = page_settings()["web"]["listen"]
        assert re.fullmatch(r"127\.0\.0\.1:[0-9]+", listen) and listen != f"127.0.0.1:{taken}"
    default = {"web": {"listen": "127.0.0.1:9"}}
    assert load(None, CAMERA, environment=False, sections=default).web == WebSettings(listen="127.0.0.1:9")
    file = tmp_path / "settings.yaml"
    file.write_text(yaml.safe_dump({**CAMERA, "web": {"preview": True}}))
    assert load(file, environment=False, sections=default).web == WebSettings(preview=True)
    monkeypatch.setenv("EDGE_EMOTION_WEB__LISTEN", "127.0.0.1:10")
    assert load(None, CAMERA, sections=default).web == WebSettings(listen="127.0.0.1:10")


def test_a_page_that_the_settings_switch_off_is_not_shown(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "--source", "0", "--jsonl", "-", "--set", "web=null", "--show"]) == 2
    assert "--show: the settings switch the page off" in capsys.readouterr().err
