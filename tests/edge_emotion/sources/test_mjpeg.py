"""MJPEG over HTTP: parts of every form, and parts that would fill the memory."""

from __future__ import annotations

import io
import math
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress

import cv2
import pytest
from support.source_fakes import mjpeg_server, picture, read_until_error

from edge_emotion.errors import SourceError
from edge_emotion.sources.http_camera import HttpSource
from edge_emotion.sources.http_request import MAX_PICTURE
from edge_emotion.sources.mjpeg import PartReader

pytestmark = pytest.mark.usefixtures("nothing_is_left_behind")

HEADERS = b"HTTP/1.1 200 OK\r\nContent-Type: multipart/x-mixed-replace; boundary=x\r\n\r\n"


def parts(body: bytes) -> list[bytes]:
    reader = PartReader(io.BytesIO(body))
    return list(iter(lambda: reader.next(math.inf), None))


@contextmanager
def camera(send: Callable[[Callable[[bytes], object]], None], headers: bytes = HEADERS) -> Iterator[str]:
    """A server that gives each client the headers and whatever ``send`` writes, until the client has gone."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        with suppress(OSError):
            while True:
                client = listener.accept()[0]
                with client, suppress(OSError):
                    client.recv(65_536)
                    client.sendall(headers)
                    send(client.sendall)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/"
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join()


def jpeg(number: int = 1) -> bytes:
    return cv2.imencode(".jpg", picture(number))[1].tobytes()


def test_parts_end_by_their_length_or_by_the_delimiter() -> None:
    sized = b"--x\r\nContent-Length: 9\r\n\r\n12\r\n--x\r\n\r\n--x\r\nContent-Type: image/jpeg\r\n\r\nabc\r\n--x--\r\n"
    assert parts(sized) == [b"12\r\n--x\r\n", b"abc\r\n"]


@pytest.mark.parametrize("delimiter", [b"--x", b"--", b"----x", b"--x y"])
def test_the_delimiter_is_the_one_that_is_sent(delimiter: bytes) -> None:
    body = b"preamble\r\n" + 2 * (delimiter + b"\r\n\r\nab\n--c\r\n") + delimiter + b"\r\n"
    assert parts(body)[0].startswith(b"ab")


def test_parts_of_another_type_are_passed_over() -> None:
    text = b"--x\r\nContent-Type: text/plain\r\n\r\nmotion\r\n"
    assert parts(text + b"--x\nContent-Type: IMAGE/jpeg\n\nabc\n--x\n" + b"Content-Type: text/xml\n\na\n--x--") == [
        b"abc\n"
    ]


@pytest.mark.parametrize(
    "body",
    [
        b"--x\r\nContent-Length: 2147483648\r\n\r\n",
        b"--x\r\nContent-Length: " + b"9" * 4000 + b"\r\n\r\n",
        b"--x\r\n" + 100 * b"a: b\r\n" + b"\r\n",
    ],
)
def test_a_part_that_claims_too_much_is_refused_before_it_is_read(body: bytes) -> None:
    with pytest.raises(SourceError, match=r"it sends a (picture of more than 16 MiB|part with more than 64 headers)"):
        parts(body)


PICTURE = b"--x\r\nContent-Type: image/jpeg\r\n\r\n\xff\xd8\xff"


@pytest.mark.parametrize(
    ("headers", "begin"),
    [
        (HEADERS, PICTURE),
        (HEADERS.replace(b"multipart/x-mixed-replace", b"application/octet-stream"), PICTURE),
        (HEADERS.replace(b"multipart/x-mixed-replace", b"video/x-motion-jpeg"), b"\xff\xd8\xff\xe0"),
        (HEADERS, b"--x\r\nContent-Type: image/jpeg\r\nContent-Length: 2147483647\r\n\r\n"),
        (HEADERS, b"--x\r\nContent-Type: text/plain\r\n\r\n"),
        (HEADERS, b"no delimiter"),
    ],
    ids=["no end", "of an unknown type", "without parts", "2 GB", "text without end", "nothing but a preamble"],
)
def test_a_part_without_an_end_is_refused_before_it_fills_the_memory(headers: bytes, begin: bytes) -> None:
    sent = [0]

    def endless(send: Callable[[bytes], object]) -> None:
        send(begin)
        while sent[0] < 20 * MAX_PICTURE:
            send(b"\n" + 65_535 * b"a")
            sent[0] += 65_536

    with camera(endless, headers) as address:
        source = HttpSource(address)
        with pytest.raises(SourceError, match=r"cannot open stream http://.* sends a picture of more than 16 MiB"):
            source.open()
        source.close()
    assert sent[0] < 3 * MAX_PICTURE, "two connections, each with what the network holds"


def test_another_picture_of_an_unknown_type_is_a_snapshot_and_may_not_be_endless() -> None:
    def endless(write: Callable[[bytes], object]) -> None:
        write(cv2.imencode(".png", picture(1))[1].tobytes()[:100])
        while True:
            write(65_536 * b"a")

    with camera(endless, HEADERS.replace(b"multipart/x-mixed-replace", b"video/x-pictures")) as address:
        source = HttpSource(address, fps=100)
        source.open()
        with pytest.raises(SourceError, match="sends more than 16 MiB"):
            source.read()
        source.close()


@pytest.mark.parametrize("size", [1, 7, 100_000])
def test_pictures_without_parts_are_told_apart(size: int) -> None:
    class Slow(io.BytesIO):
        def read1(self, _: int | None = -1) -> bytes:
            return super().read1(size)

    pictures = [jpeg(number) for number in range(3)]
    reader = PartReader(Slow(b"".join(pictures)))
    assert list(iter(lambda: reader.next(math.inf), None)) == pictures


def test_a_stream_without_parts_is_played_and_a_lone_picture_is_a_snapshot() -> None:
    def send(write: Callable[[bytes], object]) -> None:
        for number in range(1000):
            write(jpeg(number % 100))

    headers = HEADERS.replace(b"multipart/x-mixed-replace; boundary=x", b"application/octet-stream")
    with camera(send, headers) as address:
        source = HttpSource(address)
        source.open()
        assert [source.read().sequence for _ in range(3)] == [0, 1, 2]
        source.close()
    length = b"Content-Length: %d\r\n\r\n" % len(jpeg())
    with camera(lambda write: write(jpeg()), headers[:-2] + length) as address:
        source = HttpSource(address, fps=100)
        source.open()
        assert [source.read().sequence for _ in range(3)] == [0, 1, 2]
        source.close()


def test_a_picture_of_too_many_pixels_is_not_decoded() -> None:
    huge = bytearray(jpeg())
    at = huge.index(b"\xff\xc0")
    huge[at + 5 : at + 9] = b"\xfd\xe8\xfd\xe8"  # 65,000 x 65,000

    def send(write: Callable[[bytes], object]) -> None:
        for _ in range(20):
            write(b"--x\r\nContent-Length: %d\r\n\r\n" % len(huge) + huge + b"\r\n")

    with camera(send) as address, pytest.raises(SourceError, match="65000 x 65000 pixels, more than 25 million"):
        HttpSource(address).open()


def test_a_broken_picture_is_passed_over_and_a_stream_of_them_is_lost() -> None:
    with mjpeg_server() as server:
        source = HttpSource(server.url)
        source.open()
        server.corrupt.set()
        timer = threading.Timer(0.1, server.corrupt.clear)
        timer.start()
        for _ in range(4):
            assert source.read().image.shape == (48, 64, 3)
        timer.join()
        server.corrupt.set()
        _, error = read_until_error(source)
        source.close()
    assert "is lost: a picture of http://127.0.0.1" in str(error) and "is not a readable image" in str(error)


def test_a_slow_part_ends_at_the_time_out_and_the_stream_can_be_opened_again() -> None:
    slow, stop = threading.Event(), threading.Event()
    slow.set()

    def send(write: Callable[[bytes], object]) -> None:
        write(b"--x\r\nContent-Length: 9999\r\n\r\n" if slow.is_set() else b"--x\r\n\r\n" + jpeg() + b"\r\n--x\r\n")
        while not stop.wait(0.05):
            write(b"a")

    with camera(send) as address, ExitStack() as stack:
        stack.callback(stop.set)
        source = HttpSource(address, open_timeout=1.0, read_timeout=0.5)
        with pytest.raises(SourceError, match=r"gave no frame in 1\.0 s"):
            source.open()
        slow.clear()
        source.open()
        source.close()


def test_closing_ends_the_wait_for_a_part() -> None:
    with mjpeg_server() as server:
        source = HttpSource(server.url, read_timeout=3)
        source.open()
        server.frozen.set()
        timer = threading.Timer(0.1, source.close)
        timer.start()
        _, error = read_until_error(source)
        timer.join()
    assert "closed" in str(error)
