"""The real daemon with its page, on the bundled clip, in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from support.broker import free_port, wait_until
from support.paths import ROOT

CLIP = ROOT / "edge_emotion" / "demo.mp4"


class WebDaemon:
    """``edge-emotion run`` with the given settings; ``address`` ends in a slash."""

    def __init__(self, folder: Path, settings: Mapping[str, Any]) -> None:
        self.folder = folder
        self.port = free_port()
        self.address = f"http://127.0.0.1:{self.port}/"
        web = {"listen": f"127.0.0.1:{self.port}", **settings.get("web", {})}
        camera = {"source": str(CLIP), "loop": True, "max_fps": 10}
        plain = {"node": "pi5", "cameras": {"desk": camera}, "state_dir": str(folder / "state")}
        (folder / "settings.yaml").write_text(yaml.safe_dump({**plain, **settings, "web": web}), encoding="utf-8")
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def log(self) -> str:
        """Its output so far."""
        return (self.folder / "daemon.log").read_text(encoding="utf-8", errors="replace")

    def start(self) -> WebDaemon:
        """Start, also again; returns when every camera gives frames."""
        command = [sys.executable, "-m", "edge_emotion", "run", "-c", str(self.folder / "settings.yaml")]
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
def running(folder: Path, **settings: Any) -> Iterator[WebDaemon]:
    """A daemon for as long as the block lasts."""
    daemon = WebDaemon(folder, settings)
    try:
        yield daemon.start()
    finally:
        daemon.stop()
