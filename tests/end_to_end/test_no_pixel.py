"""No pixel in any payload, log or file: by type, by source, and by looking at everything that a real run leaves."""

from __future__ import annotations

import ast
import base64
import dataclasses
import inspect
import os
import re
import signal
import subprocess
import sys
import types
import typing
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
import pytest
import yaml
from support.broker import Broker, Subscriber, needs_mosquitto, wait_until
from support.paths import ROOT

from edge_emotion.datatypes import Box, CameraState, EmotionEvent, Image
from edge_emotion.protocols import EventSink

PLAIN = (str, int, float, bool, datetime, type(None))
WRITERS = {"imwrite", "imencode", "VideoWriter", "tobytes", "tofile", "save", "savez", "dump", "b64encode", "memmap"}
"""Calls that could bring a picture into a payload or file."""

MAY_WRITE = {
    ("image_files.py", "imencode"): "classify --annotate, on the caller's own pictures",
    ("image_files.py", "tobytes"): "the same",
    ("counter_record.py", "dump"): "a record of numbers",
    ("minisign.py", "b64encode"): "keys and signatures",
    ("secret_key.py", "b64encode"): "the same",
    ("progress.py", "save"): "how far a node is with the release that was ordered",
    ("node_lock.py", "dump"): "the same record",
    ("store.py", "dump"): "the same record",
    ("daemon.py", "save"): "the counter",
    ("streaming.py", "imencode"): "the preview, which web.preview: true asks for",
    ("control.py", "save"): "what was set for the cameras",
    ("overrides.py", "save"): "the same",
}


# By type


def leaves(kind: Any) -> Iterator[Any]:
    """The types that a value of this type is made of in the end."""
    if dataclasses.is_dataclass(kind):
        for hint in typing.get_type_hints(kind).values():
            yield from leaves(hint)
    elif typing.get_origin(kind) is Literal:
        yield from map(type, typing.get_args(kind))
    elif typing.get_origin(kind) in (typing.Union, types.UnionType, Mapping):
        for part in typing.get_args(kind):
            yield from leaves(part)
    else:
        yield kind


@pytest.mark.parametrize("value", [EmotionEvent, CameraState, Box])
def test_what_leaves_the_device_has_no_place_for_a_picture(value: type) -> None:
    assert set(leaves(value)) <= set(PLAIN)


def test_sinks_are_told_nothing_else() -> None:
    told = set()
    for name, method in inspect.getmembers(EventSink, inspect.isfunction):
        if not name.startswith("_"):
            hints = typing.get_type_hints(method)
            told |= {hint for parameter, hint in hints.items() if parameter != "return"}
    assert told == {EmotionEvent, CameraState, str, bool}


# By source


def test_nothing_in_the_runtime_writes_pictures_but_what_is_asked_to() -> None:
    found = set()
    for path in sorted((ROOT / "edge_emotion").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call):
                name = getattr(node.func, "attr", getattr(node.func, "id", ""))
                if name in WRITERS:
                    found.add((path.name, name))
    assert found == set(MAY_WRITE)


# By looking


