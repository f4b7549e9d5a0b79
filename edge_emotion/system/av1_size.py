"""Size of the frames in an AVIF file as its decoder sees them: other boxes of the file can claim a smaller one."""

from __future__ import annotations

import struct
from collections.abc import Iterator

MOST_STEPS = 10_000
"""Most items and parts that are examined; pictures have some hundred."""

_SEQUENCE_HEADER = 1

Size = tuple[int, int]


def av1_size(data: bytes) -> Size | None:
    """The largest width and height of all items; None for tracks, and for what is not understood.

    Raises struct.error, IndexError or ValueError for a damaged file.
    """
    boxes = dict(_boxes(data, 0, len(data)))
    if b"moov" in boxes or b"meta" not in boxes:
        return None
    begin, end = boxes[b"meta"]
    found = dict(_boxes(data, begin + 4, end)).get(b"iloc")
    sizes: list[Size] = []
    steps = MOST_STEPS
    for item in _items(data, *found) if found else ():
        if item[:1] == b"\0" and len(item) in (8, 12):  # a grid, not AV1
            sizes.append(struct.unpack_from(">HH" if len(item) == 8 else ">II", item, 4))
            continue
        for kind, payload in _parts(item):
            steps -= 1
            if steps < 0:
                return None
            if kind == _SEQUENCE_HEADER:
                sizes.append(_sequence_size(payload))
    return (max(width for width, _ in sizes), max(height for _, height in sizes)) if sizes else None


def _boxes(data: bytes, at: int, end: int) -> Iterator[tuple[bytes, tuple[int, int]]]:
    """Name and place of the content of each box (ISO 14496-12). One name twice is refused: readers differ in those."""
    seen: set[bytes] = set()
    while at + 8 <= end:
        size, name = struct.unpack_from(">I4s", data, at)
        head = 16 if size == 1 else 8
        size = struct.unpack_from(">Q", data, at + 8)[0] if size == 1 else size or end - at
        if size < head or (name in seen and name in (b"meta", b"iloc")) or len(seen) > MOST_STEPS:
            raise ValueError("a box is damaged")
        seen.add(name)
        yield name, (at + head, min(at + size, end))
        at += size


def _items(data: bytes, at: int, end: int) -> Iterator[bytes]:
    """The content of each item (ISO 14496-12, 8.11.3) that lies in the file in one piece; others raise ValueError."""
    version, sizes = data[at], struct.unpack_from(">H", data, at + 4)[0]
    offset, length, base, index = (sizes >> shift & 15 for shift in (12, 8, 4, 0))
    wide = 4 if version == 2 else 2
    count, at = int.from_bytes(data[at + 6 : at + 6 + wide], "big"), at + 6 + wide
    for _ in range(count):
        at += wide
        if version:
            method, at = data[at + 1] & 15, at + 2
            if method:
                raise ValueError("an item lies outside of the file's data")
        start = int.from_bytes(data[at + 2 : at + 2 + base], "big")
        at += 2 + base
        if struct.unpack_from(">H", data, at)[0] != 1 or at >= end:
            raise ValueError("an item lies in several pieces")
        at += 2 + (index if version else 0)
        start += int.from_bytes(data[at : at + offset], "big")
        size = int.from_bytes(data[at + offset : at + offset + length], "big")
        at += offset + length
        yield data[start : start + size] if size else data[start:]


def _parts(item: bytes) -> Iterator[tuple[int, bytes]]:
    """Kind and content of each open bitstream unit (AV1, 5.3)."""
    at = 0
    while at < len(item):
        head = item[at]
        at += 2 if head & 4 else 1
        size = len(item) - at
        if head & 2:
            size = 0
            for number in range(8):
                size |= (item[at + number] & 127) << 7 * number
                if item[at + number] < 128:
                    break
            at += number + 1
        yield head >> 3 & 15, item[at : at + min(size, 64)]
        at += size


def _sequence_size(header: bytes) -> Size:
    """Of a sequence header (AV1, 5.5). Raises ValueError for one with timing, which pictures do not need."""
    bits, at = int.from_bytes(header, "big"), 8 * len(header)

    def read(count: int) -> int:
        nonlocal at
        at -= count
        if at < 0:
            raise ValueError("the sequence header ends too early")
        return bits >> at & (1 << count) - 1

    read(4)  # profile, still picture
    if read(1):
        read(5)
    else:
        timing, delays = read(1), read(1)
        if timing:
            raise ValueError("timing in a picture")
        for _ in range(1 + read(5)):
            read(12)
            if read(5) > 7:
                read(1)
            if delays and read(1):
                read(4)
    wide, high = 1 + read(4), 1 + read(4)
    return 1 + read(wide), 1 + read(high)
