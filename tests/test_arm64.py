"""The program with its arm64 wheels, on an emulated processor: it computes and tells what it does on x86_64.

``make test-arm64`` makes the file system (scripts/arm64-root.sh) and runs this. How fast an emulated processor is says
nothing about a device.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from support.broker import Broker, Subscriber, needs_mosquitto
from support.paths import ROOT

from edge_emotion.cli.demo import CLIP
from edge_emotion.wire.payloads import event_from_json

FOLDER = Path(os.environ.get("ARM64_ROOT", "not set"))
pytestmark = [
    pytest.mark.skipif("ARM64_ROOT" not in os.environ, reason="runs by: make test-arm64"),
    needs_mosquitto,
]

PI4, PI5 = "cortex-a72", "cortex-a76"
"""Their kernels differ: only the second one has instructions for dot products of int8."""

AGREEMENT = 0.02
LIMIT = 600


def emulated(*arguments: str, cpu: str = PI5) -> str:
    """What the program prints on an emulated processor."""
    root = FOLDER / "root"
    environment = {
        "QEMU_CPU": cpu,
        "QEMU_LD_PREFIX": str(root),
        "PYTHONHOME": str(root / "usr"),
        "PYTHONPATH": f"{ROOT}:{FOLDER / 'wheels'}",
        "PYTHONPYCACHEPREFIX": str(FOLDER / "pycache"),
        "HOME": str(FOLDER),
    }
    return _output([str(FOLDER / "qemu" / "qemu-aarch64"), str(root / "usr/bin/python3.11")], arguments, environment)


def native(*arguments: str) -> str:
    """What the program prints on this processor."""
    return _output([sys.executable], arguments, {**os.environ, "PYTHONPATH": str(ROOT)})


def _output(python: list[str], arguments: tuple[str, ...], environment: dict[str, str]) -> str:
    command = [*python, "-m", "edge_emotion", *arguments]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=LIMIT)
    assert done.returncode == 0, done.stderr + done.stdout
    return done.stdout


def faces(output: str) -> list[dict[str, Any]]:
    return [face for line in output.splitlines() for face in json.loads(line)["faces"]]


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """A frame of the clip, as it is and spoilt in ways that make the model unsure."""
    folder, clip = tmp_path_factory.mktemp("pictures"), cv2.VideoCapture(str(CLIP))
    clip.set(cv2.CAP_PROP_POS_FRAMES, 60)
    _, frame = clip.read()
    clip.release()
    spoilt = {
        "plain": frame,
        "blurred": cv2.GaussianBlur(frame, (0, 0), 9),
        "half-dark": np.concatenate([frame[:190], frame[190:] // 8]),
        "upside-down": frame[::-1],
    }
    for name, picture in spoilt.items():
        cv2.imwrite(str(folder / f"{name}.png"), picture)
    return [str(folder / f"{name}.png") for name in spoilt]


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    broker = Broker(tmp_path).start()
    yield broker
    broker.stop()


@pytest.mark.parametrize("cpu", [PI4, PI5])
def test_classify_gives_the_probabilities_of_x86(pictures: list[str], cpu: str) -> None:
    arguments = ("classify", "--json", *pictures)
    ours, theirs = faces(native(*arguments)), faces(emulated(*arguments, cpu=cpu))
    assert len(ours) == len(theirs) == len(pictures)
    assert min(face["confidence"] for face in ours) < 0.7, "pictures that leave no doubt compare nothing"
    for one, other in zip(ours, theirs, strict=True):
        assert other["probabilities"] == pytest.approx(one["probabilities"], abs=AGREEMENT)
        assert other["box"] == pytest.approx(one["box"], abs=2)


def test_run_publishes_the_events_of_x86(tmp_path: Path, broker: Broker) -> None:
    # Every fifth of a second by the clip's own time, however slow the emulation is. The small detector is enough.
    settings = {
        "node": "pi5",
        "cameras.camera.realtime": "false",
        "cameras.camera.max_fps": "5",
        "detector.model": "blazeface_short",
    }
    common = ["run", "--source", str(CLIP), *(part for key in settings for part in ("--set", f"{key}={settings[key]}"))]
    subscriber = Subscriber(broker, "listener")
    mqtt = ("--mqtt", f"127.0.0.1:{broker.port}", "--set", "mqtt.drain_timeout=30")
    emulated(*common, *mqtt, "--set", f"state_dir={tmp_path}/arm64")
    printed = native(*common, "--jsonl", "-", "--set", f"state_dir={tmp_path}/x86")
    theirs = [event_from_json(message.payload) for message in subscriber.on("/events")]
    info = json.loads(subscriber.on("/info")[-1].payload)
    subscriber.close()
    ours = [event_from_json(line.encode()) for line in printed.splitlines()]
    assert info["host"]["machine"] == "aarch64"
    assert [event.type for event in ours] == ["start", "end"]
    for one, other in zip(ours, theirs, strict=True):
        assert (other.type, other.seq, other.emotion) == (one.type, one.seq, one.emotion)
        assert other.track_duration == one.track_duration
        assert dict(other.probabilities) == pytest.approx(dict(one.probabilities), abs=AGREEMENT)


def test_the_doctor_finds_the_interpreter_its_delegate_and_the_models_sound(tmp_path: Path, broker: Broker) -> None:
    state, patience = f"state_dir={tmp_path}/state", "cameras.camera.open_timeout=60"
    mqtt = f"127.0.0.1:{broker.port}"
    report = emulated("doctor", "--json", "--source", str(CLIP), "--mqtt", mqtt, "--set", state, "--set", patience)
    checks = {check["name"]: check for check in json.loads(report)["checks"]}
    assert "aarch64" in checks["python"]["detail"]
    for name in ("python", "opencv", "detector", "classifier", "state", "camera camera", "broker"):
        assert checks[name]["status"] == "ok", checks[name]
    assert "XNNPACK" in checks["classifier"]["detail"]
