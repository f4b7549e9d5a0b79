"""Threads, losses and shutdown, with the shipped memory source and sink and sources that fail on purpose."""

from __future__ import annotations

import threading
from pathlib import Path

import cv2
import pytest
from support.broker import wait_until
from support.daemons import Endless, Script, frames, make_daemon, types
from support.pipelines import Moods, make
from support.values import face, frame

from edge_emotion.daemon.camera import Camera
from edge_emotion.daemon.capture import Capture, Timing
from edge_emotion.daemon.daemon import Daemon
from edge_emotion.daemon.latest_frame import LatestFrame
from edge_emotion.datatypes import EmotionEvent
from edge_emotion.errors import ConfigError, SinkError, SourceError
from edge_emotion.outbox.event_counter import EventCounter
from edge_emotion.sinks.memory import MemorySink


def test_a_recording_is_processed_to_its_end_and_every_track_is_ended() -> None:
    sink = MemorySink()
    daemon = make_daemon({"desk": Script(frames(0, 30))}, [sink])
    summary = daemon.run()
    assert types(sink) == ["start", "end"]
    assert summary.frames == 30
    assert summary.events == 2
    assert "30 frames" in str(summary)
    assert sink.availability == [("desk", True), ("desk", False)]
    assert sink.states[-1][1].faces == 0


def test_opencv_is_kept_to_one_thread() -> None:
    """As the benchmarks keep it: what they measure is what runs."""
    before = cv2.getNumThreads()
    try:
        cv2.setNumThreads(2)
        make_daemon({"desk": Script(frames(0, 2))}, []).run()
        assert cv2.getNumThreads() == 1
    finally:
        cv2.setNumThreads(before)


def test_a_camera_is_online_before_its_first_event_however_short_it_is() -> None:
    class Order(MemorySink):
        def __init__(self) -> None:
            super().__init__()
            self.order: list[str] = []

        def publish(self, event: EmotionEvent) -> None:
            self.order.append(event.type)

        def camera_available(self, camera: str, available: bool) -> None:
            self.order.append("online" if available else "offline")

    sink = Order()
    make_daemon({"desk": Script(frames(0, 3))}, [sink]).run()
    assert sink.order == ["online", "start", "end", "offline"]


def test_a_lost_camera_is_reported_ends_its_tracks_and_is_reopened() -> None:
    sink = MemorySink()
    source = Script([*frames(0, 10), SourceError("cable"), *frames(10, 20)], live=True)
    daemon = make_daemon({"desk": source}, [sink])
    daemon.run()
    assert types(sink) == ["start", "end", "start", "end"]
    assert len({event.track_id for event in sink.events}) == 2
    assert [up for _, up in sink.availability] == [True, False, True, False]
    assert source.opened == 2
    assert source.closed >= 2


def test_a_camera_that_is_not_there_is_tried_again_and_does_not_stop_the_others(
    caplog: pytest.LogCaptureFixture,
) -> None:
    sink = MemorySink()
    missing = Script([], live=True, open_error=SourceError("no such device"))
    daemon = make_daemon({"missing": missing, "desk": Script(frames(0, 10))}, [sink])
    thread = threading.Thread(target=daemon.run)
    thread.start()
    wait_until(lambda: missing.opened >= 3 and types(sink) == ["start", "end"], 10)
    daemon.stop()
    thread.join(10)
    assert not thread.is_alive()
    assert sum("missing is offline: no such device" in r.message for r in caplog.records) == 1


def test_a_loss_that_mends_at_once_is_noticed_all_the_same() -> None:
    sink, changed = MemorySink(), threading.Condition()
    camera = Camera(Capture("desk", Script([], live=True), changed, max_fps=100), make([[face()]], Moods("fear")))
    daemon = Daemon([camera], [sink], changed, EventCounter(None))
    for n in range(10):
        if n == 5:
            camera.capture.losses += 1
        camera.capture.slot.put(frame(n / 10))
        daemon._serve(camera)
    assert types(sink) == ["start", "end", "start"]
    assert sink.availability == [("desk", True), ("desk", False), ("desk", True)]


