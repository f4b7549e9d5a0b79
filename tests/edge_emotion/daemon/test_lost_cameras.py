"""Cameras that are killed, frozen, spoilt and come back, in the real line with the real models: nothing is false."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from itertools import count, pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest
from support.broker import wait_until
from support.cameras import FPS, DeviceCamera, MjpegCamera, RtspCamera, StageCamera
from support.frame_numbers import read_number
from support.pipelines import settings_with
from support.source_fakes import fake_video_capture, picture, read_until_error

from edge_emotion.cli.demo import CLIP
from edge_emotion.config.settings import CameraSettings
from edge_emotion.daemon.camera import Camera
from edge_emotion.daemon.capture import Timing
from edge_emotion.daemon.daemon import Daemon
from edge_emotion.datatypes import CameraState, EmotionEvent, Face, Image
from edge_emotion.factory.cameras import make_capture, pipeline_settings
from edge_emotion.factory.models import make_classifier, make_detector
from edge_emotion.outbox.event_counter import EventCounter
from edge_emotion.pipeline.pipeline import Pipeline
from edge_emotion.protocols import FaceDetector
from edge_emotion.sinks.memory import MemorySink
from edge_emotion.sources.opencv import OpenCvSource
from edge_emotion.sources.stream_lag import WINDOW, Freshness

pytestmark = pytest.mark.usefixtures("nothing_is_left_behind")

SHORT_PAUSES = Timing(first_retry=0.2, longest_retry=0.5)
LOSSES = [
    ("rtsp", "killed"),
    ("rtsp", "frozen"),
    ("mjpeg", "killed"),
    ("mjpeg", "frozen"),
    ("mjpeg", "corrupt"),
    ("device", "gone"),
    ("device", "frozen"),
]


class Diary(MemorySink):
    """What was said of the camera ``desk``, in its order."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def publish(self, event: EmotionEvent) -> None:
        super().publish(event)
        if event.camera == "desk":
            self.lines.append(event.type)

    def camera_state(self, camera: str, state: CameraState) -> None:
        super().camera_state(camera, state)
        if camera == "desk":
            self.lines.append(f"{state.faces} faces")

    def camera_available(self, camera: str, available: bool) -> None:
        super().camera_available(camera, available)
        if camera == "desk":
            self.lines.append("online" if available else "offline")


class Reader:
    """A detector that also reads the numbers of the frames; ``image`` without number is an error of the test."""

    def __init__(self, inner: FaceDetector) -> None:
        self._inner = inner
        self.numbers: list[int] = []
        self.sizes: list[tuple[int, int]] = []

    def detect(self, image: Image) -> tuple[Face, ...]:
        self.numbers.append(read_number(image))
        self.sizes.append((image.shape[1], image.shape[0]))
        return tuple(self._inner.detect(image))


class Scene:
    """A daemon with the camera ``desk``, which will be lost, and the camera ``hall``, a clip that goes on."""

    def __init__(self, source: str) -> None:
        self.diary, self._changed, self._numbers = Diary(), threading.Condition(), count(1)
        self.reader, self._classifier = Reader(make_detector("blazeface_short")), make_classifier("tiny")
        desk = self._camera("desk", CameraSettings(source=source, open_timeout=8, read_timeout=1), self.reader)
        clip = CameraSettings(source=str(CLIP), loop=True)
        self.hall = self._camera("hall", clip, make_detector("blazeface_short"))
        self.desk = desk
        self._daemon = Daemon([desk, self.hall], [self.diary], self._changed, EventCounter(None))
        self._thread = threading.Thread(target=self._daemon.run)

    def __enter__(self) -> Scene:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._daemon.stop()
        self._thread.join(30)
        assert not self._thread.is_alive()

    def wait_for(self, *lines: str) -> None:
        """Until these are the last lines of the diary, in order, whatever stands between them."""
        wait_until(lambda: self._follow(lines), 45)

    def others_go_on(self) -> None:
        """Until the other camera gave five more frames."""
        before = self.hall.capture.frames
        wait_until(lambda: self.hall.capture.frames >= before + 5)

    def _follow(self, lines: tuple[str, ...]) -> bool:
        rest = iter(list(self.diary.lines))
        return all(line in rest for line in lines)

    def _camera(self, name: str, settings: CameraSettings, detector: FaceDetector) -> Camera:
        every_frame = {"idle_interval": 0, "refresh_interval": 0}
        rules = pipeline_settings(settings_with(detector=every_frame, cameras={name: {"source": "0"}}), name)
        pipeline = Pipeline(rules, detector, self._classifier, next_seq=lambda: next(self._numbers))
        return Camera(make_capture(name, settings, self._changed, timing=SHORT_PAUSES), pipeline)


@pytest.fixture
def visitor(astronaut: Image) -> Image:
    """A real face, 320 x 240, below the strip of the number."""
    return np.ascontiguousarray(astronaut[0:240, 160:480])


MakeCamera = Callable[[str, Image], StageCamera]


