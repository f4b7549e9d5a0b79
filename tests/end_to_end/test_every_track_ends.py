"""A daemon that is killed while faces are in view: every track that was published has exactly one end.

``KILLS=100`` makes it longer, ``SEED=7`` another one.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.broker import Broker, Subscriber, needs_mosquitto, wait_until
from support.paths import ROOT

from edge_emotion.datatypes import EmotionEvent
from edge_emotion.wire.payloads import event_from_json

pytestmark = needs_mosquitto

KILLS = int(os.environ.get("KILLS", "8"))
SEED = int(os.environ.get("SEED", "1"))


class Daemons:
    """The program in killed_daemon.py; a killed or stopped daemon is followed by the next one."""

    def __init__(self, folder: Path, port: int) -> None:
        self._log = folder / "daemon.log"
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join((str(ROOT), str(ROOT / "tests")))}
        program = str(ROOT / "tests" / "support" / "killed_daemon.py")
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, program, str(port), str(folder / "state")],
                env=environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        self._pid = 0

    def start(self, node: str = "pi5") -> None:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(f"{node}\n")
        self._process.stdin.flush()
        self._pid = int(self._process.stdout.readline())

    def kill(self) -> None:
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        self._end(signal.SIGTERM)
        assert "Traceback" not in self._log.read_text()

    def close(self) -> None:
        if self._pid:
            self.kill()
        self._process.kill()
        self._process.communicate(timeout=20)

    def _end(self, number: signal.Signals) -> None:
        os.kill(self._pid, number)
        wait_until(lambda: not Path(f"/proc/{self._pid}").exists(), 30)
        self._pid = 0


@pytest.fixture
def daemons(tmp_path: Path, broker: Broker) -> Iterator[Daemons]:
    made = Daemons(tmp_path, broker.port)
    yield made
    made.close()


def events(subscriber: Subscriber) -> list[EmotionEvent]:
    """In the order of their first arrival."""
    told = [event_from_json(message.payload) for message in subscriber.on("/events")]
    return list({event.id: event for event in reversed(told)}.values())[::-1]


def check_tracks(told: list[EmotionEvent]) -> Counter[str | None]:
    """Every track has one start and one end, in order; returns the reasons of the ends."""
    tracks: dict[str, list[str]] = {}
    for event in sorted(told, key=lambda event: event.seq):
        tracks.setdefault(event.track_id, []).append(event.type)
    for types in tracks.values():
        assert types[0] == "start" and types[-1] == "end" and types.count("start") == types.count("end") == 1, types
    return Counter(event.reason for event in told if event.type == "end")


def test_every_track_has_exactly_one_end_however_often_the_daemon_is_killed(broker: Broker, daemons: Daemons) -> None:
    draw, subscriber = random.Random(SEED), Subscriber(broker, "counter")
    for number in range(KILLS):
        before = len(events(subscriber))
        daemons.start()
        if number % 3 == 1:
            broker.stop()  # its events wait for the next start
            time.sleep(0.2 + draw.random() * 0.5)
            daemons.kill()
            broker.start()
        else:
            wait_until(lambda before=before: len(events(subscriber)) > before + 1)
            time.sleep(draw.random() * 0.2)
            daemons.kill()
    daemons.start("renamed")
    wait_until(lambda: any(event.node == "renamed" for event in events(subscriber)))
    daemons.stop()
    told = events(subscriber)
    numbers = [event.seq for event in told]
    assert numbers == list(range(1, len(numbers) + 1))
    reasons = check_tracks(told)
    print(f"seed {SEED}: {KILLS} kills, {sum(reasons.values())} tracks, ended by {dict(reasons)}")
    assert reasons["interrupted"] >= KILLS / 4
    subscriber.close()


def test_an_interrupted_end_repeats_the_last_event_of_its_track(broker: Broker, daemons: Daemons) -> None:
    subscriber = Subscriber(broker, "counter")
    daemons.start()
    wait_until(lambda: len(events(subscriber)) == 2)  # both faces of the first visit are in view
    daemons.kill()
    seen = len(events(subscriber))
    daemons.start()
    wait_until(lambda: len(events(subscriber)) >= seen + 2)
    daemons.stop()
    told = events(subscriber)
    starts = {event.track_id: event for event in told if event.type == "start"}
    ended = [event for event in told if event.reason == "interrupted"]
    assert ended and all(event.type == "end" and event.previous is None for event in ended)
    for end in ended:
        start = starts[end.track_id]
        same = ("ts", "emotion", "confidence", "probabilities", "box", "track_started", "track_duration", "camera")
        assert [getattr(end, name) for name in same] == [getattr(start, name) for name in same]
    check_tracks(told)
    subscriber.close()
