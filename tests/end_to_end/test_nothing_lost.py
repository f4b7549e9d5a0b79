"""A publisher, a broker and the network between them, killed, frozen and cut: nothing is lost, nothing invented.

``SOAK_SECONDS=120`` lets it go on for as long; the short version is for every day.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.broker import Broker, Subscriber, needs_mosquitto, wait_until
from support.paths import ROOT
from support.proxy import Proxy

from edge_emotion.datatypes import EmotionEvent
from edge_emotion.wire.payloads import event_from_json

pytestmark = needs_mosquitto

SECONDS = float(os.environ.get("SOAK_SECONDS", "12"))
RATE = 100


class Publisher:
    """The program in steady_publisher.py, to be started and killed at will."""

    def __init__(self, folder: Path, port: int) -> None:
        self._log, self._state = folder / "intended", folder / "state"
        program = str(ROOT / "tests" / "steady_publisher.py")
        self._command = [sys.executable, program, str(port), str(self._state), str(RATE), str(self._log)]
        self._errors = folder / "publisher.log"
        self._process: subprocess.Popen[bytes] | None = None
        self.kills = 0

    @property
    def intended(self) -> dict[str, int]:
        """Number of each event, by its id."""
        lines = self._log.read_text().splitlines() if self._log.exists() else []
        return {line.split()[1]: int(line.split()[0]) for line in lines}

    @property
    def errors(self) -> str:
        return self._errors.read_text()

    def start(self) -> None:
        before = len(self.intended)
        path = os.pathsep.join((str(ROOT), str(ROOT / "tests")))
        with self._errors.open("ab") as errors:
            self._process = subprocess.Popen(
                self._command, env={**os.environ, "PYTHONPATH": path}, stdout=errors, stderr=errors
            )
        wait_until(lambda: len(self.intended) > before, 60)

    def kill(self) -> None:
        self.kills += 1
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        assert self._end(signal.SIGTERM) == 0, self.errors

    def _end(self, number: signal.Signals) -> int | None:
        if self._process is None:
            return None
        self._process.send_signal(number)
        code, self._process = self._process.wait(60), None
        return code


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    # Without the limit it is mosquitto that drops, while the subscriber is away.
    broker = Broker(tmp_path, access=("allow_anonymous true", "max_queued_messages 0")).start()
    yield broker
    broker.stop()


@pytest.fixture
def proxy(broker: Broker) -> Iterator[Proxy]:
    proxy = Proxy(broker.port)
    yield proxy
    proxy.close()


@pytest.fixture
def subscriber(broker: Broker) -> Iterator[Subscriber]:
    subscriber = Subscriber(broker, "counter")
    yield subscriber
    subscriber.close()


@pytest.fixture
def publisher(tmp_path: Path, proxy: Proxy) -> Iterator[Publisher]:
    publisher = Publisher(tmp_path, proxy.port)
    yield publisher
    publisher.kill()


def suffer(broker: Broker, proxy: Proxy, publisher: Publisher, seconds: float) -> None:
    """All that may happen to the three, within about ``seconds``."""

    def go_on(parts: float) -> None:
        time.sleep(parts * seconds / 26)

    go_on(2)
    broker.freeze()  # what is in its socket when it is killed has been sent and is lost
    go_on(1)
    broker.kill()
    go_on(2)
    broker.start()
    go_on(2)
    broker.freeze()
    go_on(4)
    broker.thaw()
    go_on(2)
    proxy.cut()
    go_on(4)
    proxy.mend()
    go_on(2)
    publisher.kill()
    publisher.start()
    go_on(1)
    broker.freeze()
    go_on(1)
    publisher.kill()
    publisher.start()
    go_on(1)
    broker.thaw()
    go_on(1)
    broker.kill()
    publisher.kill()
    publisher.start()
    go_on(1)
    publisher.kill()
    publisher.start()
    broker.start()
    go_on(2)


def received(subscriber: Subscriber) -> list[EmotionEvent]:
    return [event_from_json(message.payload) for message in subscriber.on("/events")]


def test_every_event_arrives_in_order_whatever_is_killed_frozen_or_cut(
    broker: Broker,
    proxy: Proxy,
    subscriber: Subscriber,
    publisher: Publisher,
    record_property: Callable[[str, object], None],
) -> None:
    publisher.start()
    suffer(broker, proxy, publisher, SECONDS)
    # Not the last will of one of those that were killed.
    wait_until(lambda: subscriber.on("pi5/availability")[-1].payload == b"online")
    publisher.stop()
    intended = publisher.intended
    last = max(intended.values())
    wait_until(lambda: len({e.seq for e in received(subscriber)}) >= last, 60)
    wait_until(lambda: subscriber.on("pi5/availability")[-1].payload == b"offline")

    told = received(subscriber)
    first = {event.seq: event for event in reversed(told)}
    arrivals = list(dict.fromkeys(event.seq for event in told))
    gaps = [seq for seq in range(1, last + 1) if seq not in first]
    figures = {
        "made": len(intended),
        "received": len(told),
        "last seq": last,
        "gaps": len(gaps),
        "duplicates": len(told) - len(first),
        "replayed": sum(event.replayed for event in told),
        "replayed at first": sum(event.replayed for event in first.values()),
        "kills of the publisher": publisher.kills,
        # Nobody can have seen these: their numbers were given to the next ones.
        "made in the moment of a kill": len(set(intended) - {event.id for event in told}),
    }
    record_property("figures", json.dumps(figures))
    print(json.dumps(figures, indent=1))

    assert not gaps
    assert arrivals == sorted(arrivals)  # of all tracks together, so of each
    for event in told:
        same = first[event.seq]
        assert (event.id, event.ts, event.camera, event.track_id) == (same.id, same.ts, same.camera, same.track_id)
    assert all(intended.get(event.id) == event.seq for event in told), "an event was invented"
