"""What protocols.FrameSource promises, asked of every adapter."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest
from support.source_fakes import (
    DEVICE,
    assert_no_cv2_thread_is_left,
    carphone,
    fake_picamera2,
    fake_video_capture,
    mjpeg_server,
    picture,
    read_until_error,
)

from edge_emotion.errors import EdgeEmotionError, SourceEnded, SourceError
from edge_emotion.protocols import FrameSource
from edge_emotion.sources.images import ImagesSource
from edge_emotion.sources.memory import MemorySource
from edge_emotion.sources.opencv import OpenCvSource
from edge_emotion.sources.picamera2 import Picamera2Source

pytestmark = pytest.mark.filterwarnings("error")


def memory(monkeypatch: pytest.MonkeyPatch, folder: Path) -> Iterator[FrameSource]:
    yield MemorySource([picture(number) for number in range(4)])


def live_memory(monkeypatch: pytest.MonkeyPatch, folder: Path) -> Iterator[FrameSource]:
    yield MemorySource([picture(number) for number in range(4)], live=True)


def images(monkeypatch: pytest.MonkeyPatch, folder: Path) -> Iterator[FrameSource]:
    for number in range(4):
        cv2.imwrite(str(folder / f"{number}.png"), picture(number))
    yield ImagesSource(folder, fps=50)


def video(monkeypatch: pytest.MonkeyPatch, folder: Path) -> Iterator[FrameSource]:
    yield OpenCvSource(str(carphone()), realtime=False)


def realtime_video(monkeypatch: pytest.MonkeyPatch, folder: Path) -> Iterator[FrameSource]:
    yield OpenCvSource(str(carphone()), loop=True)


def stream(monkeypatch: pytest.MonkeyPatch, folder: Path) -> Iterator[FrameSource]:
    with mjpeg_server(frames=20) as server:
        yield OpenCvSource(server.url)


def device(monkeypatch: pytest.MonkeyPatch, folder: Path) -> Iterator[FrameSource]:
    fake_video_capture(monkeypatch, lambda number: (number < 20, picture(number)))
    yield OpenCvSource(DEVICE)


def pipeline(monkeypatch: pytest.MonkeyPatch, folder: Path) -> Iterator[FrameSource]:
    fake_video_capture(monkeypatch, lambda number: (number < 20, picture(number)))
    monkeypatch.setattr(cv2, "getBuildInformation", lambda: "    GStreamer:   YES (1.20.3)\n")
    yield OpenCvSource("videotestsrc ! videoconvert ! video/x-raw,format=BGR ! appsink")


def picamera2(monkeypatch: pytest.MonkeyPatch, folder: Path) -> Iterator[FrameSource]:
    camera = fake_picamera2(monkeypatch)
    yield Picamera2Source(width=64, height=48, read_timeout=0.2)
    camera.stalled = True


ADAPTERS = (memory, live_memory, images, video, realtime_video, stream, device, pipeline, picamera2)
FINITE = (memory, images, video)
LOSING = (live_memory, stream, device, pipeline)


@pytest.fixture
def source(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[FrameSource]:
    build: Callable[[pytest.MonkeyPatch, Path], Iterator[FrameSource]] = request.param
    steps = build(monkeypatch, tmp_path)
    made = next(steps)
    yield made
    made.close()
    assert next(steps, None) is None
    assert_no_cv2_thread_is_left()


def over(*adapters: Callable[..., Iterator[FrameSource]]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("source", adapters, indirect=True, ids=[adapter.__name__ for adapter in adapters])


@over(*ADAPTERS)
def test_it_implements_the_protocol(source: FrameSource) -> None:
    assert isinstance(source, FrameSource)
    assert isinstance(source.live, bool)


@over(*ADAPTERS)
def test_frames_are_bgr_bytes(source: FrameSource) -> None:
    source.open()
    for _ in range(3):
        image = source.read().image
        assert image.dtype == np.uint8
        assert image.ndim == 3 and image.shape[2] == 3
        assert image.flags.c_contiguous


@over(memory, live_memory, images, stream, device, pipeline, picamera2)
def test_blue_comes_first(source: FrameSource) -> None:
    source.open()
    blue, green, red = source.read().image.mean(axis=(0, 1))
    assert blue < 20 and abs(green - 100) < 20 and abs(red - 200) < 20


@over(*ADAPTERS)
def test_the_sequence_grows_from_zero(source: FrameSource) -> None:
    source.open()
    assert [source.read().sequence for _ in range(4)] == [0, 1, 2, 3]


@over(*ADAPTERS)
def test_timestamps_grow(source: FrameSource) -> None:
    source.open()
    frames = [source.read() for _ in range(4)]
    for before, after in pairwise(frames):
        assert after.timestamp > before.timestamp
        assert after.captured_at >= before.captured_at


@over(*ADAPTERS)
def test_capture_times_are_utc(source: FrameSource) -> None:
    source.open()
    assert source.read().captured_at.utcoffset() == timedelta(0)


@over(*ADAPTERS)
def test_frames_do_not_share_memory(source: FrameSource) -> None:
    source.open()
    first, second = source.read().image, source.read().image
    assert not np.shares_memory(first, second)


@over(*ADAPTERS)
def test_reading_before_open_fails(source: FrameSource) -> None:
    with pytest.raises(SourceError, match="open"):
        source.read()


@over(*ADAPTERS)
def test_closing_is_fine_before_open_and_twice(source: FrameSource) -> None:
    source.close()
    source.open()
    source.close()
    source.close()


@over(*ADAPTERS)
def test_reading_after_close_fails(source: FrameSource) -> None:
    source.open()
    source.read()
    source.close()
    with pytest.raises(SourceError, match="open"):
        source.read()


@over(*ADAPTERS)
def test_it_can_be_opened_again(source: FrameSource) -> None:
    source.open()
    first = source.read()
    source.close()
    source.open()
    again = source.read()
    assert again.sequence == 0
    assert again.image.shape == first.image.shape
    assert again.timestamp >= first.timestamp


@over(*ADAPTERS)
def test_open_while_open_begins_again(source: FrameSource) -> None:
    source.open()
    source.read()
    source.open()
    assert source.read().sequence == 0


@over(*FINITE)
def test_a_finite_source_ends(source: FrameSource) -> None:
    assert not source.live
    source.open()
    frames, error = read_until_error(source)
    assert isinstance(error, SourceEnded)
    assert [frame.sequence for frame in frames] == list(range(len(frames)))


@over(*LOSING)
def test_a_live_source_is_lost_and_does_not_end(source: FrameSource) -> None:
    assert source.live
    source.open()
    _, error = read_until_error(source)
    assert not isinstance(error, SourceEnded)


@over(*FINITE, *LOSING)
def test_after_the_end_only_opening_helps(source: FrameSource) -> None:
    source.open()
    read_until_error(source)
    with pytest.raises(SourceError):
        source.read()
    source.close()
    source.open()
    assert source.read().sequence == 0


@over(*FINITE, *LOSING)
def test_the_last_error_is_one_line(source: FrameSource) -> None:
    source.open()
    _, error = read_until_error(source)
    assert isinstance(error, EdgeEmotionError) and isinstance(error, OSError)
    assert str(error) and "\n" not in str(error)
