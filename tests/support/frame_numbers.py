"""Numbers written into frames as a strip of black and white blocks, which survives lossy compression.

Needs nothing but Python: the camera that runs in the system's one uses it too.
"""

from __future__ import annotations

STRIP = 24
"""Rows at the top of a picture that hold its number."""

BITS = 16
"""Of the number; as many follow with each bit turned round, so that half a frame or grey mud is no number."""


def strip(number: int, width: int) -> bytes:
    """STRIP rows of ``width`` pixels of three bytes; a multiple of 2 * BITS pixels."""
    bits = f"{number:0{BITS}b}"
    block = width // (2 * BITS)
    row = b"".join((b"\xff" if bit == "1" else b"\0") * 3 * block for bit in bits + bits.translate({48: "1", 49: "0"}))
    return row * STRIP


def read_number(image: object) -> int:
    """The number in an H x W x 3 picture. Raises AssertionError if this is no whole frame of the camera."""
    import numpy as np

    pixels = np.asarray(image)
    block = pixels.shape[1] // (2 * BITS)
    middle = pixels[STRIP // 4 : STRIP * 3 // 4]
    levels = [middle[:, n * block + block // 4 : (n + 1) * block - block // 4].mean() for n in range(2 * BITS)]
    bits = "".join("1" if level > 127 else "0" for level in levels)
    assert all((a == "1") != (b == "1") for a, b in zip(bits[:BITS], bits[BITS:], strict=True)), f"invented: {levels}"
    return int(bits[:BITS], 2)
