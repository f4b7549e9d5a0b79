"""Kind and size of a picture file from its first bytes, before anything is decoded. File names do not count."""

from __future__ import annotations

import os
import re
import stat
import struct
from collections.abc import Callable, Iterator
from pathlib import Path

from edge_emotion.system.av1_size import av1_size

MAX_PIXELS = 25_000_000
"""Largest picture that is decoded unless told otherwise: 75 MB in memory."""

MAX_SCANS, MAX_SEGMENTS = 100, 10_000
"""Most of a JPEG: progressive ones have some ten scans, with a few segments each."""

_HEAD, _LONG_HEAD = 32, 2048
_START_OF_FRAME = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_NO_LENGTH = frozenset({0x01})
_START_OF_SCAN, _END_OF_IMAGE = 0xDA, 0xD9
_MARKER = re.compile(rb"\xff+([^\x00\xff\xd0-\xd7])", re.DOTALL)
"""Without restarts, which stand in the data of a scan."""

Size = tuple[int, int]


def is_picture_file(path: Path) -> bool:
    """True for a regular file that begins as a picture does."""
    return picture_kind(_beginning(path, _HEAD)) is not None


def is_recording_file(path: Path) -> bool:
    """True for a regular file that begins as a video does. An animation (GIF) is a picture here."""
    data = _beginning(path, _LONG_HEAD)
    return picture_kind(data[:_HEAD]) is None and other_kind(data) == _VIDEO


def _beginning(path: Path, size: int) -> bytes:
    """The first bytes of a regular file; nothing of what cannot be read."""
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            return b""
        with path.open("rb") as file:
            return file.read(size)
    except (OSError, ValueError):
        return b""


def picture_kind(data: bytes) -> str | None:
    """'JPEG', 'PNG', 'BMP', 'WebP', 'GIF', 'TIFF', 'PNM', 'AVIF' or 'HEIC' by the first 32 bytes; else None."""
    if data.startswith((b"RIFF",)) and data[8:12] == b"WEBP":
        return "WebP"
    if data[4:8] == b"ftyp":
        brands = {data[8:12], *(data[at : at + 4] for at in range(16, 32, 4))}
        return "AVIF" if brands & {b"avif", b"avis"} else "HEIC" if brands & _HEIC else None
    if _PNM.match(data[:3]):
        return "PNM"
    kind = next((kind for magic, kind in _MAGIC.items() if data.startswith(magic)), None)
    return None if kind == "BMP" and data[14:18] not in _BMP_HEADERS else kind


_MAGIC = {
    b"\xff\xd8\xff": "JPEG",
    b"\x89PNG\r\n\x1a\n": "PNG",
    b"BM": "BMP",
    b"GIF87a": "GIF",
    b"GIF89a": "GIF",
    b"II*\x00": "TIFF",
    b"MM\x00*": "TIFF",
}


_PNM = re.compile(rb"P[2356]\s")
_PNM_SIZE = re.compile(rb"P[2356]\s+(?:#[^\n]*\n\s*)*([0-9]{1,9})\s+(?:#[^\n]*\n\s*)*([0-9]{1,9})\s")
_HEIC = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"}
_BMP_HEADERS = frozenset(struct.pack("<I", size) for size in (12, 40, 52, 56, 64, 108, 124))


_VIDEO = "a video"
_VIDEO_BEGINNING = re.compile(
    rb".{4}(?:ftyp|moov|mdat|wide|free|skip)|\x1aE\xdf\xa3|RIFF.{4}AVI |FLV\x01|OggS"  # MP4, Matroska, AVI, Flash, Ogg
    rb"|\x47.{187}\x47|.{4}\x47.{191}\x47|\0\0\x01[\xb3\xba]"  # MPEG-2: transport streams, elementary, program
    rb"|\0?\0\0\x01(?:[\x09\x27\x67]|[\x40\x46]\x01)"  # H.264 and H.265 without a container
    rb"|\x30\x26\xb2\x75\x8e\x66\xcf\x11",  # ASF (Windows Media)
    re.DOTALL,
)


_OTHER: tuple[tuple[re.Pattern[bytes], str], ...] = (
    (re.compile(rb"%PDF-"), "a PDF document"),
    (re.compile(rb"\xff\x0a|\0\0\0\x0cJXL "), "JPEG XL"),
    (re.compile(rb"\xff\x4f\xff\x51|\0\0\0\x0cjP  "), "JPEG 2000"),
    (re.compile(rb"8BPS"), "a Photoshop file"),
    (re.compile(rb"\0\0\x01\0"), "an icon (ICO)"),
    (_VIDEO_BEGINNING, _VIDEO),
    (re.compile(rb"PK\x03\x04|PK\x05\x06|\x1f\x8b|7z\xbc\xaf|Rar!"), "an archive"),
    (re.compile(rb"\s*(?:<\?xml.*|<!DOCTYPE svg.*|<!--.*)?<svg[\s>]", re.DOTALL), "SVG"),
    (re.compile(rb"\s*<(?:!doctype html|html)[\s>]", re.IGNORECASE), "an HTML page"),
)


def other_kind(data: bytes) -> str | None:
    """What people send that is none of ``picture_kind``, with its article: 'SVG', 'a PDF document'; else None."""
    begin = data[:_LONG_HEAD].removeprefix(b"\xef\xbb\xbf")
    return next((kind for pattern, kind in _OTHER if pattern.match(begin)), None)


