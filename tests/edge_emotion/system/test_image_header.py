"""Pictures are known by their content, and their size before they are decoded."""

from __future__ import annotations

import io
import os
import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_emotion.errors import SourceError
from edge_emotion.system import opencv_build
from edge_emotion.system.image_files import decode_picture, read_picture
from edge_emotion.system.image_header import files_below, is_picture_file, picture_kind, picture_size

PICTURE = np.random.default_rng(0).integers(0, 256, (31, 47, 3), np.uint8)
ENDINGS = [".jpg", ".png", ".bmp", ".webp", ".tiff"]


def encoded(ending: str, *options: int) -> bytes:
    return cv2.imencode(ending, PICTURE, options)[1].tobytes()


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("name", ["a.jpg", "a", "a.jfif", "a.txt", "two\nlines.png"])
def test_a_picture_is_one_whatever_it_is_called(ending: str, name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(encoded(ending))
    assert is_picture_file(tmp_path / name)
    assert read_picture(tmp_path / name).shape == PICTURE.shape


@pytest.mark.parametrize(
    "data",
    [*map(encoded, ENDINGS), encoded(".webp", cv2.IMWRITE_WEBP_QUALITY, 101),
     encoded(".jpg", cv2.IMWRITE_JPEG_PROGRESSIVE, 1)],
)  # fmt: skip
def test_the_header_has_the_size_of_the_decoded_picture(data: bytes) -> None:
    assert picture_size(data) == (47, 31)


@pytest.mark.parametrize(
    "data", [b"BM is no picture", b"\xff\xd8", b"<p>text", b"\0", b"\0\0\0\x18ftxpisom" + b"\0" * 20]
)
def test_what_is_no_picture_is_none(data: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(data)
    assert not is_picture_file(tmp_path / "a.jpg") and picture_size(data) is None
    with pytest.raises(SourceError, match=r"a\.jpg is not a readable image: give a JPEG, PNG, BMP or WebP"):
        read_picture(tmp_path / "a.jpg")


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def claiming(kind: str, width: int, height: int) -> bytes:
    """A small file whose header has this size."""
    if kind == "PNG":
        header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
        rows = zlib.compressobj()
        packed = rows.compress(bytes(1_000_000)) + rows.flush()
        return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", packed) + chunk(b"IEND", b"")
    data = bytearray(encoded(f".{kind.lower()}"))
    if kind == "JPG":
        at = data.index(b"\xff\xc0")
        data[at + 5 : at + 9] = struct.pack(">HH", height, width)
    if kind == "BMP":
        data[18:26] = struct.pack("<ii", width, -height)
    if kind == "WEBP":
        data = bytearray(b"RIFF\x1e\0\0\0WEBPVP8X\x0a\0\0\0" + bytes(4))
        data += (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little") + b"VP8 \0\0\0\0"
    return bytes(data)


@pytest.mark.parametrize("kind", ["PNG", "JPG", "BMP", "WEBP"])
def test_a_small_file_that_claims_to_be_huge_is_refused_before_it_is_decoded(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "bomb").write_bytes(claiming(kind, 16_000, 12_000))
    monkeypatch.setattr(cv2, "imdecode", None)
    with pytest.raises(SourceError, match=r"bomb has 16000 x 12000 pixels, more than 25 million: make it smaller"):
        read_picture(tmp_path / "bomb")


def jpeg_with_skipped_header(width: int, height: int) -> bytes:
    """FF 00 is no segment to libjpeg: who skips it by a length finds the small header at the end."""
    whole, huge = encoded(".jpg"), claiming("JPG", width, height)
    at = whole.index(b"\xff\xc0")
    small = whole[at : at + 2 + struct.unpack_from(">H", whole, at + 2)[0]]
    return b"\xff\xd8\xff\x00" + struct.pack(">H", len(huge)) + huge[2:] + small + b"\xff\xd9"


def tiff_with_tags(*tags: tuple[int, int]) -> bytes:
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags)
    return b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + bytes(4)


def avif_that_understates(width: int, height: int) -> bytes:
    """Its boxes have another size than the frame that is coded."""
    data = cv2.imencode(".avif", np.zeros((height, width, 3), np.uint8), [cv2.IMWRITE_AVIF_SPEED, 10])[1].tobytes()
    at = data.index(b"ispe")
    return data[: at + 8] + struct.pack(">II", 64, 64) + data[at + 16 :]


def test_a_second_size_in_a_file_does_not_hide_the_one_that_is_decoded() -> None:
    files = {
        "16000 x 12000": [
            jpeg_with_skipped_header(16_000, 12_000),
            tiff_with_tags((256, 16_000), (256, 64), (257, 12_000), (257, 64)),
            tiff_with_tags((256, 64), (257, 64), (322, 16_000), (323, 12_000)),
        ],
        "1100 x 1000": [avif_that_understates(1100, 1000)],
    }
    for size, contents in files.items():
        for data in contents:
            with pytest.raises(SourceError, match=f"a has {size} pixels, more than 1 million"):
                decode_picture(data, "a", 1_000_000)


def test_a_jpeg_of_very_many_scans_is_refused_and_one_of_some_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    data = encoded(".jpg", cv2.IMWRITE_JPEG_PROGRESSIVE, 1)
    last = data[data.rindex(b"\xff\xda") : -2]
    assert decode_picture(data, "a").shape == PICTURE.shape
    monkeypatch.setattr(cv2, "imdecode", None)
    with pytest.raises(SourceError, match="a is a JPEG of more than 100 scans"):
        decode_picture(data[:-2] + last * 100 + b"\xff\xd9", "a")


def test_the_limit_can_be_set(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(encoded(".png"))
    assert read_picture(tmp_path / "a", max_pixels=31 * 47).shape == PICTURE.shape
    with pytest.raises(SourceError, match="more than"):
        read_picture(tmp_path / "a", max_pixels=31 * 47 - 1)


HEIC = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + struct.pack(">I4sIII", 20, b"ispe", 0, 31, 47)


def test_avif_is_read_and_what_opencv_cannot_read_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.avif").write_bytes(encoded(".avif"))
    assert read_picture(tmp_path / "a.avif").shape == PICTURE.shape
    (tmp_path / "IMG_1.HEIC").write_bytes(HEIC)
    with pytest.raises(SourceError, match=r"IMG_1\.HEIC is HEIC, which is not read: give JPEG or PNG"):
        read_picture(tmp_path / "IMG_1.HEIC")
    torn = encoded(".avif")[:300]
    with pytest.raises(SourceError, match="begins as AVIF: is it whole"):
        decode_picture(torn, "a")
    monkeypatch.setattr(opencv_build, "_information", lambda: "    AVIF:      NO\n")
    for kind, data in (("AVIF", torn), ("GIF", b"GIF89a" + b"\x01\0" * 20)):
        with pytest.raises(SourceError, match=f"a is {kind}, which is not read: give JPEG or PNG"):
            decode_picture(data, "a")


OTHERS = {
    "a PDF document": [b"%PDF-1.7\n"],
    "SVG": [
        b"<svg xmlns='x'>",
        b'\xef\xbb\xbf<?xml version="1.0"?>\n<!-- drawn -->\n<svg>',
        b"<!DOCTYPE svg PUBLIC>\n<svg\n",
    ],
    "a video": [
        b"\0\0\0\x18ftypisom" + b"\0" * 20,
        b"\0\0\0\x08wide\0\0\1\0mdat",
        b"\x1aE\xdf\xa3\x01",
        b"RIFF\x10\0\0\0AVI LIST",
        b"FLV\1\5",
        b"OggS\0\2",
        2 * (b"G@\0\x10" + b"\xff" * 184),
        2 * (b"\1\2\3\4G@\0\x10" + b"\xff" * 184),
        b"\0\0\1\xba!",
        b"\0\0\0\1\x67\x42",
        b"\0\0\0\1\x40\1\x0c",
        b"\x30\x26\xb2\x75\x8e\x66\xcf\x11\xa6",
    ],
    "JPEG XL": [b"\xff\x0a\xfa", b"\0\0\0\x0cJXL \r\n"],
    "JPEG 2000": [b"\0\0\0\x0cjP  \r\n", b"\xff\x4f\xff\x51\0"],
    "a Photoshop file": [b"8BPS\0\1"],
    "an icon (ICO)": [b"\0\0\1\0\1\0"],
    "an archive": [b"PK\3\4\x14", b"\x1f\x8b\x08", b"Rar!\x1a\x07", b"7z\xbc\xaf'\x1c"],
    "an HTML page": [b"<!DOCTYPE html>", b"\n<html lang='en'>"],
}


def test_what_people_send_instead_of_a_picture_is_named_and_what_is_empty_is_called_so() -> None:
    for kind, contents in OTHERS.items():
        for data in contents:
            with pytest.raises(SourceError) as error:
                decode_picture(data, "the picture")
            assert str(error.value) == f"the picture is {kind}, which is not read: give JPEG or PNG", data
    with pytest.raises(SourceError, match=r"^the picture is empty \(0 bytes\): give a JPEG, PNG, BMP or WebP$"):
        decode_picture(b"", "the picture")


def test_of_an_animation_the_first_picture_is_read() -> None:
    image = pytest.importorskip("PIL.Image")
    frames = [image.new("RGB", (16, 16), colour) for colour in ("red", "blue")]
    for kind in ("GIF", "WEBP", "PNG"):
        frames[0].save(file := io.BytesIO(), kind, save_all=True, append_images=frames[1:])
        blue, _, red = decode_picture(file.getvalue(), "a")[8, 8]
        assert red > 240 and blue < 15


def test_what_never_ends_is_not_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    for path in (tmp_path / "pipe.jpg", Path("/dev/zero")):
        assert not is_picture_file(path)
        with pytest.raises(SourceError, match="it is no file"):
            read_picture(path)


def test_folders_are_walked_once_each_through_links(tmp_path: Path) -> None:
    more = tmp_path / "elsewhere"
    more.mkdir()
    (more / "m.png").write_bytes(b"")
    inside = tmp_path / "set" / "happiness"
    inside.mkdir(parents=True)
    (inside / "1.png").write_bytes(b"")
    (inside / ".hidden.png").write_bytes(b"")
    (inside / "more").symlink_to(more)
    (inside / "loop").symlink_to(inside)
    (inside / "broken").symlink_to(tmp_path / "gone")
    found = [str(path.relative_to(tmp_path / "set")) for path in files_below(tmp_path / "set")]
    assert found == ["happiness/1.png", "happiness/broken", "happiness/more/m.png"]


@given(st.sampled_from([encoded(ending) for ending in ENDINGS]), st.data())
def test_a_damaged_header_raises_nothing(data: bytes, draw: st.DataObject) -> None:
    damaged = bytearray(data[: draw.draw(st.integers(0, len(data)))])
    for _ in range(min(4, len(damaged))):
        damaged[draw.draw(st.integers(0, min(len(damaged), 64) - 1))] = draw.draw(st.integers(0, 255))
    size = picture_size(bytes(damaged))
    assert size is None or (picture_kind(bytes(damaged[:32])) is not None and min(size) >= 0)


@given(
    st.sampled_from([b"\xff\xd8\xff", b"II*\0", b"MM\0*", b"RIFF....WEBP", b"\0\0\0\x18ftypavif"]),
    st.binary(max_size=80),
)
def test_any_bytes_raise_nothing(magic: bytes, rest: bytes) -> None:
    picture_size(magic + rest)
