"""Why a connection has ended, in words."""

from __future__ import annotations

import socket
import struct
import threading
from contextlib import closing

import pytest

from edge_emotion.config.settings import MqttSettings
from edge_emotion.mqtt.connection import Connection
from edge_emotion.mqtt.handshake import establish, wait_for
from edge_emotion.mqtt.timing import Timing
from edge_emotion.mqtt.wakeup import Wakeup

CONNACK = b"\x20\x03\x00\x00\x00"
RESET = struct.pack("ii", 1, 0)
"""SO_LINGER of a socket whose close sends RST."""


@pytest.mark.parametrize(
    ("resets", "reason"), [(True, "Connection reset by peer"), (False, "the broker closed the connection")]
)
def test_a_lost_connection_gives_the_reason_without_its_number(resets: bool, reason: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, closing(Wakeup()) as wakeup:
        accepted = threading.Event()

        def serve() -> None:
            peer, _ = server.accept()
            with peer:
                peer.recv(4096)  # CONNECT: what is unread would reset the connection
                peer.sendall(CONNACK)
                assert accepted.wait(10)
                if resets:
                    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)

        thread = threading.Thread(target=serve)
        thread.start()
        with closing(Connection(MqttSettings(port=server.getsockname()[1], host="127.0.0.1"), "one", None)) as one:
            assert establish(one, wakeup, Timing()) is None
            accepted.set()
            wait_for(one, wakeup, 10, lambda: one.ended is not None)
            assert one.ended == reason
        thread.join(10)
