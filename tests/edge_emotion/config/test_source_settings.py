"""What a source setting means, and how it is shown."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge_emotion.config.source_spec import classify_source, picamera2_index, redact

pytestmark = pytest.mark.filterwarnings("error")


@pytest.mark.parametrize(
    ("source", "kind"),
    [
        (0, "device"),
        ("0", "device"),
        ("12", "device"),
        ("/dev/video2", "device"),
        ("/dev/v4l/by-id/usb-046d_C270-video-index0", "device"),
        ("rtsp://camera.local/stream1", "stream"),
        ("rtsps://user:pass@10.0.0.7:322/1", "stream"),
        ("RTSP://camera.local/1", "stream"),
        ("http://10.0.0.7:8080/?action=stream", "stream"),
        ("https://camera.local/live.jpg", "stream"),
        ("udp://@:5000", "stream"),
        ("nvarguscamerasrc ! nvvidconv ! appsink", "pipeline"),
        ("rtspsrc location=rtsp://a/b !decodebin !appsink", "pipeline"),
        ("picamera2", "picamera2"),
        ("picamera2:1", "picamera2"),
        ("shots/*.png", "images"),
        ("shots/image_??.jpg", "images"),
        ("face.JPG", "images"),
        ("face.webp", "images"),
        ("clip.mp4", "video"),
        ("wow!.mp4", "video"),
        ("missing/clip.avi", "video"),
        ("picamera2:left", "video"),
        ("file:///clip.mp4", "video"),
        ("-1", "video"),
        ("", "video"),
    ],
)
def test_a_source_setting_has_one_meaning(source: int | str, kind: str) -> None:
    assert classify_source(source) == kind


def test_a_folder_is_images(tmp_path: Path) -> None:
    assert classify_source(str(tmp_path)) == "images"


def test_a_video_file_may_have_brackets_in_its_name(tmp_path: Path) -> None:
    path = tmp_path / "clip[1].mp4"
    assert classify_source(str(path)) == "images"
    path.touch()
    assert classify_source(str(path)) == "video"


def test_the_number_of_a_pi_camera_follows_the_colon() -> None:
    assert picamera2_index("picamera2") == 0
    assert picamera2_index("picamera2:3") == 3
    with pytest.raises(ValueError, match="picamera2:NUMBER"):
        picamera2_index("picamera2:left")


@pytest.mark.parametrize(
    ("source", "shown"),
    [
        (0, "0"),
        ("rtsp://admin:geheim@10.0.0.7:554/live", "rtsp://***@10.0.0.7:554/live"),
        ("rtsp://admin:ge@heim@10.0.0.7/live", "rtsp://***@10.0.0.7/live"),
        ("rtsp://admin:ge/heim@10.0.0.7/live", "rtsp://***@10.0.0.7/live"),
        ("http://10.0.0.7/cgi?usr=me&pwd=geheim&channel=1", "http://10.0.0.7/cgi?usr=***&pwd=***&channel=1"),
        ("rtsp://a/user=me_password=ge_heim_channel=1.sdp", "rtsp://a/user=***_password=***_channel=1.sdp"),
        ("http://a/?access_token=geheim", "http://a/?access_token=***"),
        ("rtspsrc user-id=me user-pw='ge heim' ! appsink", "rtspsrc user-id=*** user-pw=*** ! appsink"),
        ("rtspsrc location=rtsp://a:geheim@b/c ! appsink", "rtspsrc location=rtsp://***@b/c ! appsink"),
        ("rtsp://camera.local/stream?channel=1", "rtsp://camera.local/stream?channel=1"),
        ("clip.mp4", "clip.mp4"),
    ],
)
def test_credentials_are_not_shown(source: int | str, shown: str) -> None:
    assert redact(source) == shown
