"""No credential of a source is ever shown, whatever characters it has and wherever it stands."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import quote

import cv2
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.source_fakes import fake_video_capture

from edge_emotion.cli.main import main
from edge_emotion.config.redaction import hide, redact
from edge_emotion.errors import SourceError
from edge_emotion.sources.opencv import OpenCvSource

SECRETS = [
    "geheim", "ge heim", "ge'heim", 'ge"heim', "ge@heim", "ge/heim", "ge?heim", "ge#heim", "ge:heim", "ge&heim",
    "ge=heim", "ge%20heim", "ge;heim", "ge!heim", "ge\\heim", "ge[heim]",
    "p\u00e4ss w\u00f6rd", "<ge>heim", "ge,heim", "$geheim",
]  # fmt: skip


@pytest.mark.parametrize(
    ("source", "shown"),
    [
        (0, "0"),
        ("clip.mp4", "clip.mp4"),
        ("udp://@:5000", "udp://@:5000"),
        ("rtsp://admin:geheim@10.0.0.7:554/live", "rtsp://***@10.0.0.7:554/live"),
        ("rtsp://admin:ge@heim@10.0.0.7/live", "rtsp://***@10.0.0.7/live"),
        ("rtsp://admin:ge/heim@10.0.0.7/live", "rtsp://***@10.0.0.7/live"),
        ("http://10.0.0.7/cgi?usr=me&pwd=geheim&channel=1", "http://10.0.0.7/cgi?usr=***&pwd=***&channel=1"),
        ("http://10.0.0.7/?psk=geheim&p=12&x=1", "http://10.0.0.7/?psk=***&p=***&x=***"),
        ("http://10.0.0.7/snap?geheim", "http://10.0.0.7/snap?***"),
        ("http://10.0.0.7/api/9f8e7d6c5b4a39281706/live", "http://10.0.0.7/api/***/live"),
        ("http://10.0.0.7/0f9c1e5a-4b5d-4c3e-9d2a-7e6f5a4b3c2d", "http://10.0.0.7/***"),
        ("rtsp://cam/h264Preview_01_main", "rtsp://cam/h264Preview_01_main"),
        ("rtsp://a/user=me_password=ge_heim_channel=1.sdp", "rtsp://a/user=***_password=***_channel=1.sdp"),
        ("http://a/?user=me@home.org&pwd=geheim", "http://a/?user=***&pwd=***"),
        ("http://a:80/?user=me@home.org&pwd=geheim", "http://***"),
        ("rtsp://a:80/gehe?im=1@cam/live", "rtsp://***"),
        ("http://a/?access_token=geheim", "http://a/?access_token=***"),
        ("rtspsrc user-id=me user-pw='ge heim' ! appsink", "rtspsrc user-id=*** user-pw=*** ! appsink"),
        ("rtspsrc location=rtsp://a:geheim@b/c ! appsink", "rtspsrc location=rtsp://***@b/c ! appsink"),
        ('rtspsrc location="rtsp://a:ge heim@b/c" ! appsink', 'rtspsrc location="rtsp://***@b/c" ! appsink'),
        ("rtsp://camera.local/stream?channel=1", "rtsp://camera.local/stream?channel=1"),
    ],
)
def test_a_source_is_shown_without_its_credentials(source: int | str, shown: str) -> None:
    assert redact(source) == shown


PLACES = ["rtsp://admin:{}@10.0.0.7/live", "http://{}:x@cam/", "http://cam/view?psk={}", "http://cam/?a=1&p={}&b=2"]


@pytest.mark.parametrize("secret", SECRETS)
@pytest.mark.parametrize("place", PLACES)
def test_no_part_of_a_secret_is_left(secret: str, place: str) -> None:
    for written in (secret, quote(secret, safe="")):
        source = place.format(written)
        if "?" in place and set(written) & set("&;#"):
            continue  # these end a parameter: not what the address means
        assert "heim" not in redact(source).replace("http", "")
        assert "heim" not in hide(f"cannot open {source!r}, tried {secret} and {written}", source)


@given(st.text(min_size=4), st.text(min_size=1))
def test_any_password_is_hidden(password: str, user: str) -> None:
    source = f"rtsp://{user}:{password}@10.0.0.7/live"
    assert redact(source) == "rtsp://***@10.0.0.7/live"
    assert source not in hide(f"cannot open {source}", source)


@pytest.mark.parametrize("secret", SECRETS)
def test_errors_of_opencv_are_shown_without_the_secret(secret: str, monkeypatch: pytest.MonkeyPatch) -> None:
    address = f"rtsp://admin:{secret}@127.0.0.1/live"

    def script(_number: int) -> tuple[bool, object]:
        raise cv2.error(f"could not open {address} with password {secret}")

    fake_video_capture(monkeypatch, script)
    source = OpenCvSource(address)
    with pytest.raises(SourceError, match="cannot open") as caught:
        source.open()
    assert "heim" not in f"{caught.value} {source!r}" and "w\u00f6rd" not in str(caught.value)


def test_check_config_shows_no_secret(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = [f"  c{n}: {{source: {quoted(f'rtsp://admin:{secret}@cam/1')}}}" for n, secret in enumerate(SECRETS)]
    file = tmp_path / "edge-emotion.yaml"
    file.write_text("\n".join(["cameras:", *lines, "jsonl: {}", "mqtt: {username: me, password: geheim}"]))
    assert main(["check-config", "--config", str(file)]) == 0
    out, err = capsys.readouterr()
    assert out.count("rtsp://***@cam/1") == len(SECRETS)
    assert "heim" not in out + err and "w\u00f6rd" not in out + err


def quoted(text: str) -> str:
    """A text within single quotes of YAML."""
    return "'" + text.replace("'", "''") + "'"
