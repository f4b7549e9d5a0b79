"""A network of other origin, however it is stored: what the importer has to know about it and can change in it."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, Protocol

from convert.own.description import Layout
from edge_emotion.errors import ModelError
from edge_emotion.models.manifest import Precision

Tail = Literal["softmax", "flat", "log"]
"""Changes at the end: the softmax is removed; the output becomes a vector; the logarithm of the output is taken."""


class NetworkFile(Protocol):
    """A network of one input and one output in a format that the runtime reads."""

    format: Literal["tflite", "onnx"]
    shape: tuple[int | None, int | None, int | None]
    """Sizes of the input after the batch; None: free."""

    precision: Precision
    own_range: tuple[float, float] | None
    """Scale and offset with which a pixel becomes an integer input exactly; None for a float input."""

    def remove_softmax(self) -> bool:
        """Make the softmax's input the output; False if the network does not end in one."""
        ...

    def ends_in_sigmoid(self) -> bool:
        """Whether the outputs are those of a sigmoid: small ones look like logits."""
        ...

    def flatten_output(self, count: int) -> None:
        """Make the output N x ``count``."""
        ...

    def take_logarithm(self) -> None:
        """Make the logarithm of the output the output."""
        ...

    def prepend(
        self, shape: tuple[int, int, int], layout: Layout, scale: tuple[float, ...], offset: tuple[float, ...]
    ) -> None:
        """Make the input float N x ``shape`` (height, width, channels), multiplied and shifted by channel if given."""
        ...

    def content(self) -> bytes:
        """The file."""
        ...


def found_layout(file: Path, shape: tuple[int | None, ...], given: Layout | None) -> Layout:
    """The order of the axes, by where the 1 or 3 channels are. Raises ModelError where both ends could be them."""
    if given is not None:
        return given
    first, last = shape[0] in (1, 3), shape[-1] in (1, 3)
    if first == last:
        sizes = " x ".join("?" if size is None else str(size) for size in shape)
        raise ModelError(
            f"{file} takes {sizes}: it does not show which are the 1 or 3 channels: give --input NHWC or NCHW"
        )
    return "NCHW" if first else "NHWC"
