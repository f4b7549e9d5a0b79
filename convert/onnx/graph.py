"""The export graph: what a float Keras network computes, with nothing left in it but what every exporter needs.

Batch norm is folded, pads belong to their convolutions, dropout is gone. An *edge* is the value between two nodes; it
has the name of the Keras layer that gives it in the float network, the last one where several were folded into one:
``Conv1_relu``, ``block_1_project_BN``, ``block_1_add``, ``pool``; the first edge is the input layer's.
"""

from __future__ import annotations

from dataclasses import dataclass

from edge_emotion.protocols import FloatArray

Pads = tuple[int, int, int, int]
"""Zeros above, left, below, right: ONNX' order."""


@dataclass(frozen=True)
class Node:
    """``name`` is that of the Keras layer, ``inputs`` and ``output`` are edges."""

    name: str
    inputs: tuple[str, ...]
    output: str


@dataclass(frozen=True)
class Weighted(Node):
    """A node with weights: kernel (output channels first) and bias (output channels), batch norm folded into both."""

    kernel: FloatArray
    bias: FloatArray


@dataclass(frozen=True)
class Conv(Weighted):
    """A convolution, kernel O x I/groups x H x W; depthwise where ``groups`` is the number of input channels."""

    strides: tuple[int, int]
    dilations: tuple[int, int]
    pads: Pads
    groups: int


@dataclass(frozen=True)
class Dense(Weighted):
    """A fully connected layer, kernel O x I."""


@dataclass(frozen=True)
class Relu(Node):
    """max(x, 0), and min(x, limit) where there is one: 6 for ReLU6."""

    limit: float | None


@dataclass(frozen=True)
class Add(Node):
    """The sum of two edges."""


@dataclass(frozen=True)
class Pool(Node):
    """The mean over height and width: N x H x W x C -> N x C."""


@dataclass(frozen=True)
class Graph:
    """Nodes in an order in which they can be computed, from the edge ``input`` (N x ``shape``) to logits ``output``.

    shape: height, width, channels.
    """

    name: str
    input: str
    shape: tuple[int, int, int]
    nodes: tuple[Node, ...]
    output: str
    classes: int

    def consumers(self, edge: str) -> list[Node]:
        """The nodes that read an edge."""
        return [node for node in self.nodes if edge in node.inputs]

    def producer(self, edge: str) -> Node | None:
        """The node that gives an edge; None for the input."""
        return next((node for node in self.nodes if node.output == edge), None)

    @property
    def weighted(self) -> list[Weighted]:
        """The nodes with weights."""
        return [node for node in self.nodes if isinstance(node, Weighted)]


def same_pads(
    size: tuple[int, int], kernel: tuple[int, int], strides: tuple[int, int], dilations: tuple[int, int]
) -> Pads:
    """TensorFlow's SAME for a picture of this size: ceil(size / stride) comes out, an odd zero goes below or right."""
    befores, afters = [], []
    for length, width, stride, dilation in zip(size, kernel, strides, dilations, strict=True):
        reach = (width - 1) * dilation + 1
        total = max((-(-length // stride) - 1) * stride + reach - length, 0)
        befores.append(total // 2)
        afters.append(total - total // 2)
    return befores[0], befores[1], afters[0], afters[1]
