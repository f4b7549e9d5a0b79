"""What keeps a daemon honest for a year: the watchdog, the memory limit, the newest frame, clocks that jump."""

from __future__ import annotations

import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from itertools import count
from pathlib import Path

import pytest
import yaml
from support.broker import wait_until
from support.daemons import Endless, Script, frames, make_daemon, types
from support.paths import ROOT
from support.pipelines import Moods, make
from support.values import EPOCH, face, frame

from edge_emotion.cli.demo import CLIP
from edge_emotion.daemon.camera import Camera
from edge_emotion.daemon.capture import Capture, Timing
from edge_emotion.daemon.daemon import Daemon
from edge_emotion.datatypes import Face, Frame, Image
from edge_emotion.detectors.scripted import ScriptedDetector
from edge_emotion.errors import MemoryLimitReached, SourceError
from edge_emotion.outbox.event_counter import EventCounter
from edge_emotion.sinks.memory import MemorySink
from edge_emotion.system import sd_notify as systemd
from edge_emotion.system.telemetry import MIB, resident_bytes
from edge_emotion.wire.ulid import ulid


@contextmanager
def running(daemon: Daemon) -> Iterator[None]:
    """The daemon in a thread; stopped and gone after the block."""
    thread = threading.Thread(target=daemon.run)
    thread.start()
    try:
        yield
    finally:
        daemon.stop()
        thread.join(20)
        assert not thread.is_alive()


class Ear:
    """systemd's end of the notification socket."""

    def __init__(self, address: str) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(address)
        self.socket.settimeout(5)

    def hear_until(self, message: bytes) -> list[bytes]:
        """All messages up to this one."""
        messages = [self.socket.recv(100)]
        while messages[-1] != message:
            messages.append(self.socket.recv(100))
        return messages

    def is_fed(self) -> bool:
        """Whether the watchdog is fed, after what was said so far."""
        self._forget()
        time.sleep(0.3)
        return b"WATCHDOG=1" in self._forget()

    def _forget(self) -> list[bytes]:
        messages = []
        self.socket.setblocking(False)
        try:
            while True:
                messages.append(self.socket.recv(100))
        except BlockingIOError:
            return messages
        finally:
            self.socket.settimeout(5)


@pytest.fixture(params=["path", "abstract"])
def ear(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Ear]:
    abstract = request.param == "abstract"
    address = f"\0edge-emotion-test-{id(tmp_path)}" if abstract else str(tmp_path / "notify")
    monkeypatch.setenv("NOTIFY_SOCKET", address.replace("\0", "@"))
    monkeypatch.setenv("WATCHDOG_USEC", "40000")
    made = Ear(address)
    yield made
    made.socket.close()


def test_systemd_is_told_of_start_progress_and_stop(ear: Ear) -> None:
    make_daemon({"desk": Script(frames(0, 5))}, [MemorySink()]).run()
    messages = ear.hear_until(b"STOPPING=1")
    assert messages[0] == b"READY=1"
    assert set(messages[1:-1]) == {b"WATCHDOG=1"}