def test_pauses_grow_while_a_camera_is_away(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG", "edge_emotion.daemon.capture")
    missing = Script([], live=True, open_error=SourceError("no such device"))
    timing = Timing(first_retry=0.01, longest_retry=0.08)
    away = Capture("desk", missing, threading.Condition(), max_fps=10, timing=timing)
    away.start()
    wait_until(lambda: len(caplog.records) >= 6)
    away.ask_to_stop()
    away.join(5)
    pauses = [record.args[-1] for record in caplog.records[:6] if isinstance(record.args, tuple)]
    for pause, step in zip(pauses, (0.01, 0.02, 0.04, 0.08, 0.08, 0.08), strict=True):
        assert isinstance(pause, float) and step / 2 <= pause <= step
    assert missing.closed >= 6


def test_a_failed_camera_beside_a_good_one_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    sources = {"bad": Script([ZeroDivisionError("oops")]), "good": Script(frames(0, 10))}
    with pytest.raises(ZeroDivisionError):
        make_daemon(sources, [MemorySink()]).run()
    assert "camera bad has failed: oops" in caplog.text


def test_a_missing_file_ends_the_run_with_its_error() -> None:
    daemon = make_daemon({"desk": Script([], open_error=SourceError("no file x"))}, [MemorySink()])
    with pytest.raises(SourceError, match="no file x"):
        daemon.run()


def test_with_fail_fast_a_missing_camera_ends_the_run() -> None:
    missing = Script([], live=True, open_error=SourceError("no such device"))
    with pytest.raises(SourceError, match="no such device"):
        make_daemon({"desk": missing}, [MemorySink()], fail_fast=True).run()
    assert missing.opened == 1


def test_a_bug_in_an_adapter_lands_in_main() -> None:
    sink = MemorySink()
    with pytest.raises(ZeroDivisionError):
        make_daemon({"desk": Script([*frames(0, 5), ZeroDivisionError()])}, [sink]).run()
    assert types(sink) == ["start", "end"]


def test_stopping_ends_the_tracks_and_closes_source_and_sink() -> None:
    sink, source = MemorySink(), Endless()
    daemon = make_daemon({"desk": source}, [sink])  # type: ignore[dict-item]
    thread = threading.Thread(target=daemon.run)
    thread.start()
    wait_until(lambda: len(sink.events) >= 1, 10)
    daemon.stop()
    thread.join(10)
    assert not thread.is_alive()
    assert types(sink) == ["start", "end"]
    assert source.closed


def test_a_sink_that_cannot_open_ends_the_run_and_the_others_are_closed() -> None:
    class Broken(MemorySink):
        def open(self) -> None:
            raise SinkError("unwritable")

    class Good(MemorySink):
        closed = False

        def close(self) -> None:
            self.closed = True

    good = Good()
    with pytest.raises(SinkError, match="unwritable"):
        make_daemon({"desk": Script(frames(0, 5))}, [good, Broken()]).run()
    assert good.closed


def test_every_sink_gets_every_event_with_its_latency() -> None:
    one, two = MemorySink(), MemorySink()
    make_daemon({"desk": Script(frames(0, 10))}, [one, two]).run()
    assert one.events == two.events
    assert all(event.latency_ms > 0 for event in one.events)


def test_the_newest_frame_wins() -> None:
    slot = LatestFrame(threading.Condition())
    for n in range(3):
        slot.put(frame(n))
    taken = slot.take()
    assert taken is not None
    assert taken.timestamp == 2
    assert slot.dropped == 2
    assert slot.take() is None


@pytest.mark.parametrize(("max_fps", "expected"), [(100, 30), (10, 30), (5, 15), (2, 7)])
def test_more_frames_than_max_fps_are_not_processed(max_fps: float, expected: int) -> None:
    changed = threading.Condition()
    camera = Camera(
        Capture("desk", Script(frames(0, 30)), changed, max_fps=max_fps, lossless=True),
        make([[]], Moods("neutral")),
    )
    assert Daemon([camera], [MemorySink()], changed, EventCounter(None)).run().frames == expected


def test_an_unchanged_state_is_published_once_and_again_after_the_heartbeat() -> None:
    def published(heartbeat: float) -> int:
        sink, changed = MemorySink(), threading.Condition()
        camera = Camera(
            Capture("c", Script(frames(0, 30)), changed, max_fps=99, lossless=True), make([[]], Moods("fear"))
        )
        Daemon([camera], [sink], changed, EventCounter(None), heartbeat=heartbeat).run()
        return len(sink.states)

    assert published(60) == 1
    assert published(0) >= 30


def test_event_numbers_go_on_after_a_restart(tmp_path: Path) -> None:
    first = EventCounter(tmp_path / "state", "pi5")
    assert [first(), first()] == [1, 2]
    first.save()
    first.close()
    assert EventCounter(tmp_path / "state", "pi5")() == 3
    assert EventCounter(tmp_path / "state", "pi4")() == 1
    assert (tmp_path / "state").stat().st_mode & 0o777 == 0o700


def test_two_daemons_of_one_node_cannot_count_at_once(tmp_path: Path) -> None:
    first = EventCounter(tmp_path, "pi5")
    with pytest.raises(ConfigError, match="another daemon runs as node 'pi5'"):
        EventCounter(tmp_path, "pi5")
    first.close()
    EventCounter(tmp_path, "pi5")


@pytest.mark.parametrize("text", [b"", b"-5", b"1.5", b"many", b"\xff"])
def test_a_damaged_counter_starts_again_and_says_so(
    text: bytes, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "pi5.seq").write_bytes(text)
    assert EventCounter(tmp_path, "pi5")() == 1
    assert "damaged" in caplog.text


def test_an_unusable_state_directory_is_a_configuration_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="state_dir"):
        EventCounter(tmp_path / "file" / "state")
