"""The file of what was announced: what is damaged in it must not become a topic."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from edge_emotion.outbox.outbox import Outbox
from edge_emotion.sinks.mqtt.announcer import Announcer
from edge_emotion.sinks.mqtt.send_queue import SendQueue
from edge_emotion.wire.topics import Topics

TOPICS = Topics("edge-emotion", "pi5")
TOPIC = "homeassistant/device/edge-emotion_pi5/config"
SAVED = {"cameras": ["cam"], "devices": [TOPIC], "components": {"pi5_cam_fps": "sensor"}}


def topics_after(path: Path) -> list[str]:
    """Topics that a node without cameras and device empties because of the file."""
    send_queue = SendQueue(TOPICS, Outbox(10), b"{}")
    Announcer(send_queue, TOPICS, path).announce([], TOPIC, None)
    sent = []
    while (message := send_queue.take((), events=False)) is not None:
        sent.append(message.topic)
    return sent


def test_topics_that_were_announced_before_are_cleared(tmp_path: Path) -> None:
    path = tmp_path / "pi5.announced.json"
    path.write_text(json.dumps(SAVED))
    assert TOPIC in topics_after(path) and "edge-emotion/pi5/cam/state" in topics_after(path)


@pytest.mark.parametrize(
    "saved",
    [
        {**SAVED, "cameras": ["#am"]},
        {**SAVED, "cameras": ["c+m"]},
        {**SAVED, "cameras": ["a/b"]},
        {**SAVED, "cameras": [""]},
        {**SAVED, "cameras": [7]},
        {**SAVED, "cameras": {"cam": 1}},
        {**SAVED, "cameras": None},
        {**SAVED, "devices": ["homeassistant/#"]},
        {**SAVED, "devices": ["homeassistant/device/\0/config"]},
        {**SAVED, "devices": [[]]},
        {**SAVED, "components": {"pi5_cam_fps": []}},
        {**SAVED, "components": {"\ud800": "sensor"}},
        {**SAVED, "components": [1]},
        {"camerbs": ["cam"]},
        {**SAVED, "node": "a/b"},
        {**SAVED, "prefix": "edge-emotion/#"},
        {**SAVED, "stale": ["edge-emotion/+/info"]},
    ],
)
def test_a_name_that_cannot_be_ours_moves_the_file_aside_and_reaches_no_topic(
    saved: object, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "pi5.announced.json"
    path.write_text(json.dumps(saved))
    assert topics_after(path) == []
    assert caplog.text.count("moved to pi5.announced.json.damaged") == 1


def test_no_flipped_bit_reaches_a_topic(tmp_path: Path) -> None:
    path = tmp_path / "pi5.announced.json"
    path.write_text(json.dumps(SAVED))
    Announcer(SendQueue(TOPICS, Outbox(10), b"{}"), TOPICS, path).announce(["hall"], TOPIC, None)
    good = path.read_bytes()
    expected = set(topics_after(path))
    assert len(expected) > 5
    for bit in range(0, 8 * len(good), 11):  # every byte but a few, and every place in it
        data = bytearray(good)
        data[bit // 8] ^= 1 << bit % 8
        path.write_bytes(data)
        assert set(topics_after(path)) in (expected, set())