def test_nobody_listening_for_notifications_does_no_harm(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", "README.md/socket")
    make_daemon({"desk": Script(frames(0, 5))}, [MemorySink()]).run()


def test_a_systemd_that_does_not_listen_does_not_stop_the_cameras(ear: Ear) -> None:
    sink, source = MemorySink(), Endless()
    daemon = make_daemon({"desk": source}, [sink])  # type: ignore[dict-item]
    with running(daemon):
        wait_until(lambda: daemon.summary.seconds > 1)  # its socket holds some ten messages
    assert types(sink) == ["start", "end"]


@pytest.mark.parametrize(("told", "interval"), [("60000000", 1.0), ("500000", 0.25), ("", 1.0), ("soon", 1.0)])
def test_the_watchdog_is_fed_twice_in_its_time_or_once_a_second(
    told: str, interval: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent, now = [], [0.0]
    monkeypatch.setenv("WATCHDOG_USEC", told)
    monkeypatch.setattr(systemd, "notify", sent.append)
    monkeypatch.setattr(systemd.time, "monotonic", lambda: now[0])
    watchdog = systemd.Watchdog()
    for tick in range(41):  # ten seconds of looks at the cameras
        now[0] = tick * 0.25
        watchdog.feed()
    assert sent == ["WATCHDOG=1"] * (1 + int(10 / interval))


def test_a_camera_that_is_lost_but_tried_again_feeds_the_watchdog(ear: Ear) -> None:
    missing = Script([], live=True, open_error=SourceError("no such device"))
    with running(make_daemon({"desk": missing}, [MemorySink()])):
        wait_until(lambda: missing.opened >= 2)
        wait_until(ear.is_fed)


def test_a_main_loop_that_hangs_starves_the_watchdog(ear: Ear) -> None:
    goes_on = threading.Event()

    class Stuck(MemorySink):
        def publish(self, event: object) -> None:
            goes_on.wait(30)

    with running(make_daemon({"desk": Endless()}, [Stuck()])):
        ear.hear_until(b"WATCHDOG=1")
        wait_until(lambda: not ear.is_fed())
        goes_on.set()
        wait_until(ear.is_fed)


def test_a_sink_whose_thread_hangs_starves_the_watchdog_and_is_logged_once(
    ear: Ear, caplog: pytest.LogCaptureFixture
) -> None:
    class Watched(MemorySink):
        hangs = False

    sink = Watched()
    with running(make_daemon({"desk": Endless()}, [sink])):  # type: ignore[dict-item]
        ear.hear_until(b"WATCHDOG=1")
        sink.hangs = True
        wait_until(lambda: not ear.is_fed())
        sink.hangs = False
        wait_until(ear.is_fed)
    assert caplog.text.count("a thread that delivers events hangs") == 1


class Hanging(Endless):
    """A camera whose driver stops answering, in spite of every time-out."""

    def __init__(self) -> None:
        super().__init__()
        self.answers = threading.Event()
        self.answers.set()

    def read(self) -> Frame:
        self.answers.wait(30)
        return super().read()


def test_a_driver_that_never_answers_is_offline_at_once_and_starves_the_watchdog(
    ear: Ear, caplog: pytest.LogCaptureFixture
) -> None:
    sink, source, changed = MemorySink(), Hanging(), threading.Condition()
    lost = Capture("desk", source, changed, max_fps=1000, timing=Timing(open=1, read=1))
    good = Capture("hall", Endless(), changed, max_fps=1000)
    cameras = [Camera(one, make([[face()]], Moods("happiness"))) for one in (lost, good)]

    with running(Daemon(cameras, [sink], changed, EventCounter(None))):
        wait_until(lambda: ("desk", True) in sink.availability and ear.is_fed())
        source.answers.clear()
        wait_until(lambda: sink.availability[-1] == ("desk", False))
        before = good.frames
        wait_until(lambda: good.frames > before + 5)
        assert not ear.is_fed(), "only a new process gets rid of it"
        source.answers.set()
        wait_until(lambda: sink.availability[-1] == ("desk", True))
        wait_until(ear.is_fed)
    assert "camera desk hangs in its driver" in caplog.text
    assert [up for name, up in sink.availability if name == "desk"] == [True, False, True]


def test_a_recording_may_be_as_slow_as_it_likes(ear: Ear) -> None:
    slow, changed = Hanging(), threading.Condition()
    daemon = Daemon(
        [Camera(Capture("desk", slow, changed, max_fps=10), make([[]], Moods("fear")))], [], changed, EventCounter(None)
    )
    slow.answers.clear()
    with running(daemon):
        ear.hear_until(b"WATCHDOG=1")
        wait_until(ear.is_fed)
        slow.answers.set()


# Memory


class Leaking(Endless):
    """A camera whose every frame costs a megabyte for ever."""

    def __init__(self) -> None:
        super().__init__()
        self.leaked: list[bytearray] = []

    def read(self) -> Frame:
        self.leaked.append(bytearray(b"x" * MIB))
        return super().read()


def test_more_memory_than_allowed_ends_the_run_in_order() -> None:
    sink, source, changed = MemorySink(), Leaking(), threading.Condition()
    camera = Camera(Capture("desk", source, changed, max_fps=1000), make([[face()]], Moods("happiness")))
    daemon = Daemon([camera], [sink], changed, EventCounter(None), max_rss=resident_bytes() + 60 * MIB)
    with pytest.raises(MemoryLimitReached, match=r"[0-9]+ MiB of memory are in use, max_rss is [0-9]+") as caught:
        daemon.run()
    assert len(source.leaked) > 20, "it was let run until then"
    assert types(sink) == ["start", "end"]
    assert source.closed
    assert "\n" not in str(caught.value)


def test_the_daemon_that_reached_its_limit_is_one_that_systemd_starts_again(tmp_path: Path) -> None:
    settings = {
        "cameras": {"hall": {"source": str(CLIP), "loop": True}},
        "jsonl": {"path": str(tmp_path / "events.jsonl")},
        "state_dir": str(tmp_path / "state"),
        "max_rss": 64,  # less than any daemon with a model needs
    }
    (tmp_path / "c.yaml").write_text(yaml.safe_dump(settings))
    command = [sys.executable, "-m", "edge_emotion", "run", "--config", str(tmp_path / "c.yaml")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == MemoryLimitReached.exit_code, done.stderr
    assert "max_rss is 64" in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr
    unit = (ROOT / "deploy" / "systemd" / "edge-emotion.service").read_text()
    assert "Restart=always" in unit
    (never,) = (line for line in unit.splitlines() if line.startswith("RestartPreventExitStatus="))
    assert str(done.returncode) not in never.partition("=")[2].split()


# The newest frame wins


class Permitted(Endless):
    """A live camera that gives as many frames as it was told to."""

    def __init__(self) -> None:
        super().__init__()
        self.permits, self.given = threading.Semaphore(1), count()

    def read(self) -> Frame:
        while not self.permits.acquire(timeout=0.05):
            if self.closed:
                raise SourceError("closed")
        return replace(super().read(), timestamp=time.monotonic(), sequence=next(self.given))


def test_a_slow_model_never_lags_behind_a_camera() -> None:
    source, changed, processed = Permitted(), threading.Condition(), []
    desk = Capture("desk", source, changed, max_fps=10_000)
    pipeline = make([[face()]], Moods("happiness"))
    fast = pipeline.process

    def slow(shown: Frame) -> object:
        """Nine more frames come and are replaced, and a tenth, while this one is looked at."""
        processed.append(shown.sequence)
        for n in range(10):
            source.permits.release()
            wait_until(lambda n=n: desk.slot.full and desk.slot.dropped == 9 * (len(processed) - 1) + n)
        return fast(shown)

    pipeline.process = slow  # type: ignore[method-assign, assignment]
    camera = Camera(desk, pipeline)
    with running(Daemon([camera], [MemorySink()], changed, EventCounter(None))):
        wait_until(lambda: len(processed) >= 8)
    assert processed == list(range(0, 10 * len(processed), 10)), "what was looked at was the newest frame, each time"


@pytest.mark.parametrize(("lossless", "least"), [(False, 4_900), (True, 0)])
def test_the_age_of_a_frame_when_its_events_go_out_is_known(lossless: bool, least: float) -> None:
    sink, changed, now = MemorySink(), threading.Condition(), time.monotonic()
    desk = Capture("desk", Script([]), changed, max_fps=10_000, lossless=lossless)
    camera = Camera(desk, make([[face()]], Moods("happiness")))
    daemon = Daemon([camera], [sink], changed, EventCounter(None))
    for n in range(10):
        desk.slot.put(replace(frame(0), timestamp=now - 5 + n / 1000))
        daemon._serve(camera)
    assert len(daemon.summary.latencies) == 10
    assert all(least < age < least + 4_000 for age in daemon.summary.latencies), (
        "a recording has stamps of its own time"
    )
    assert all(event.latency_ms > least for event in sink.events)
    assert types(sink) == ["start"]


# Clocks that jump

YEAR = timedelta(days=365)
JUMPS = {10: -YEAR, 15: -60 * YEAR, 20: YEAR}
"""Number of a frame -> what somebody did to the clock before it."""


def test_a_wall_clock_that_jumps_changes_no_duration_and_ends_no_track() -> None:
    sink, changed, moved = MemorySink(), threading.Condition(), timedelta(0)
    shown = []
    for n, one in enumerate(frames(0, 31)):
        moved += JUMPS.get(n, timedelta(0))
        shown.append(replace(one, captured_at=one.captured_at + moved))
    backend = Moods("happiness")

    class SadderInTime(ScriptedDetector):
        seen = 0

        def detect(self, image: Image) -> Sequence[Face]:
            backend.show("sadness" if self.seen > 16 else "happiness")
            self.seen += 1
            return super().detect(image)

    pipeline = make(SadderInTime([[face()]]), backend)
    camera = Camera(Capture("desk", Script(shown), changed, max_fps=100, lossless=True), pipeline)
    Daemon([camera], [sink], changed, EventCounter(None)).run()
    assert types(sink) == ["start", "change", "end"]
    assert {event.track_started for event in sink.events} == {EPOCH}
    assert [event.track_duration for event in sink.events] == pytest.approx([0.2, 2.2, 3.0], abs=0.2)
    assert [event.ts.year for event in sink.events] == [2026, 1966, 1966]


@pytest.mark.parametrize("moment", [EPOCH - 60 * YEAR, EPOCH - YEAR, EPOCH, EPOCH + 5000 * YEAR])
def test_a_name_can_be_made_at_any_time(moment: object) -> None:
    assert len(ulid(moment)) == 26  # type: ignore[arg-type]


def test_nothing_between_camera_and_sink_asks_the_wall_clock() -> None:
    """Durations are monotonic: only sources stamp frames with the time of day."""
    rooms = ("daemon/capture", "daemon/daemon", "daemon/latest_frame", "pipeline", "outbox/event_counter")
    paths = [ROOT / "edge_emotion" / room for room in rooms]
    files = [file for path in paths for file in (path.glob("*.py") if path.is_dir() else [path.with_suffix(".py")])]
    assert len(files) > 9
    for file in [*files, ROOT / "edge_emotion" / "system" / "sd_notify.py"]:
        assert not re.search(r"\btime\.time\(|datetime\.now\(|utcnow\(", file.read_text()), file