class Finder:
    """Finds pieces of pictures in bytes: raw, as base64 or hex, or as a picture file."""

    _MAGIC = (b"\xff\xd8\xff", b"\x89PNG", b"WEBPVP8", b"ftypisom", b"\x93NUMPY")

    def __init__(self, pictures: list[Image]) -> None:
        raw = [cv2.cvtColor(picture, cv2.COLOR_BGR2RGB) for picture in pictures]
        raw += [*pictures, *(cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY) for picture in pictures)]
        # One of these lies in any run of sixteen bytes of a picture.
        self._words = np.unique(np.concatenate([_words(picture.tobytes(), step=8) for picture in raw]))

    def find(self, blob: bytes) -> str:
        """What was found; empty if nothing."""
        for magic in self._MAGIC:
            if magic in blob:
                return f"a picture file ({magic!r})"
        for coded in re.findall(rb"[A-Za-z0-9+/_=-]{80,}", blob):
            text = coded.translate(bytes.maketrans(b"-_", b"+/")).rstrip(b"=")
            for start in range(4):
                part = text[start : start + (len(text) - start) // 4 * 4]
                if self._has(base64.b64decode(part)):
                    return "pixels as base64"
            if re.fullmatch(rb"[0-9a-fA-F]+", coded) and self._has(
                bytes.fromhex(coded[: len(coded) // 2 * 2].decode())
            ):
                return "pixels as hex"
        if re.search(rb"(?:-?[0-9.]+[,\s]+){40,}", blob):
            return "a long list of numbers"
        return "pixels" if self._has(blob) else ""

    def _has(self, blob: bytes) -> bool:
        return bool(np.isin(_words(blob), self._words).any())


def _words(blob: bytes, step: int = 1) -> np.ndarray:
    """The runs of eight bytes that begin every ``step`` bytes, as numbers, without those of a few values only."""
    if len(blob) < 8:
        return np.zeros(0, np.uint64)
    runs = np.lib.stride_tricks.sliding_window_view(np.frombuffer(blob, np.uint8), 8)[::step]
    varied = (runs[:, 1:] != runs[:, :-1]).sum(axis=1) >= 5
    return np.ascontiguousarray(runs[varied]).view(np.uint64).ravel()


@pytest.fixture(scope="module")
def pictures(astronaut: Image) -> list[Image]:
    """A real face before noise that no text looks like."""
    noise = np.random.default_rng(5).integers(0, 256, astronaut.shape, np.uint8)
    picture = astronaut.copy()
    picture[300:] = noise[300:]
    return [picture]


@pytest.fixture(scope="module")
def finder(pictures: list[Image]) -> Finder:
    return Finder(pictures)


@pytest.mark.parametrize(
    "leak",
    [
        lambda picture: picture.tobytes()[300_000:300_200],
        lambda picture: b'{"crop": "' + base64.b64encode(picture[310, 100:200].tobytes()) + b'"}',
        lambda picture: b"x" + base64.urlsafe_b64encode(b"a" + picture[310, 100:200].tobytes()),
        lambda picture: picture[320, 10:100].tobytes().hex().encode(),
        lambda picture: cv2.imencode(".jpg", picture)[1].tobytes(),
        lambda picture: b"..." + cv2.imencode(".png", picture)[1].tobytes(),
        lambda picture: str(picture[310, :50].ravel().tolist()).encode(),
        lambda picture: cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY)[330:332].tobytes(),
    ],
)
def test_the_finder_finds(leak: Any, finder: Finder, pictures: list[Image]) -> None:
    assert finder.find(leak(pictures[0]))
    assert not finder.find((ROOT / "README.md").read_bytes())


def written(pid: int) -> set[Path]:
    """Regular files that the process has open for writing."""
    files = set()
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        flags = re.search(r"flags:\s*(\d+)", Path(f"/proc/{pid}/fdinfo/{entry.name}").read_text())
        target = entry.readlink()
        if flags and int(flags[1], 8) & (os.O_WRONLY | os.O_RDWR) and target.is_file():
            files.add(target)
    return files


@needs_mosquitto
def test_a_run_with_real_faces_leaves_no_pixel_anywhere(finder: Finder, pictures: list[Image], tmp_path: Path) -> None:
    """All that the daemon publishes, logs (debugging) and writes, also while the broker is away, is looked through."""
    shots, home, other = tmp_path / "shots", tmp_path / "home", tmp_path / "broker"
    for folder in (shots, home, other):
        folder.mkdir()
    for n in range(20):
        cv2.imwrite(str(shots / f"{n:02}.png"), pictures[0])
    broker = Broker(other).start()
    subscriber = Subscriber(broker, "finder")
    settings = {
        "node": "pi5",
        "cameras": {
            "desk": {"source": str(shots), "fps": 10, "loop": True},
            "lost": {"source": "/dev/video987"},
        },
        "mqtt": {"host": "127.0.0.1", "port": broker.port, "drain_timeout": 0.2, "outbox_sync_interval": 0},
        "jsonl": {"path": str(home / "events.jsonl")},
        "policy": {"threshold": 0.0},
        "state_dir": str(home / "state"),
    }
    (home / "c.yaml").write_text(yaml.safe_dump(settings))
    environment = {**os.environ, "HOME": str(home), "TMPDIR": str(home), "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "edge_emotion", "run", "--debug", "--config", str(home / "c.yaml")]
    with (home / "log").open("wb") as log:
        daemon = subprocess.Popen(command, cwd=home, env=environment, stdout=log, stderr=log)
    try:
        wait_until(lambda: subscriber.on("/events") and subscriber.on("desk/state"), 60)
        assert {path for path in written(daemon.pid) if not path.is_relative_to(home)} == set()
        broker.kill()  # what happens from now on stays on the disk
        daemon.send_signal(signal.SIGTERM)
        assert daemon.wait(30) == 0
    finally:
        daemon.kill()
        daemon.wait(10)
        subscriber.close()
        broker.stop()

    payloads = {message.topic: message.payload for message in subscriber.messages}
    assert {topic.rsplit("/", 1)[1] for topic in payloads} >= {"availability", "info", "events", "state"}
    files = {path: path.read_bytes() for path in home.rglob("*") if path.is_file()}
    assert any(path.name.endswith(".outbox.db") and b'"type":"end"' in blob for path, blob in files.items())
    assert b'"type":"end"' in files[home / "events.jsonl"]
    assert files[home / "log"]
    for message in subscriber.messages:
        assert not finder.find(message.payload), message.topic
    for path, blob in files.items():
        assert not finder.find(blob), path
