"""The interfaces between the parts. Adapters implement them; all other code uses only them.

Each protocol has a simple implementation for tests (memory, constant, scripted); one contract test runs all adapters.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from edge_emotion.datatypes import Box, CameraState, EmotionEvent, Face, Frame, Image
from edge_emotion.errors import EdgeEmotionError

FloatArray = npt.NDArray[np.float32]
ModelInput = npt.NDArray[np.float32] | npt.NDArray[np.uint8]
"""Normalised values, or pixels for a model that takes them as they are (scale 1, offset 0): these need no copy."""


@runtime_checkable
class FrameSource(Protocol):
    """A source of frames: a camera, a stream, a file, memory.

    Life cycle: ``open``, any number of ``read``, ``close``; then it may be opened again.
    """

    @property
    def live(self) -> bool:
        """True for a camera or stream: it continues whether or not it is read, and is reopened when lost.

        False for a finite recording: its end is an end (``SourceEnded``) and its frames are paced by the source.
        """

    def open(self) -> None:
        """Get ready to read. Returns or raises SourceError within the source's open time-out."""

    def read(self) -> Frame:
        """The next frame: H x W x 3 uint8 BGR, timestamps taken when it arrived, never an invented picture.

        Blocks until there is one. Raises SourceError when none arrived within the read time-out or the source is
        lost, SourceEnded after the last frame of a finite source. After either, call ``close`` and ``open``.
        """

    def close(self) -> None:
        """Release the device. May be called at any time, also twice, also before ``open``."""


@runtime_checkable
class ChoosingSource(FrameSource, Protocol):
    """A live source with a timestamp for each frame before the frame is decoded."""

    def read_due(self, due: Callable[[float], bool]) -> Frame | None:
        """As ``read``, but None for a frame whose timestamp is not ``due``: it was received and is not decoded.

        ``due`` is called in any thread, at most once for each frame.
        """


@runtime_checkable
class InferenceBackend(Protocol):
    """Runs one model file: tensors in, tensors out; labels and faces are not its concern."""

    @property
    def name(self) -> str:
        """Library and version that run the model, for logs: 'ai-edge-litert 2.3.0'."""

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Height, width, channels of one input: without the batch axis."""

    @property
    def output_shapes(self) -> tuple[tuple[int, ...], ...]:
        """Shape of each output without the batch axis, in the model's order."""

    def run(self, batch: ModelInput) -> tuple[FloatArray, ...]:
        """Infer N inputs, N >= 1: N x H x W x C -> one float32 N x ... array per output.

        Inputs are float32, normalised, or uint8 pixels, which mean the same as these pixels in float32.

        Integer tensors are converted by their own scale and zero point; callers pass and receive only floats.
        Raises ModelError if the batch has another shape than ``input_shape``.
        """

    def close(self) -> None:
        """Free what the model holds. May be called twice."""


@runtime_checkable
class FaceDetector(Protocol):
    """Finds faces in one picture."""

    def detect(self, image: Image) -> Sequence[Face]:
        """Faces in an H x W x 3 BGR picture, best score first, boxes and landmarks in its pixels.

        Boxes may reach over the edge of the picture. No face is an empty sequence, never an error.
        """


@runtime_checkable
class FaceRefiner(Protocol):
    """Finds one face again where it should be."""

    def refine(self, image: Image, box: Box) -> Face | None:
        """The face in an H x W x 3 BGR picture that overlaps ``box`` best; None if none overlaps it enough."""


@runtime_checkable
class EventSink(Protocol):
    """A destination of events. No method blocks on a network or raises because a network is unavailable."""

    def check(self) -> None:
        """Check whether ``open`` would succeed, without opening anything. Raises the same errors."""

    def open(self) -> None:
        """Start. Raises SinkError or ConfigError only for permanent faults: an unwritable file, a bad key."""

    def publish(self, event: EmotionEvent) -> None:
        """Take over one event. It is delivered at least once, or counted as dropped."""

    def camera_state(self, camera: str, state: CameraState) -> None:
        """Publish the state of a camera; it replaces the state before."""

    def camera_available(self, camera: str, available: bool) -> None:
        """Publish whether a camera is available."""

    def close(self) -> None:
        """Deliver waiting events, within a bounded time, then stop. May be called twice."""


@runtime_checkable
class EndingSink(Protocol):
    """A sink that may end by itself, because its reader has left or its thread has failed; the run then ends."""

    @property
    def ended(self) -> EdgeEmotionError | None:
        """Why no event can be delivered any more; None while one can."""


@runtime_checkable
class WatchedSink(Protocol):
    """A sink with threads of its own that may hang; the watchdog of the process is not fed then."""

    @property
    def hangs(self) -> bool:
        """True while events cannot leave because a call does not return."""


@runtime_checkable
class StatusChannel(Protocol):
    """Messages of the node about itself, beside the events. Like a sink, it never blocks or raises.

    Payloads are those of docs/reference/mqtt.md; mappings are plain JSON values.
    """

    def describe(self, info: Mapping[str, Any], cameras: Sequence[str], device: Mapping[str, Any] | None) -> None:
        """Replace the node's info, its cameras, and its device in Home Assistant (None: no device)."""

    def feature_state(self, camera: str, feature: str, payload: bytes) -> None:
        """Publish the state of a feature of a camera; it replaces the state before."""

    def report(self, stats: Mapping[str, Any]) -> None:
        """Publish statistics of the node. Not stored: they are lost without a connection."""


@runtime_checkable
class ControlChannel(StatusChannel, Protocol):
    """Commands to the node and its answers, with the broker that both come through."""

    @property
    def connected(self) -> bool:
        """True while there is a connection."""

    @property
    def waiting(self) -> int:
        """Events that were not delivered yet."""

    @property
    def dropped(self) -> int:
        """Events that were discarded."""

    @property
    def refused(self) -> int:
        """Events that the broker refused for good."""

    @property
    def connections(self) -> int:
        """Connections that were made so far."""

    @property
    def last_failure(self) -> str | None:
        """Why the last connection was not made, or was lost; None if that never happened."""

    def listen(self, received: Callable[[str, bytes], None]) -> None:
        """Call ``received`` with topic and payload of each command, in any thread. Call this once, before ``open``."""

    def follow(self, topic: str, received: Callable[[bytes], None]) -> None:
        """Call ``received`` with each message on ``topic``, retained ones too, in any thread. Before ``open``."""

    def respond(self, command: str, answer: Mapping[str, Any]) -> None:
        """Answer a request. Not stored: the answer is lost without a connection."""
