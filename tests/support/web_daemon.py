"""The real program with its page, in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from support.broker import free_port, wait_until
from support.paths import ROOT

CLIP = ROOT / "edge_emotion" / "demo.mp4"


class WebProcess:
    """``edge-emotion`` with a page, in a process of its own; ``address`` ends in a slash."""

    def __init__(self, folder: Path, port: int, arguments: Sequence[str]) -> None:
        self.folder, self.port, self._arguments = folder, port, arguments
        self.address = f"http://127.0.0.1:{port}/"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def log(self) -> str:
        """Its output so far."""
        return (self.folder / "daemon.log").read_text(encoding="utf-8", errors="replace")

    def start(self) -> WebProcess:
        """Start, also again; returns when every camera gives frames."""
        command = [sys.executable, "-m", "edge_emotion", *self._arguments]
        environment = {**os.environ, "XDG_STATE_HOME": str(self.folder), "OMP_NUM_THREADS": "1"}
        with (self.folder / "daemon.log").open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log, env=environment, cwd=ROOT)
        wait_until(self._ready, 60)
        return self

    def stop(self) -> None:
        """End it cleanly."""
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(20)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait(10)
        self._process = None

    def _ready(self) -> bool:
        assert self._process is not None and self._process.poll() is None, f"the daemon has ended: {self.log}"
        try:
            with urllib.request.urlopen(f"{self.address}readyz", timeout=5) as answer:
                return bool(answer.status == 200)
        except urllib.error.HTTPError as error:
            return error.code == 401  # readiness is not for everybody where a password is set
        except OSError:
            return False


@contextmanager
def running(folder: Path, **settings: Any) -> Iterator[WebProcess]:
    """``edge-emotion run`` with these settings; without others its one camera is the clip."""
    port = free_port()
    camera = {"source": str(CLIP), "loop": True, "max_fps": 10}
    plain = {"node": "pi5", "cameras": {"desk": camera}, "state_dir": str(folder / "state")}
    web = {"listen": f"127.0.0.1:{port}", **settings.get("web", {})}
    file = folder / "settings.yaml"
    file.write_text(yaml.safe_dump({**plain, **settings, "web": web}), encoding="utf-8")
    with _started(WebProcess(folder, port, ["run", "-c", str(file)])) as process:
        yield process


@contextmanager
def alone(folder: Path, *arguments: str) -> Iterator[WebProcess]:
    """``edge-emotion web`` with these arguments."""
    port = free_port()
    with _started(WebProcess(folder, port, ["web", "--listen", f"127.0.0.1:{port}", *arguments])) as process:
        yield process


@contextmanager
def _started(process: WebProcess) -> Iterator[WebProcess]:
    try:
        yield process.start()
    finally:
        process.stop()
