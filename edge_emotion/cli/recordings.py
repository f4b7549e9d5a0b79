"""Recordings for ``classify``: looked through as ``run`` does it, each becomes one row with its events."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from typing import Any

from edge_emotion.config.loader import load
from edge_emotion.config.settings import Settings
from edge_emotion.config.source_spec import classify_source
from edge_emotion.daemon.capture import Capture
from edge_emotion.daemon.daemon import STOP_TIMEOUT, TICK
from edge_emotion.daemon.overrides import CameraOverrides
from edge_emotion.datatypes import EmotionEvent, Frame
from edge_emotion.errors import SourceError
from edge_emotion.factory.cameras import CameraMaker
from edge_emotion.factory.models import models_of
from edge_emotion.models.classifier import EmotionClassifier
from edge_emotion.wire.payloads import event_to_json

_CAMERA = "recording"
_KEPT = ("emotion", "confidence", "probabilities", "previous", "box", "quality", "zone", "reason")
"""Fields of an event's payload that need no node, no clock and no model of their own."""


@dataclass(frozen=True, slots=True)
class Recording:
    """A recording that was looked through. ``seconds`` is the time from its first frame to its last one.

    ``events`` are plain JSON values: ``type``, ``at`` (seconds after the first frame), ``track`` (1, 2, ... in the
    order of the first events), ``duration`` of the track in seconds, and fields of the payload under their names.
    """

    frames: int
    seconds: float
    events: Sequence[dict[str, Any]]

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON values; ``fps`` is null for a single frame."""
        fps = round((self.frames - 1) / self.seconds, 2) if self.seconds else None
        figures = {"seconds": round(self.seconds, 3), "frames": self.frames, "fps": fps}
        return {"recording": figures, "events": list(self.events)}


class RecordingReader:
    """Looks through recordings one after the other, with the same models."""

    def __init__(
        self,
        classifier: EmotionClassifier,
        *,
        detector: str,
        reach: str | None,
        threshold: float | None,
        classes: Sequence[str] | None,
        operating_point: str | None,
    ) -> None:
        """None is the default of ``run``. Raises ConfigError, ModelError or BackendUnavailable."""
        self._camera = {"realtime": False} | ({} if reach is None else {"range": reach})
        self._sections = {
            "node": "classify",
            "detector": {"model": detector},
            "classifier": {"classes": classes, "operating_point": operating_point},
            "policy": {} if threshold is None else {"threshold": threshold},
            "jsonl": {"path": "-"},  # settings name a place for events; nothing opens it here
        }
        self._changed = threading.Condition()
        settings = self._settings("none")
        models = models_of(settings.detector, classifier)
        self._maker = CameraMaker(models, count(1).__next__, self._changed, fail_fast=True)

    def read(self, path: Path, progress: Callable[[float], None]) -> Recording:
        """Every frame up to the end; ``progress`` gets the seconds of the recording that are done.

        Raises SourceError for one that cannot be read.
        """
        with _source_of(path) as source:
            return self._read(source, progress)

    def _read(self, source: str, progress: Callable[[float], None]) -> Recording:
        camera = self._maker.camera(self._settings(source), _CAMERA, CameraOverrides())
        events: list[EmotionEvent] = []
        first: Frame | None = None
        camera.capture.start()
        try:
            for frame in self._frames(camera.capture):
                first = first or frame
                # Counted from 0, the same recording gives the same numbers each time, to the last digit.
                seconds = (frame.captured_at - first.captured_at).total_seconds()
                events += camera.pipeline.process(replace(frame, timestamp=seconds))
                progress(seconds)
        finally:
            camera.capture.ask_to_stop()
            camera.capture.join(STOP_TIMEOUT)
        if camera.capture.error is not None:
            raise camera.capture.error
        if first is None:
            raise SourceError(f"{source} has no frame: is it a complete video? (check with ffprobe)")
        events += camera.pipeline.finish()
        length = round(camera.capture.read_until - first.timestamp, 6)
        return Recording(camera.capture.frames, length, _rows(events, first))

    def _settings(self, source: str) -> Settings:
        """Those of one recording. The environment does not count, as for pictures."""
        return load(
            None, {**self._sections, "cameras": {_CAMERA: {"source": source, **self._camera}}}, environment=False
        )

    def _frames(self, capture: Capture) -> Iterator[Frame]:
        def ended() -> bool:
            return capture.status in ("ended", "failed")

        while True:
            last = ended()  # before the slot is looked at: it was filled before
            frame = capture.slot.take()
            if frame is not None:
                yield frame
            elif last:
                return
            else:
                with self._changed:
                    self._changed.wait_for(lambda: capture.slot.full or ended(), TICK)


def _rows(events: Sequence[EmotionEvent], first: Frame) -> list[dict[str, Any]]:
    numbers: dict[str, int] = {}
    return [_row(event, numbers.setdefault(event.track_id, len(numbers) + 1), first) for event in events]


def _row(event: EmotionEvent, track: int, first: Frame) -> dict[str, Any]:
    payload = json.loads(event_to_json(event))
    at = (event.ts - first.captured_at).total_seconds()
    head = {"type": event.type, "at": round(at, 3), "track": track, "duration": payload["track"]["duration"]}
    return head | {name: payload[name] for name in _KEPT if name in payload}


@contextmanager
def _source_of(path: Path) -> Iterator[str]:
    """The setting that names this file; by its descriptor where its name would be taken for something else."""
    source = str(path.absolute())
    is_text = not any("\ud800" <= character <= "\udfff" for character in source)  # bytes that are no UTF-8
    if is_text and source == source.strip() and classify_source(source) == "video":
        yield source
        return
    try:
        file = path.open("rb")
    except OSError as error:
        raise SourceError(f"cannot read the recording {path}: {error.strerror}") from error
    with file:
        descriptor = f"/proc/self/fd/{file.fileno()}"
        try:
            yield descriptor
        except SourceError as error:
            raise SourceError(str(error).replace(descriptor, str(path))) from error


def described(path: Path, recording: Recording) -> str:
    """A recording for people: its length, and its events a line each."""
    number = len(recording.events)
    lines = [f"{path}: recording of {recording.seconds:.1f} s, {number or 'no'} event{'' if number == 1 else 's'}"]
    lines += [
        f"  {event['at']:8.1f} s  {event['type']:6}  {event['emotion']} {event['confidence']:.1%}"
        f"{', ' + event['reason'] if 'reason' in event else ''}  (face {event['track']})"
        for event in recording.events
    ]
    return "\n".join(lines)


class SecondsShown:
    """Calls ``show`` with a text once a second at most."""

    def __init__(self, show: Callable[[str], None]) -> None:
        self._show, self._due = show, 0.0

    def __call__(self, seconds: float) -> None:
        """Show how many seconds of a recording are done."""
        if time.monotonic() >= self._due:
            self._due = time.monotonic() + 1.0
            self._show(f", {seconds:.0f} s of a recording")
