"""The contracts between the parts. Adapters implement these; everything else is written against them.

Each protocol has a shipped fake (memory, constant, scripted), and one contract test runs over every adapter.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from edge_emotion.datatypes import Box, CameraState, EmotionEvent, Face, Frame, Image

FloatArray = npt.NDArray[np.float32]
ModelInput = npt.NDArray[np.float32] | npt.NDArray[np.uint8]
"""Normalised values, or pixels for a model that takes them as they are (scale 1, offset 0): these need no copy."""


@runtime_checkable
class FrameSource(Protocol):
    """Where frames come from: a camera, a stream, a file, memory.

    Life cycle: ``open``, any number of ``read``, ``close``; then it may be opened again.
    """

    @property
    def live(self) -> bool:
        """True for a camera or stream, that goes on whether or not it is read and is reopened when lost.

        False for a finite recording: its end is an end (``SourceEnded``) and its frames are paced by the source.
        """

    def open(self) -> None:
        """Get ready to read. Returns or raises SourceError within the source's open time-out."""

    def read(self) -> Frame:
        """The next frame: H x W x 3 uint8 BGR, timestamps taken when it arrived, never an invented picture.

        Blocks until there is one. Raises SourceError when none came within the read time-out or the source is
        lost, SourceEnded after the last frame of a finite source. After either, only ``close`` and ``open`` help.
        """

    def close(self) -> None:
        """Release the device. May be called at any time, also twice, also before ``open``."""


@runtime_checkable
class ChoosingSource(FrameSource, Protocol):
    """A live source that knows when a frame came before it has decoded it."""

    def read_due(self, due: Callable[[float], bool]) -> Frame | None:
        """As ``read``, but None for a frame whose timestamp is not ``due``: it has come and is not decoded.

        ``due`` is asked in any thread, once at most for each frame.
        """


@runtime_checkable
class InferenceBackend(Protocol):
    """Runs one model file. Knows tensors, no labels and no faces."""

    @property
    def name(self) -> str:
        """What runs the model, for people: 'ai-edge-litert 2.3.0'."""

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Height, width, channels of one input: without the batch axis."""

    @property
    def output_shapes(self) -> tuple[tuple[int, ...], ...]:
        """Shape of each output without the batch axis, in the model's order."""

    def run(self, batch: ModelInput) -> tuple[FloatArray, ...]:
        """Infer N inputs, N >= 1: N x H x W x C -> one float32 N x ... array per output.

        Inputs are float32, normalised, or uint8 pixels, which mean the same as these pixels in float32.

        Integer models are fed and read by their tensors' own scale and zero point; callers only ever see floats.
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
    """Where events go. Nothing here blocks on a network, and nothing raises because a network is away."""

    def check(self) -> None:
        """Look whether ``open`` would succeed, opening nothing. Raises what it would raise."""

    def open(self) -> None:
        """Start. Raises SinkError or ConfigError only for what waiting cannot cure: an unwritable file, a bad key."""

    def publish(self, event: EmotionEvent) -> None:
        """Take over one event. It is delivered at least once, or counted as dropped."""

    def camera_state(self, camera: str, state: CameraState) -> None:
        """What a camera sees now; only the latest one matters."""

    def camera_available(self, camera: str, available: bool) -> None:
        """A camera came or went."""

    def close(self) -> None:
        """Deliver what waits, within a bounded time, then stop. May be called twice."""


@runtime_checkable
class ControlChannel(Protocol):
    """Where the node is asked things and tells how it is, beside its events. Like a sink, it never blocks or raises.

    Topics and payloads are those of docs/reference/mqtt.md; mappings are plain JSON values.
    """

    @property
    def waiting(self) -> int:
        """Events that were not delivered yet."""

    @property
    def dropped(self) -> int:
        """Events that were given up."""

    def listen(self, heard: Callable[[str, bytes], None]) -> None:
        """Call ``heard`` with topic and payload of what is asked from now on, in any thread. Once, before ``open``."""

    def describe(self, info: Mapping[str, Any], cameras: Sequence[str], device: Mapping[str, Any] | None) -> None:
        """Replace the node's description, its cameras, and its device in Home Assistant; None: it has none."""

    def feature_state(self, camera: str, feature: str, payload: bytes) -> None:
        """What a feature of a camera is; only the latest one matters."""

    def respond(self, command: str, answer: Mapping[str, Any]) -> None:
        """Answer a request. It is lost if nobody is there to take it."""

    def report(self, stats: Mapping[str, Any]) -> None:
        """Say how the node is doing. It is lost if nobody is there to take it."""