@pytest.fixture
def make_camera(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[MakeCamera]:
    made: list[StageCamera] = []

    def make(kind: str, picture: Image) -> StageCamera:
        if kind == "rtsp":
            made.append(RtspCamera(tmp_path, picture))
        else:
            made.append(MjpegCamera(picture) if kind == "mjpeg" else DeviceCamera(monkeypatch, picture))
        return made[-1]

    yield make
    for camera in made:
        camera.close()


def check_tracks(events: list[EmotionEvent]) -> None:
    """Of each track one start, then changes, then one end; times that fit together."""
    for track in {event.track_id for event in events}:
        types = [event.type for event in events if event.track_id == track]
        assert types[0] == "start" and types[-1] == "end" and set(types[1:-1]) <= {"change"}, types
    assert all(0 <= event.track_duration < 300 and event.latency_ms >= 0 for event in events)


@pytest.mark.parametrize(("kind", "how"), LOSSES)
def test_a_lost_camera_is_offline_invents_nothing_and_comes_back(
    kind: str, how: str, make_camera: MakeCamera, visitor: Image
) -> None:
    camera = make_camera(kind, visitor)
    with Scene(camera.source) as scene:
        scene.wait_for("online", "start")
        camera.lose(how)
        scene.wait_for("online", "start", "end", "0 faces", "offline")
        seen = len(scene.reader.numbers)
        scene.others_go_on()
        assert len(scene.reader.numbers) == seen, "there are no frames of a camera that is offline"
        assert scene.diary.lines[-3:] == ["end", "0 faces", "offline"]

        bigger = np.ascontiguousarray(cv2.resize(visitor, (512, 384)))
        camera.mend(bigger)  # what is only frozen may go on with the picture that it had
        scene.wait_for("start", "end", "offline", "online", "start")
        assert len(scene.reader.numbers) > seen

    desk = [event for event in scene.diary.events if event.camera == "desk"]
    check_tracks(scene.diary.events)
    assert [event.type for event in desk if event.type != "change"] == ["start", "end"] * 2
    assert len({event.track_id for event in desk}) == 2
    assert [line for line in scene.diary.lines if "line" in line] == ["online", "offline", "online"]
    assert all(a < b for a, b in pairwise(scene.reader.numbers)), "a frame was shown twice, or an old one after a new"
    assert set(scene.reader.sizes[:seen]) == {(320, 240)}
    if how == "killed":
        assert set(scene.reader.sizes[seen:]) == {(512, 384)}
    assert [up for name, up in scene.diary.availability if name == "hall"] == [True]


def test_an_rtsp_camera_begins_with_the_present(make_camera: MakeCamera, visitor: Image) -> None:
    camera = make_camera("rtsp", visitor)
    source = OpenCvSource(camera.source, read_timeout=1)
    source.open()
    first = source.read()
    camera.lose("frozen")
    rest, _ = read_until_error(source)
    source.close()
    # FFmpeg collects the frames of about three seconds before it gives the first one.
    assert read_number([first, *rest][-1].image) - read_number(first.image) < FPS, "the first frame had waited"


def stale(*frames: tuple[float, float]) -> list[bool]:
    """Of frames at (position in the stream, moment of arrival) in seconds."""
    freshness = Freshness()
    return [freshness.is_stale(position, timestamp) for position, timestamp in frames]


def test_frames_that_were_collected_before_the_first_one_are_stale() -> None:
    burst = [(max(0.0, n / 10 - 0.1), 100 + n / 1000) for n in range(20)]  # the first two at 0, as OpenCV says
    live = [(1.9 + n / 10, 100.1 + n / 10) for n in range(8)]
    told = stale(*burst, *live)
    assert all(told[:20])
    assert not any(told[20 + WINDOW :])


def test_a_machine_that_pauses_among_a_backlog_does_not_take_it_for_the_present() -> None:
    assert all(stale(*[(n / 10, 100 + n / 1000 + 0.15 * (n > 10)) for n in range(20)]))


def test_a_backlog_after_a_stall_is_stale() -> None:
    live = [(n / 10, 100 + n / 10) for n in range(10)]
    backlog = [(n / 10, 104 + n / 1000) for n in range(10, 40)]
    after = [(n / 10, 100.2 + n / 10) for n in range(40, 50)]
    told = stale(*live, *backlog, *after)
    assert not any(told[WINDOW:10])
    assert all(told[10:40])
    assert not any(told[40 + WINDOW :])


def calm(*frames: tuple[float, float]) -> bool:
    """True if none is stale after the beginning."""
    return not any(stale(*frames)[WINDOW - 1 :])


def test_a_pause_of_the_camera_is_no_stall() -> None:
    assert calm(*[(n / 10 + 3 * (n >= 10), 100 + n / 10 + 3 * (n >= 10)) for n in range(20)])


def test_slow_and_jittering_streams_and_wrong_clocks_are_not_stale() -> None:
    assert calm(*[(n * 1.0, 100 + n * 1.0) for n in range(20)])
    assert calm(*[(n / 10, 100 + n / 10 + 0.08 * (n % 2)) for n in range(50)])
    assert calm(*[(n / 10, 100 + n / 9) for n in range(1000)])
    assert calm(*[(0.0, 100 + n / 25) for n in range(50)])  # it does not say when


def test_a_stream_that_always_comes_in_lumps_is_taken_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    lumps = fake_video_capture(monkeypatch, lambda number: (time.sleep(0.1 * (number % 10 == 0)) or True, picture(1)))
    monkeypatch.setattr(lumps, "get", lambda self, key: self.reads * 100.0)
    source = OpenCvSource("rtsp://127.0.0.1/lumps", open_timeout=0.6, read_timeout=5)
    source.open()
    assert [source.read().sequence for _ in range(30)] == list(range(30))
    assert lumps.made[0].reads < 30 + 60, "only what came before was skipped"
    source.close()
