"""The real daemon process, the real models, real video and real faces, a real broker, a real subscriber."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import yaml
from support.broker import Broker, Received, Subscriber, free_port, needs_mosquitto, wait_until
from support.paths import ROOT

from edge_emotion.cli.classify import find_emotions
from edge_emotion.cli.demo import CLIP
from edge_emotion.datatypes import EmotionEvent, Image
from edge_emotion.factory.models import make_classifier, make_detector
from edge_emotion.labels import EMOTIONS
from edge_emotion.wire.payloads import event_from_json, state_from_json

pytestmark = needs_mosquitto


class Node:
    """A daemon process with a configuration file."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        config = folder / "edge-emotion.yaml"
        config.write_text(yaml.safe_dump({"node": "pi5", "state_dir": str(folder / "state"), **settings}))
        self._log = folder / "daemon.log"
        command = [sys.executable, "-m", "edge_emotion", "run", "--config", str(config)]
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=log)

    @property
    def log(self) -> str:
        return self._log.read_text(errors="replace")

    def wait(self, timeout: float = 60) -> int:
        return self.process.wait(timeout)

    def kill(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait(10)


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    folder = tmp_path / "broker"
    folder.mkdir()
    made = Broker(folder).start()
    yield made
    made.stop()


@pytest.fixture
def subscriber(broker: Broker) -> Iterator[Subscriber]:
    made = Subscriber(broker, "test")
    yield made
    made.close()


@pytest.fixture
def nodes(tmp_path: Path) -> Iterator[Any]:
    started: list[Node] = []

    def start(**settings: Any) -> Node:
        started.append(Node(tmp_path, **settings))
        return started[-1]

    yield start
    for node in started:
        node.kill()


def mqtt(broker: Broker, **more: Any) -> dict[str, Any]:
    return {"host": "127.0.0.1", "port": broker.port, **more}


def video(path: Path | str, **more: Any) -> dict[str, Any]:
    """A camera that plays a file as fast as it is processed, every frame of it."""
    return {"source": str(path), "realtime": False, "max_fps": 100, **more}


def events(messages: list[Received]) -> list[EmotionEvent]:
    assert all(message.qos == 1 and not message.retain for message in messages)
    return [event_from_json(message.payload) for message in messages]


def check_contract(told: list[EmotionEvent]) -> None:
    """One start, any changes, one end per track; numbers without a gap; values in their ranges."""
    assert [event.seq for event in told] == list(range(1, len(told) + 1))
    assert len({event.id for event in told}) == len(told)
    for track in {event.track_id for event in told}:
        types = [event.type for event in told if event.track_id == track]
        assert types[0] == "start"
        assert types[-1] == "end"
        assert set(types[1:-1]) <= {"change"}
    for event in told:
        assert event.emotion in (*EMOTIONS, "unknown")
        assert sum(event.probabilities.values()) == pytest.approx(1, abs=0.001)
        assert 0 <= event.box.x <= event.box.x + event.box.width <= 1.0001
        assert 0 <= event.box.y <= event.box.y + event.box.height <= 1.0001
        assert 0 <= event.quality <= 1
        assert event.latency_ms >= 0
        assert (event.previous is not None) == (event.type == "change")
        assert event.model_name == "mobilenet_v2"


def test_a_real_video_becomes_events_on_a_real_broker(
    broker: Broker, subscriber: Subscriber, nodes: Any, carphone: Path
) -> None:
    node = nodes(cameras={"car": video(carphone)}, mqtt=mqtt(broker))
    assert node.wait() == 0, node.log
    wait_until(lambda: subscriber.on("pi5/availability")[-1:] and subscriber.messages[-1].payload == b"offline")
    told = events(subscriber.on("/events"))
    check_contract(told)
    assert len({event.track_id for event in told}) == 1
    assert all(event.camera == "car" and event.node == "pi5" for event in told)
    raw = json.loads(subscriber.on("/events")[0].payload)
    assert set(raw) == {
        "schema", "type", "id", "seq", "node", "camera", "ts", "event_type", "emotion", "confidence", "probabilities",
        "previous", "track", "box", "quality", "latency_ms", "model", "replayed",
    }  # fmt: skip
    (info,) = subscriber.on("pi5/info")
    assert json.loads(info.payload)["model"]["precision"] == "int8"
    assert info.retain
    assert [m.payload for m in subscriber.on("car/availability")] == [b"offline", b"online", b"offline"]
    last = [m.topic.rsplit("/", 1)[1] for m in subscriber.messages][-4:]
    assert last == ["events", "state", "availability", "availability"]
    assert node.log.startswith("20"), "nothing but our own log on the error stream"
    states = [state_from_json(message.payload) for message in subscriber.on("car/state")]
    assert (states[0].faces, states[-1].faces) == (0, 0)
    assert any(state.faces == 1 and state.emotion is not None for state in states)
    assert {m.topic for m in subscriber.messages} == {
        "edge-emotion/pi5/availability", "edge-emotion/pi5/info", "edge-emotion/pi5/car/availability",
        "edge-emotion/pi5/car/state", "edge-emotion/pi5/car/events",
        "edge-emotion/pi5/car/enabled/state", "edge-emotion/pi5/car/threshold/state",
        "edge-emotion/pi5/car/classes/state", "homeassistant/device/edge-emotion_pi5/config",
    }  # fmt: skip


def test_the_smiling_visitor_of_the_demo_clip_is_happy(broker: Broker, subscriber: Subscriber, nodes: Any) -> None:
    assert nodes(cameras={"hall": video(CLIP)}, mqtt=mqtt(broker, protocol="3.1.1")).wait() == 0
    wait_until(lambda: len(subscriber.on("/events")) >= 2)
    told = events(subscriber.on("/events"))
    assert [(event.type, event.emotion) for event in told] == [("start", "happiness"), ("end", "happiness")]


def paste(faces: list[tuple[np.ndarray, int, int]], size: int = 160) -> Image:
    """48 x 48 grey faces at (x, y) in a 480 x 640 picture with a little structure."""
    y, x = np.mgrid[0:480, 0:640]
    picture = (110 + 40 * np.sin(x / 90) + 30 * np.cos(y / 70)).astype(np.uint8)
    for image, left, top in faces:
        picture[top : top + size, left : left + size] = cv2.resize(image, (size, size), interpolation=cv2.INTER_CUBIC)
    return np.asarray(cv2.cvtColor(picture, cv2.COLOR_GRAY2BGR), np.uint8)


@pytest.fixture(scope="session")
def clear_faces(fer_folder: Path) -> dict[str, list[np.ndarray]]:
    """Faces of the FER+ test split on which at least nine in ten voters agree, by emotion."""
    pytest.importorskip("pandas")
    datasets = pytest.importorskip("train.data.layouts")
    test = datasets.load_fer_plus(fer_folder)["test"]
    sure = test.votes.max(axis=1) >= 0.9
    return {name: [*test.images[sure & (test.labels == i)]] for i, name in enumerate(EMOTIONS)}


def test_real_faces_pasted_into_frames_are_found_and_told_apart(clear_faces: dict[str, list[np.ndarray]]) -> None:
    detector, classifier = make_detector("blazeface_back"), make_classifier("mobilenet_v2")
    right, total = 0, 0
    for emotion in ("neutral", "happiness", "surprise", "anger"):
        for image in clear_faces[emotion][:25]:
            findings = find_emotions(paste([(image, 250, 150)]), detector, classifier)
            total += 1
            right += any(scores.emotion == emotion for _, scores in findings)
    assert total == 100
    assert right >= 85


def test_two_people_with_two_emotions_are_two_tracks(
    broker: Broker, subscriber: Subscriber, nodes: Any, clear_faces: dict[str, list[np.ndarray]], tmp_path: Path
) -> None:
    happy, surprised = clear_faces["happiness"][3], clear_faces["surprise"][0]
    folder = tmp_path / "frames"
    folder.mkdir()
    for n in range(50):
        people = [(happy, 60, 100)] * (5 <= n < 35) + [(surprised, 400, 200)] * (15 <= n < 45)
        cv2.imwrite(str(folder / f"{n:03d}.png"), paste(people))
    nodes(cameras={"room": video(folder, fps=10)}, mqtt=mqtt(broker)).wait()
    wait_until(lambda: len(subscriber.on("/events")) >= 4)
    told = events(subscriber.on("/events"))
    check_contract(told)
    assert [(event.type, event.emotion) for event in told] == [
        ("start", "happiness"),
        ("start", "surprise"),
        ("end", "happiness"),
        ("end", "surprise"),
    ]
    assert told[0].box.x < 0.4 < told[1].box.x
    assert any(json.loads(m.payload)["counts"] == {"happiness": 1, "surprise": 1} for m in subscriber.on("room/state"))


def test_several_cameras_run_in_one_daemon(broker: Broker, subscriber: Subscriber, nodes: Any, carphone: Path) -> None:
    node = nodes(cameras={"car": video(carphone), "hall": video(CLIP)}, mqtt=mqtt(broker))
    assert node.wait() == 0, node.log
    wait_until(lambda: len([e for e in events(subscriber.on("/events")) if e.type == "end"]) >= 2)
    told = events(subscriber.on("/events"))
    check_contract(told)
    assert {event.camera for event in told} == {"car", "hall"}
    assert len({event.track_id for event in told}) == 2


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_every_track_and_leaves_offline(
    number: signal.Signals, broker: Broker, subscriber: Subscriber, nodes: Any
) -> None:
    node = nodes(cameras={"hall": video(CLIP, realtime=True, loop=True)}, mqtt=mqtt(broker))
    wait_until(lambda: subscriber.on("/events"), 30)
    for _ in range(2 if number == signal.SIGTERM else 1):  # a second SIGTERM changes nothing
        node.process.send_signal(number)
        time.sleep(0.03)
    assert node.wait(20) == 0, node.log
    wait_until(lambda: subscriber.messages[-1].payload == b"offline")
    last = [m.topic.rsplit("/", 1)[1] for m in subscriber.messages if "/hall/" in m.topic][-3:]
    assert last == ["events", "state", "availability"], "the end comes before the empty room, and that before offline"
    told = events(subscriber.on("/events"))
    check_contract(told)
    assert told[-1].type == "end"
    late = Subscriber(broker, "late")
    wait_until(lambda: len(late.on("/availability")) == 2)
    assert {message.payload for message in late.on("/availability")} == {b"offline"}
    late.close()
    assert "frames in" in node.log


def test_a_killed_daemon_is_offline_by_its_last_will(broker: Broker, subscriber: Subscriber, nodes: Any) -> None:
    node = nodes(cameras={"hall": video(CLIP, realtime=True, loop=True)}, mqtt=mqtt(broker))
    wait_until(lambda: subscriber.on("/events"), 30)
    node.kill()
    wait_until(lambda: subscriber.on("pi5/availability")[-1].payload == b"offline")


def test_a_broker_that_is_down_does_not_stop_the_classification(tmp_path: Path, nodes: Any) -> None:
    lines = tmp_path / "events.jsonl"
    nowhere = {"host": "127.0.0.1", "port": free_port(), "drain_timeout": 0.5}
    node = nodes(cameras={"hall": video(CLIP)}, mqtt=nowhere, jsonl={"path": str(lines)})
    assert node.wait() == 0, node.log
    told = [event_from_json(line.encode()) for line in lines.read_text().splitlines()]
    assert [event.type for event in told] == ["start", "end"]
    assert "not reachable" in node.log
    assert "Traceback" not in node.log


def test_events_made_before_the_broker_came_arrive_later_and_say_so(tmp_path: Path, nodes: Any) -> None:
    folder = tmp_path / "broker"
    folder.mkdir()
    broker = Broker(folder)
    node = nodes(
        cameras={"hall": video(CLIP), "other": video(CLIP, realtime=True, loop=True)},
        mqtt=mqtt(broker),
        jsonl={"path": str(tmp_path / "events.jsonl")},
    )
    lines = tmp_path / "events.jsonl"
    wait_until(lambda: lines.exists() and '"type":"end"' in lines.read_text(), 30)
    broker.start()
    try:
        subscriber = Subscriber(broker, "test")
        wait_until(lambda: len(subscriber.on("/events")) >= 2, 30)
        node.process.terminate()
        node.wait(20)
        told = events(subscriber.on("/events"))
        check_contract(told)
        assert told[0].replayed
        subscriber.close()
    finally:
        broker.stop()


def test_the_counter_of_events_survives_a_restart(broker: Broker, subscriber: Subscriber, nodes: Any) -> None:
    for total in (2, 4):
        assert nodes(cameras={"hall": video(CLIP)}, mqtt=mqtt(broker)).wait() == 0
        wait_until(lambda total=total: len(subscriber.on("/events")) >= total)
    assert [event.seq for event in events(subscriber.on("/events"))] == [1, 2, 3, 4]
