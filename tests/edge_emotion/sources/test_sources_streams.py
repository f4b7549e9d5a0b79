"""Network streams: a real MJPEG server, frozen, silent, gone."""

from __future__ import annotations

import os
import threading
import time
from datetime import datetime, timedelta, timezone

import cv2
import pytest
from support.source_fakes import (
    fail_in_background,
    fake_video_capture,
    mjpeg_server,
    read_until_error,
)

from edge_emotion.errors import SourceError
from edge_emotion.sources.opencv import OpenCvSource

pytestmark = [pytest.mark.filterwarnings("error"), pytest.mark.usefixtures("nothing_is_left_behind")]


def test_a_stream_is_stamped_when_its_frames_arrive() -> None:
    with mjpeg_server() as server:
        source = OpenCvSource(server.url)
        source.open()
        source.read()
        for _ in range(3):
            before = time.monotonic()
            frame = source.read()
            assert before <= frame.timestamp <= time.monotonic()
            assert abs(datetime.now(timezone.utc) - frame.captured_at) < timedelta(seconds=10)
        source.close()


def test_a_frozen_stream_fails_within_its_time_out() -> None:
    with mjpeg_server() as server:
        source = OpenCvSource(server.url, read_timeout=0.4)
        source.open()
        server.frozen.set()
        _, error = read_until_error(source)
        assert "gave no frame in 0.4 s" in str(error)


def test_a_frozen_stream_can_be_opened_again() -> None:
    with mjpeg_server() as server:
        source = OpenCvSource(server.url, read_timeout=0.3)
        source.open()
        server.frozen.set()
        read_until_error(source)
        server.frozen.clear()
        source.open()
        assert source.read().sequence == 0
        source.close()


def test_a_silent_stream_fails_within_the_open_time_out() -> None:
    with mjpeg_server(silent=True) as server:
        source = OpenCvSource(server.url, open_timeout=0.4)
        with pytest.raises(SourceError, match=r"gave no frame in 0\.4 s"):
            source.open()


def test_a_stream_without_frames_is_not_open() -> None:
    with mjpeg_server() as server:
        server.frozen.set()
        source = OpenCvSource(server.url, open_timeout=0.5)
        with pytest.raises(SourceError, match=r"gave no frame in 0\.5 s"):
            source.open()


def test_a_dead_port_is_an_error_at_open() -> None:
    with mjpeg_server() as server:
        url = server.url
    with pytest.raises(SourceError, match=r"cannot open stream http://127\.0\.0\.1"):
        OpenCvSource(url).open()


def test_a_stream_that_hangs_up_is_lost() -> None:
    with mjpeg_server(frames=8) as server:
        source = OpenCvSource(server.url)
        source.open()
        _, error = read_until_error(source)
    assert "is lost" in str(error)


def test_closing_ends_the_wait_for_a_stream() -> None:
    with mjpeg_server() as server:
        source = OpenCvSource(server.url, read_timeout=3)
        source.open()
        server.frozen.set()
        thread, errors = fail_in_background(source)
        source.close()
        thread.join(10)
        assert not thread.is_alive()
        assert "open" in str(errors[0]) or "closed" in str(errors[0])


def test_a_stream_never_shows_its_password() -> None:
    with mjpeg_server() as server:
        url = server.url.replace("http://", "http://admin:geheim@")
    source = OpenCvSource(url)
    with pytest.raises(SourceError) as caught:
        source.open()
    for text in (str(caught.value), repr(source), repr(caught.value), repr(threading.enumerate())):
        assert "geheim" not in text and "admin" not in text
    assert "http://***@127.0.0.1" in str(caught.value)


def test_a_stream_with_a_password_opens() -> None:
    with mjpeg_server() as server:
        source = OpenCvSource(server.url.replace("http://", "http://admin:geheim@"))
        source.open()
        assert source.read().image.shape == (48, 64, 3)
        source.close()


@pytest.fixture
def no_ffmpeg_options(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENCV_FFMPEG_CAPTURE_OPTIONS", "")  # so that it is put back after the test
    monkeypatch.delenv("OPENCV_FFMPEG_CAPTURE_OPTIONS")


@pytest.mark.usefixtures("no_ffmpeg_options")
def test_rtsp_goes_over_tcp(monkeypatch: pytest.MonkeyPatch) -> None:
    fake_video_capture(monkeypatch)
    source = OpenCvSource("rtsp://127.0.0.1/live")
    source.open()
    source.close()
    assert os.environ["OPENCV_FFMPEG_CAPTURE_OPTIONS"] == "rtsp_transport;tcp"


def test_ffmpeg_options_of_the_user_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENCV_FFMPEG_CAPTURE_OPTIONS", "rtsp_transport;udp")
    fake_video_capture(monkeypatch)
    source = OpenCvSource("rtsp://127.0.0.1/live")
    source.open()
    source.close()
    assert os.environ["OPENCV_FFMPEG_CAPTURE_OPTIONS"] == "rtsp_transport;udp"


def test_ffmpeg_is_told_time_outs_and_one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    captures = fake_video_capture(monkeypatch)
    source = OpenCvSource("http://127.0.0.1/live", open_timeout=5, read_timeout=2)
    source.open()
    source.close()
    url, backend, parameters = captures.made[0].arguments
    told = dict(zip(parameters[::2], parameters[1::2], strict=True))
    assert (url, backend) == ("http://127.0.0.1/live", cv2.CAP_FFMPEG)
    assert told[cv2.CAP_PROP_OPEN_TIMEOUT_MSEC] >= 5000
    assert told[cv2.CAP_PROP_READ_TIMEOUT_MSEC] >= 2000
    assert told[cv2.CAP_PROP_N_THREADS] == 1