def picture_size(data: bytes) -> Size | None:
    """Width and height in pixels that the header of a picture holds; None if there is no such header."""
    kind = picture_kind(data[:_HEAD])
    try:
        return None if kind is None else _SIZES[kind](data)
    except (struct.error, IndexError, ValueError):
        return None


def files_below(folder: Path) -> Iterator[Path]:
    """The files below a folder in the order of their names. Links are followed, each folder once; no hidden names."""
    seen: set[tuple[int, int]] = set()
    for place, folders, files in os.walk(folder, followlinks=True):
        status = Path(place).stat()
        new = (status.st_dev, status.st_ino) not in seen
        seen.add((status.st_dev, status.st_ino))
        folders[:] = sorted(name for name in folders if new and not name.startswith("."))
        yield from (Path(place, name) for name in sorted(files) if new and not name.startswith("."))


def _jpeg(data: bytes) -> Size | None:
    """The first start of frame; segments before it, with thumbnails in them, are skipped by their lengths."""
    for marker, at in _jpeg_segments(data):
        if marker in _START_OF_FRAME:
            height, width = struct.unpack_from(">HH", data, at + 3)
            return width, height
    return None


def _jpeg_segments(data: bytes) -> Iterator[tuple[int, int]]:
    """Marker of each segment up to the end of the picture, and the place of its length.

    Bytes between segments are skipped exactly as libjpeg does: else a file could show us one size and libjpeg another.
    """
    at = 2
    while found := _MARKER.search(data, at):
        marker, at = found[1][0], found.end()
        if marker == _END_OF_IMAGE:
            return
        if marker not in _NO_LENGTH:
            yield marker, at
            at += max(2, struct.unpack_from(">H", data, at)[0])


def too_many_scans(data: bytes) -> bool:
    """True for a JPEG of more than MAX_SCANS scans: each costs a pass over all pixels, and takes only some bytes."""
    if picture_kind(data[:_HEAD]) != "JPEG":
        return False
    scans = 0
    try:
        for number, (marker, _) in enumerate(_jpeg_segments(data)):
            scans += marker == _START_OF_SCAN
            if scans > MAX_SCANS or number > MAX_SEGMENTS:
                return True
    except struct.error:  # its end is missing
        pass
    return False


def _png(data: bytes) -> Size | None:
    width, height = struct.unpack_from(">II", data, 16)
    return (width, height) if data[12:16] == b"IHDR" else None


def _bmp(data: bytes) -> Size:
    if struct.unpack_from("<I", data, 14)[0] == 12:
        width, height = struct.unpack_from("<HH", data, 18)
    else:
        width, height = struct.unpack_from("<ii", data, 18)
    return abs(width), abs(height)


def _gif(data: bytes) -> Size:
    width, height = struct.unpack_from("<HH", data, 6)
    return width, height


def _pnm(data: bytes) -> Size | None:
    found = _PNM_SIZE.match(data[:4096])
    return (int(found[1]), int(found[2])) if found else None


def _webp(data: bytes) -> Size | None:
    """The canvas of the extended form, else the one picture; lossy and lossless have headers of their own."""
    if data[12:16] == b"VP8X":
        return 1 + int.from_bytes(data[24:27], "little"), 1 + int.from_bytes(data[27:30], "little")
    if data[12:16] == b"VP8L":
        bits = struct.unpack_from("<I", data, 21)[0]
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    width, height = struct.unpack_from("<HH", data, 26)
    return (width & 0x3FFF, height & 0x3FFF) if data[12:16] == b"VP8 " else None


_TIFF_SIZE, _TIFF_TILE = (256, 257), (322, 323)
"""Tags of the width and height of the picture, and of a tile, which a reader holds as a whole."""


def _tiff(data: bytes) -> Size | None:
    """Of the picture, or of a tile if that is larger."""
    order = "<" if data[:2] == b"II" else ">"
    at = struct.unpack_from(order + "I", data, 4)[0]
    found: dict[int, int] = {}
    for number in range(struct.unpack_from(order + "H", data, at)[0]):
        entry = at + 2 + 12 * number
        tag, kind = struct.unpack_from(order + "HH", data, entry)
        if tag in (*_TIFF_SIZE, *_TIFF_TILE):
            size = struct.unpack_from(order + ("H" if kind == 3 else "I"), data, entry + 8)[0]
            found[tag] = max(size, found.get(tag, 0))  # of a tag twice, readers take one or the other
    sizes = [(found[wide], found[high]) for wide, high in (_TIFF_SIZE, _TIFF_TILE) if wide in found and high in found]
    return max(sizes, key=_area) if _TIFF_SIZE[0] in found and _TIFF_SIZE[1] in found else None


def _heif(data: bytes) -> Size | None:
    """The largest of the picture's spatial extents: of all tiles and of the whole."""
    sizes = []
    at = data.find(b"ispe")
    while at >= 0:
        sizes.append(struct.unpack_from(">II", data, at + 8))
        at = data.find(b"ispe", at + 4)
    return max(sizes, key=_area, default=None)


def _area(size: Size) -> int:
    return size[0] * size[1]


def _avif(data: bytes) -> Size | None:
    """The larger one of what the boxes say and of what the decoder finds."""
    told, coded = _heif(data), av1_size(data)
    return None if told is None or coded is None else max(told, coded, key=_area)


_SIZES: dict[str, Callable[[bytes], Size | None]] = {
    "JPEG": _jpeg,
    "PNG": _png,
    "BMP": _bmp,
    "GIF": _gif,
    "WebP": _webp,
    "TIFF": _tiff,
    "PNM": _pnm,
    "AVIF": _avif,
    "HEIC": _heif,
}
