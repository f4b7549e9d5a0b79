"""An RTSP camera on loopback: H.264 of one picture, with the number of each frame written into it.

Run by the system's Python, which alone has GStreamer's bindings:
``/usr/bin/python3 rtsp_server.py PORT WIDTH HEIGHT FPS FIRST PICTURE``, where PICTURE is a file with the bytes of the
picture (H x W x B, G, R). Frames are numbered from FIRST on, see frame_numbers.py. Prints ``ready`` when it listens.
"""

import sys
from pathlib import Path

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtspServer  # noqa: E402

from support.frame_numbers import STRIP, strip  # noqa: E402

PORT, WIDTH, HEIGHT, FPS, FIRST = (int(text) for text in sys.argv[1:6])
PICTURE = Path(sys.argv[6]).read_bytes()[STRIP * WIDTH * 3 :]

LAUNCH = (
    f"( appsrc name=camera is-live=true do-timestamp=true format=time "
    f"caps=video/x-raw,format=BGR,width={WIDTH},height={HEIGHT},framerate={FPS}/1 ! "
    f"videoconvert ! video/x-raw,format=I420 ! "
    f"x264enc tune=zerolatency speed-preset=ultrafast bitrate=4000 key-int-max={FPS} ! "
    f"rtph264pay name=pay0 pt=96 )"
)


class Camera:
    """Goes on counting whether or not somebody watches."""

    def __init__(self) -> None:
        self.number = FIRST
        self.source = None

    def watched(self, _factory: object, media: GstRtspServer.RTSPMedia) -> None:
        self.source = media.get_element().get_by_name("camera")

    def tick(self) -> bool:
        if self.source is not None:
            self.source.emit("push-buffer", Gst.Buffer.new_wrapped(strip(self.number, WIDTH) + PICTURE))
        self.number += 1
        return True


def main() -> None:
    Gst.init(None)
    camera, server, factory = Camera(), GstRtspServer.RTSPServer(), GstRtspServer.RTSPMediaFactory()
    server.set_address("127.0.0.1")
    server.set_service(str(PORT))
    factory.set_launch(LAUNCH)
    factory.set_shared(True)
    factory.connect("media-configure", camera.watched)
    server.get_mount_points().add_factory("/live", factory)
    if not server.attach(None):
        raise SystemExit(f"port {PORT} is taken")
    GLib.timeout_add(1000 // FPS, camera.tick)
    print("ready", flush=True)
    GLib.MainLoop().run()


if __name__ == "__main__":
    main()
