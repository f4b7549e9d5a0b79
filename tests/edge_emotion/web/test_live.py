"""Events, states and frames for those who look: what is kept, what is sent again, who is dropped."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any, cast

import numpy as np
import pytest
from starlette.types import Message
from support.samples import event, state
from support.values import frame

from edge_emotion.daemon.camera import Camera
from edge_emotion.pipeline.pipeline import StageTimes
from edge_emotion.web.live import KEPT_EVENTS, MAX_STREAMS, MAX_WAITING, LiveState, Stream, TooManyStreams
from edge_emotion.web.streaming import until_left
from edge_emotion.web.tap import MAX_VIEWERS, CameraTap, FrameTap, Pace, Preview


def in_loop(work: Callable[[LiveState], Coroutine[Any, Any, None]]) -> None:
    """Run a test as the server does, with a live state of its own."""

    async def whole() -> None:
        live = LiveState()
        live.serve_in(asyncio.get_running_loop())
        await work(live)

    asyncio.run(whole())


async def received(stream: Stream) -> list[dict[str, str]]:
    """All messages that wait."""
    chunk = await stream.next(0.2)
    parts = [] if chunk is None else chunk.decode().strip().split("\n\n")
    return [dict(line.split(": ", 1) for line in part.splitlines()) for part in parts]  # type: ignore[misc]


def numbers(messages: list[dict[str, str]]) -> list[int]:
    return [int(message["id"]) for message in messages if message["event"] == "event"]


def test_the_newest_events_are_kept_and_found_by_their_number() -> None:
    live = LiveState()
    assert live.events(None, 5) == {"events": [], "oldest": None, "newest": None}
    for seq in range(1, KEPT_EVENTS + 11):
        live.add_event(event(seq))
    found = live.events(None, 3)
    assert [one["seq"] for one in found["events"]] == [KEPT_EVENTS + 8, KEPT_EVENTS + 9, KEPT_EVENTS + 10]
    assert (found["oldest"], found["newest"]) == (11, KEPT_EVENTS + 10)
    assert [one["seq"] for one in live.events(100, 2)["events"]] == [101, 102]
    assert live.events(KEPT_EVENTS + 10, 5)["events"] == []


def test_a_stream_begins_after_the_given_number_and_goes_on_without_gap_and_repetition() -> None:
    async def work(live: LiveState) -> None:
        for seq in range(1, 6):
            live.add_event(event(seq))
        stream = live.subscribe(3)
        live.add_event(event(6))
        await asyncio.sleep(0)
        assert numbers(await received(stream)) == [4, 5, 6]
        live.add_event(event(7))
        assert numbers(await received(stream)) == [7]

    in_loop(work)


def test_an_event_that_is_replayed_and_on_its_way_is_sent_once() -> None:
    async def work(live: LiveState) -> None:
        other = live.subscribe(None)
        live.add_event(event(1))  # for the other stream it waits in the loop
        stream = live.subscribe(0)
        live.add_event(event(2))
        await asyncio.sleep(0)
        assert numbers(await received(stream)) == [1, 2]
        assert numbers(await received(other)) == [1, 2]

    in_loop(work)


def test_events_that_are_no_longer_kept_are_told_as_a_gap() -> None:
    async def work(live: LiveState) -> None:
        for seq in range(1, KEPT_EVENTS + 6):
            live.add_event(event(seq))
        messages = await received(live.subscribe(2))
        assert messages[0] == {"event": "gap", "data": '{"from":3,"to":5}'}
        assert numbers(messages)[0] == 6
        assert len(messages) == 1 + KEPT_EVENTS

    in_loop(work)


def test_after_a_restart_the_first_event_tells_the_gap_before_it() -> None:
    async def work(live: LiveState) -> None:
        stream, newcomer = live.subscribe(3), live.subscribe(0)
        for seq in (8, 9):
            live.add_event(event(seq))
        await asyncio.sleep(0)
        messages = await received(stream)
        assert messages[0] == {"event": "gap", "data": '{"from":4,"to":7}'}
        assert numbers(messages) == numbers(await received(newcomer)) == [8, 9]

    in_loop(work)


def test_a_number_above_all_gives_what_comes_from_now_on() -> None:
    async def work(live: LiveState) -> None:
        live.add_event(event(5))
        stream = live.subscribe(1000)
        live.add_event(event(6))
        assert numbers(await received(stream)) == [6]

    in_loop(work)


def test_states_availability_and_statistics_are_shown_and_kept() -> None:
    async def work(live: LiveState) -> None:
        live.describe({"node": "pi5"}, ["desk", "door"])
        stream = live.subscribe(None)
        live.set_available("desk", True)
        live.set_state("desk", state(2))
        live.set_stats({"uptime": 1.0})
        messages = {message["event"]: json.loads(message["data"]) for message in await received(stream)}
        assert messages["availability"] == {"camera": "desk", "available": True}
        assert messages["state"]["camera"] == "desk"
        assert messages["state"]["faces"] == 2
        assert messages["stats"] == live.stats == {"uptime": 1.0}
        assert live.states()["desk"] == {**live.states()["desk"], "faces": 2, "available": True}
        assert live.states()["door"]["ts"] is None

    in_loop(work)


def test_a_camera_that_is_gone_is_forgotten() -> None:
    live = LiveState()
    live.describe({}, ["desk", "door"])
    live.set_state("door", state())
    live.set_feature("door", "enabled", True)
    live.describe({}, ["desk"])
    assert set(live.states()) == set(live.cameras()) == {"desk"}


def test_nothing_is_computed_while_nobody_looks() -> None:
    live = LiveState()
    live.show("frame", lambda: pytest.fail("computed for nobody"))
    assert not live.watched


def test_a_viewer_that_is_too_slow_is_dropped_and_the_others_go_on() -> None:
    async def work(live: LiveState) -> None:
        slow, quick = live.subscribe(None), live.subscribe(None)
        for _ in range(2):
            for _ in range(MAX_WAITING):
                live.show("frame", lambda: {"faces": []})
            await asyncio.sleep(0)
            await quick.next(0.2)
        assert slow.ended
        assert await slow.next(0.2) is None
        assert not quick.ended

    in_loop(work)


def test_streams_are_bounded_and_a_closed_one_makes_room() -> None:
    async def work(live: LiveState) -> None:
        streams = [live.subscribe(None) for _ in range(MAX_STREAMS)]
        with pytest.raises(TooManyStreams):
            live.subscribe(None)
        live.unsubscribe(streams[3])
        assert live.subscribe(None) is not None
        assert live.streams == MAX_STREAMS

    in_loop(work)


def test_the_end_of_the_server_ends_every_stream() -> None:
    async def work(live: LiveState) -> None:
        streams = [live.subscribe(None) for _ in range(3)]
        live.end_streams()
        assert [await stream.next(1.0) for stream in streams] == [None, None, None]
        assert all(stream.ended for stream in streams)

    in_loop(work)


def test_frames_are_let_through_evenly_and_not_more_often_than_they_may_be() -> None:
    for rate in (5.0, 12.0, 15.0, 30.0, 60.0):
        pace = Pace(10.0)
        shown = [n / rate for n in range(round(10 * rate)) if pace.is_due(100 + n / rate)]
        assert len(shown) <= 101
        assert len(shown) >= 0.95 * min(10.0, rate) * 10
        assert max(later - one for one, later in itertools.pairwise(shown)) <= 1 / min(rate, 10.0) + 1 / rate


def test_after_a_pause_nothing_is_made_up_for() -> None:
    pace = Pace(10.0)
    assert pace.is_due(1.0)
    assert [pace.is_due(60.0 + n / 1000) for n in range(5)].count(True) <= 2


def test_the_frame_rate_is_that_of_late() -> None:
    tap = CameraTap()
    assert tap.fps == 0.0
    for n in range(100):
        tap.count(1000 + n / 15)
    assert tap.fps == pytest.approx(15, rel=0.01)
    for n in range(100):
        tap.count(1100 + n / 5)
    assert tap.fps == pytest.approx(5, rel=0.05)


def test_a_picture_is_kept_only_while_somebody_looks() -> None:
    preview, picture = Preview(), np.zeros((2, 2, 3), np.uint8)
    preview.offer("desk", picture)
    assert preview.newest("desk") is None
    with preview.looking("desk"), preview.looking("desk"):
        assert preview.wants("desk")
        assert not preview.wants("door")
        preview.offer("desk", picture)
        found = preview.newest("desk")
        assert found is not None
        assert found.image is picture
    assert preview.newest("desk") is None
    assert not preview.wants("desk")


def test_the_viewers_of_pictures_are_bounded() -> None:
    preview = Preview()
    views = [preview.looking("desk") for _ in range(MAX_VIEWERS)]
    for view in views:
        assert not preview.full
        view.__enter__()
    assert preview.full
    views[0].__exit__(None, None, None)
    assert not preview.full


class Watched:
    """A camera that tells what is asked of it after a frame."""

    def __init__(self) -> None:
        self.asked = 0
        self.name, self.captured, self.pipeline = "desk", 0.0, self
        self.last_frame, self.times = frame(1.0), StageTimes()

    def faces(self) -> tuple[()]:
        self.asked += 1
        return ()


def test_faces_are_asked_for_only_while_somebody_looks_and_not_for_every_frame() -> None:
    async def work(live: LiveState) -> None:
        camera, tap = Watched(), FrameTap(live, Preview())
        for _ in range(20):
            tap(cast(Camera, camera))
        assert camera.asked == 0
        stream = live.subscribe(None)
        for _ in range(20):  # at once: they are one frame of ten a second, or two
            tap(cast(Camera, camera))
        assert 1 <= camera.asked <= 3
        shown = [json.loads(message["data"]) for message in await received(stream)]
        assert len(shown) == camera.asked
        assert shown[0] == {**shown[0], "camera": "desk", "width": 640, "height": 480, "faces": []}

    in_loop(work)


def test_a_stream_ends_although_its_first_cancellation_is_lost() -> None:
    """As ``asyncio.wait_for`` loses it before Python 3.12 if the result comes at the same moment."""

    async def sending() -> None:
        with suppress(asyncio.CancelledError):
            await asyncio.sleep(60)
        await asyncio.sleep(60)

    async def receive() -> Message:
        return {"type": "http.disconnect"}

    asyncio.run(asyncio.wait_for(until_left(sending(), receive), 10))
