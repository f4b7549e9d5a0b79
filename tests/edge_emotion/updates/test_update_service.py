"""A whole daemon with a real broker and a real HTTPS server: it takes a release into use, and leaves a bad one."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support.broker import Authority, Broker, Subscriber, needs_mosquitto, wait_until
from support.model_folders import copy_with_first_file
from support.orders import order_of
from support.release_server import ReleaseServer
from support.releases import workshop

from edge_emotion.app import make_daemon
from edge_emotion.cli.demo import CLIP
from edge_emotion.config.settings import Settings
from edge_emotion.daemon.daemon import Daemon
from edge_emotion.models.folder import MANIFEST
from edge_emotion.updates import watch
from edge_emotion.updates.signed_order import sign_order
from edge_emotion.wire.model_order import ModelOrder
from edge_emotion.wire.payloads import event_from_json

pytestmark = needs_mosquitto

TOPIC = "edge-emotion/fleet/cafes/model"


class Stage:
    """The broker, the server of releases, and one daemon in a thread."""

    def __init__(self, folder: Path) -> None:
        self.shop = workshop(folder)
        self.authority = Authority(folder / "authority")
        self.server = ReleaseServer(folder / "releases", self.authority)
        self.broker = Broker(folder).start()
        self.subscriber = Subscriber(self.broker, "station")
        self._folder, self._serial = folder, 0
        self._daemon: Daemon | None = None
        self._thread = threading.Thread()

    def start(self, name: str, **classifier: Any) -> None:
        """A daemon with the state directory ``name``."""
        self._daemon = make_daemon(
            Settings(
                node=name,
                cameras={"desk": {"source": str(CLIP), "loop": True, "realtime": False, "max_fps": 240}},
                classifier={"model": "tiny", **classifier},
                mqtt={"host": "127.0.0.1", "port": self.broker.port},
                state_dir=self._folder / name,
                update={
                    "keys": [self.shop.public],
                    "group": "cafes",
                    "spread": 0,
                    "watch": 1,
                    "ca": self.authority.certificate,
                },
            )
        )
        self._thread = threading.Thread(target=self._daemon.run, name="daemon")
        self._thread.start()

    def stop(self) -> None:
        if self._daemon is not None:
            self._daemon.stop()
            self._thread.join(20)
            assert not self._thread.is_alive()

    @property
    def frames(self) -> int:
        """Frames that the daemon has processed."""
        return 0 if self._daemon is None else self._daemon.summary.frames

    def close(self) -> None:
        self.subscriber.close()
        self.broker.stop()
        self.server.close()

    def order(self, release: Path, **changes: Any) -> ModelOrder:
        """Publish the next order, retained."""
        self._serial += 1
        order = order_of(release, self.server.address, serial=self._serial, **changes)
        self.subscriber.publish(TOPIC, sign_order(order, self.shop.key), retain=True)
        return order

    def reports(self, node: str) -> list[dict[str, Any]]:
        """``info`` of a node, as it came."""
        return [
            json.loads(message.payload)
            for message in self.subscriber.messages
            if message.topic == f"edge-emotion/{node}/info" and message.payload
        ]

    def wait_for(self, node: str, state: str) -> dict[str, Any]:
        def arrived() -> bool:
            reports = self.reports(node)
            return bool(reports) and reports[-1].get("model_update", {}).get("state") == state

        wait_until(arrived, 30)
        return self.reports(node)[-1]


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    stage = Stage(tmp_path_factory.mktemp("stage"))
    yield stage
    stage.close()


@pytest.fixture
def started(stage: Stage) -> Iterator[Callable[..., None]]:
    yield stage.start
    stage.stop()


def release_of(stage: Stage, model: str, serial: int, version: str) -> Path:
    """A release of a shipped model under the name ``tiny``."""
    folder = copy_with_first_file(model, stage.shop.folder / f"{model}-{serial}")
    manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    changed = {**manifest, "name": "tiny", "version": version}
    (folder / MANIFEST).write_text(json.dumps(changed), encoding="utf-8")
    return stage.shop.release(serial, folder)


def test_a_daemon_takes_an_ordered_release_into_use_and_returns_to_its_own_model_after_abort(
    stage: Stage, started: Callable[..., None]
) -> None:
    release = release_of(stage, "tiny", 7, "9.0.0")
    started("good")
    assert stage.wait_for("good", "waiting")["model"]["version"] != "9.0.0"
    wait_until(lambda: stage.subscriber.on("good/desk/events"))
    stage.order(release)
    confirmed = stage.wait_for("good", "confirmed")
    assert confirmed["model"]["version"] == "9.0.0"
    assert confirmed["model_update"]["installed"] == 7
    events = [event_from_json(message.payload) for message in stage.subscriber.on("good/desk/events")]
    versions = [event.model_version for event in events]
    assert versions.index("9.0.0") > 0 and versions == sorted(versions), "one model after the other"
    stage.order(release, action="abort")
    stage.wait_for("good", "returned")
    wait_until(lambda: stage.reports("good")[-1]["model"]["version"] != "9.0.0", 10)
    stage.subscriber.publish(TOPIC, b"", retain=True)


def test_a_daemon_leaves_a_release_that_is_too_slow_and_goes_on_with_its_own_model(
    stage: Stage, started: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "LEAST", 2)
    monkeypatch.setattr(watch, "SLOWER", 0.01)  # every model: how long one takes here is no matter of this test
    release = release_of(stage, "efficientnet_lite0", 8, "9.9.9")
    started("bad")
    wait_until(lambda: stage.frames > 150)
    stage.order(release)
    left = stage.wait_for("bad", "returned")
    assert "with the model before" in left["model_update"]["reason"]
    wait_until(lambda: stage.reports("bad")[-1]["model_update"]["installed"] is None, 10)
    wait_until(lambda: stage.reports("bad")[-1]["model"]["version"] != "9.9.9", 10)
