"""What people have as http:// address of a camera: a stream, HLS, a file, a snapshot, a page, a password."""

from __future__ import annotations

import base64
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from pathlib import Path

import cv2
import numpy as np
import pytest
from support.source_fakes import MjpegServer, picture, read_until_error

from edge_emotion.config.settings import CameraSettings
from edge_emotion.datatypes import Frame
from edge_emotion.errors import SourceEnded, SourceError
from edge_emotion.factory.cameras import make_source
from edge_emotion.sources.http_camera import HttpSource, SnapshotSource

pytestmark = pytest.mark.usefixtures("nothing_is_left_behind")

Answer = tuple[int, str, bytes, dict[str, str]]
Serve = Callable[[Callable[[BaseHTTPRequestHandler], Answer]], str]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Start a server whose every answer (status, content type, body, headers) a function gives; returns its address."""
    servers: list[tuple[ThreadingHTTPServer, threading.Thread]] = []

    def start(answer: Callable[[BaseHTTPRequestHandler], Answer]) -> str:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                status, kind, body, headers = answer(self)
                self.send_response(status)
                for name, value in {"Content-Type": kind, "Content-Length": str(len(body)), **headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        server.daemon_threads = True
        server.handle_error = lambda *_: None  # type: ignore[method-assign]
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        servers.append((server, thread))
        return f"127.0.0.1:{server.server_port}"

    yield start
    for server, thread in servers:
        server.shutdown()
        server.server_close()
        thread.join()


def jpeg(number: int) -> bytes:
    return cv2.imencode(".jpg", picture(number))[1].tobytes()


def test_a_snapshot_is_requested_again_and_again(serve: Serve) -> None:
    numbers = count(1)
    host = serve(lambda request: (200, "image/jpeg", jpeg(10 * next(numbers)), {}))
    source = make_source(CameraSettings(source=f"http://{host}/snapshot.jpg", fps=20))
    begin = time.monotonic()
    source.open()
    frames = [source.read() for _ in range(4)]
    source.close()
    assert source.live
    assert [frame.sequence for frame in frames] == [0, 1, 2, 3]
    means = [frame.image.mean() for frame in frames]
    assert means == sorted(means) and means[3] - means[0] > 5
    assert all(frame.timestamp - begin >= 0.05 * n for n, frame in enumerate(frames)), "one in a twentieth of a second"


def test_a_snapshot_that_is_not_due_is_not_requested(serve: Serve) -> None:
    requests: list[str] = []
    host = serve(lambda request: (requests.append(request.path) or 200, "image/jpeg", jpeg(1), {}))
    source = SnapshotSource(f"http://{host}/s", fps=100, timeout=4)
    source.open()
    assert source.read_due(lambda timestamp: False) is None and not requests
    assert source.read_due(lambda timestamp: True) is not None and requests == ["/s"]


def test_a_snapshot_that_is_huge_or_no_picture_is_refused(serve: Serve) -> None:
    host = serve(lambda request: (200, "image/png", b"no picture", {}))
    source = HttpSource(f"http://{host}/s")
    source.open()
    with pytest.raises(SourceError, match="is not a readable image"):
        source.read()


@pytest.mark.parametrize(
    ("length", "sent", "words"),
    [("9999", 100, "sent 100 of 9999 bytes"), (str(2**31), 0, "sends more than 16 MiB"), (None, 2**25, "than 16 MiB")],
)
def test_a_snapshot_that_ends_early_or_never_is_refused(
    length: str | None, sent: int, words: str, serve: Serve
) -> None:
    def answer(request: BaseHTTPRequestHandler) -> Answer:
        return 200, "image/jpeg", bytes(sent), {"Content-Length": length} if length else {"X": "y"}

    source = SnapshotSource(f"http://{serve(answer)}/s", fps=100, timeout=1)
    source.open()
    with pytest.raises(SourceError, match=words):
        source.read()


def transport_stream(path: Path, first: int) -> bytes:
    """A second of video, 25 frames, that can be played while it is received."""
    writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*"MPG2"), 25.0, (64, 48))
    assert writer.isOpened()
    for number in range(first, first + 25):
        writer.write(picture(number))
    writer.release()
    return path.read_bytes()


def test_a_file_on_a_server_is_a_file(serve: Serve, tmp_path: Path) -> None:
    video = transport_stream(tmp_path / "a.ts", 0)
    host = serve(lambda request: (200, "video/mp2t", video, {}))
    source = make_source(CameraSettings(source=f"http://{host}/a.ts", realtime=False, read_timeout=20))
    source.open()
    frames, error = read_until_error(source)
    source.close()
    assert isinstance(error, SourceEnded) and len(frames) == 25
    assert np.diff([frame.timestamp for frame in frames]) == pytest.approx(1 / 25, abs=0.001)


@pytest.mark.parametrize("kind", ["text/html; charset=utf-8", "application/json"])
def test_a_page_is_explained(kind: str, serve: Serve) -> None:
    host = serve(lambda request: (200, kind, b"<html>", {}))
    with pytest.raises(SourceError, match=r"is a page \(.*\), no camera: give the address of its stream or snapshot"):
        HttpSource(f"http://{host}/").open()


@pytest.mark.parametrize("password", ["ge[heim", "[::1", "ge/heim", "ge heim"])
def test_a_password_that_breaks_the_address_is_one_line_without_it(password: str) -> None:
    with pytest.raises(SourceError) as caught:
        HttpSource(f"http://admin:{password}@127.0.0.1:9/live", open_timeout=3).open()
    assert "heim" not in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(("status", "advice"), [(401, "check user and password"), (404, "check the address")])
def test_a_refusal_is_explained_without_the_password(status: int, advice: str, serve: Serve) -> None:
    host = serve(lambda request: (status, "text/html", b"", {}))
    with pytest.raises(SourceError, match=rf"answers {status} .*{advice}") as caught:
        HttpSource(f"http://admin:geheim@{host}/").open()
    assert "geheim" not in str(caught.value)


def test_a_snapshot_behind_a_password_is_read(serve: Serve) -> None:
    wanted = "Basic " + base64.b64encode(b"admin:p@ss/1").decode()

    def answer(request: BaseHTTPRequestHandler) -> Answer:
        if request.headers["Authorization"] == wanted:
            return 200, "image/jpeg", jpeg(1), {}
        return 401, "text/html", b"", {"WWW-Authenticate": 'Basic realm="camera"'}

    source = HttpSource(f"http://admin:p%40ss%2F1@{serve(answer)}/s")
    source.open()
    assert source.read().image.shape[2] == 3
    source.close()


def test_a_camera_cannot_send_us_to_another_host(serve: Serve) -> None:
    host = serve(lambda request: (302, "text/html", b"", {"Location": "http://localhost:1/stolen"}))
    with pytest.raises(SourceError, match="redirects to another host"):
        HttpSource(f"http://admin:geheim@{host}/").open()


def test_a_video_that_moves_to_another_host_later_does_not_take_the_password_there(serve: Serve) -> None:
    """FFmpeg, which reads videos, follows the redirect."""
    stolen: list[str | None] = []

    def thief(request: BaseHTTPRequestHandler) -> Answer:
        stolen.append(request.headers["Authorization"])
        return 401, "text/html", b"", {"WWW-Authenticate": 'Basic realm="camera"'}

    other = serve(thief).replace("127.0.0.1", "localhost")
    requests = count()

    def moves(request: BaseHTTPRequestHandler) -> Answer:
        if next(requests):
            return 302, "text/html", b"", {"Location": f"http://{other}/"}
        return 200, "video/mp2t", b"G", {}

    with pytest.raises(SourceError, match="cannot open stream"):
        HttpSource(f"http://admin:geheim@{serve(moves)}/", open_timeout=5).open()
    assert stolen and not any(stolen)


def test_a_stream_is_played_as_before() -> None:
    server = MjpegServer()
    try:
        source = make_source(CameraSettings(source=server.url))
        source.open()
        assert [source.read().sequence for _ in range(3)] == [0, 1, 2]
        source.close()
    finally:
        server.stop()


def test_hls_is_played_at_its_own_speed(serve: Serve, tmp_path: Path) -> None:
    """Three segments of a second, which a server has at once: the frames come as far apart as they were filmed."""
    names = [f"s{n}.ts" for n in range(3)]
    segments = {name: transport_stream(tmp_path / name, 25 * n) for n, name in enumerate(names)}
    lines = ["#EXTM3U", "#EXT-X-TARGETDURATION:1", "#EXT-X-PLAYLIST-TYPE:VOD"]
    lines += [line for name in names for line in ("#EXT-X-DISCONTINUITY", "#EXTINF:1.0,", name)]
    files: dict[str, Answer] = {f"/{name}": (200, "video/mp2t", segments[name], {}) for name in names}
    playlist = "\n".join([*lines, "#EXT-X-ENDLIST", ""]).encode()
    files["/live.m3u8"] = (200, "application/vnd.apple.mpegurl", playlist, {})
    source = HttpSource(f"http://{serve(lambda request: files[request.path])}/live.m3u8")
    source.open()
    frames: list[Frame] = []

    def five_a_second(timestamp: float) -> bool:
        """As a capture thread asks; no frame may be left out because it came in a lump."""
        return not frames or timestamp >= frames[-1].timestamp + 0.2

    with pytest.raises(SourceError) as caught:
        while True:
            frame = source.read_due(five_a_second)
            frames += [] if frame is None else [frame]
    source.close()
    assert not isinstance(caught.value, SourceEnded), "a stream that ends is a lost camera"
    assert len(frames) >= 60
    assert frames[-1].timestamp - frames[0].timestamp == pytest.approx(len(frames) / 25, rel=0.1)


def test_closing_ends_the_wait_for_a_snapshot(serve: Serve) -> None:
    host = serve(lambda request: (200, "image/jpeg", jpeg(1), {}))
    source = HttpSource(f"http://{host}/s", fps=0.01)
    source.open()
    source.read()
    timer = threading.Timer(0.1, source.close)
    timer.start()
    with pytest.raises(SourceError, match="was closed while reading"):
        source.read()
    timer.join()
