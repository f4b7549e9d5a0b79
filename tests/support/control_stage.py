"""A whole node without a network: real models, the demo clip, its configuration in a file, a channel in memory."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from edge_emotion.cli.demo import CLIP
from edge_emotion.config.loader import load
from edge_emotion.config.settings import Settings
from edge_emotion.daemon.camera import Camera
from edge_emotion.daemon.control import Control
from edge_emotion.daemon.daemon import Daemon
from edge_emotion.daemon.overrides import OverrideStore
from edge_emotion.doctor.examination import examine
from edge_emotion.factory.cameras import CameraMaker
from edge_emotion.factory.models import make_models
from edge_emotion.outbox.event_counter import EventCounter
from edge_emotion.sinks.memory import MemoryChannel, MemorySink
from support.broker import wait_until

ROOT = "edge-emotion/pi5"
CAMERA = {"source": str(CLIP), "loop": True}


class Stage:
    """Written like ``app.make_daemon``, with a sink and a channel that can be looked at."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        self.file, self.state = folder / "edge-emotion.yaml", folder / "state"
        self.tree: dict[str, Any] = {
            "node": "pi5",
            "cameras": {"desk": CAMERA},
            "mqtt": {},
            "classifier": {"model": "tiny"},
            "state_dir": str(self.state),
            **settings,
        }
        self.write()
        self.sink, self.channel = MemorySink(), MemoryChannel()
        self.examine: Callable[[Settings], dict[str, Any]] = lambda settings: examine(settings).as_dict()
        self._thread: threading.Thread | None = None
        self.build()

    def write(self, **settings: Any) -> None:
        """Change the file, section by section."""
        self.tree |= settings
        self.file.write_text(yaml.safe_dump(self.tree))

    def build(self) -> None:
        """A node out of what the file and the state directory say."""
        read = load(self.file)
        self.numbers, changed = EventCounter(self.state, "pi5"), threading.Condition()
        maker = CameraMaker(make_models(read), self.numbers, changed)
        self.features = OverrideStore(self.state / "pi5.features.json", maker.labels)
        cameras = [maker.camera(read, name, self.features[name]) for name in read.cameras]
        self.daemon = Daemon(cameras, [self.sink], changed, self.numbers)
        self.control = Control(
            self.daemon,
            maker,
            read,
            self.features,
            [self.channel],
            lambda: load(self.file),
            lambda settings: self.examine(settings),
        )
        self.control.begin()

    def start(self) -> Stage:
        """Run it in a thread."""
        self._thread = threading.Thread(target=self.daemon.run, name="daemon")
        self._thread.start()
        return self

    def stop(self) -> None:
        """End it in order; may be called twice."""
        self.daemon.stop()
        if self._thread is None:
            self.numbers.close()
        else:
            self._thread.join(20)
            assert not self._thread.is_alive()
        self.features.wait()

    def camera(self, name: str = "desk") -> Camera:
        return next(camera for camera in self.daemon.cameras if camera.name == name)

    def ask(self, topic: str, payload: bytes | str) -> None:
        self.channel.ask(f"{ROOT}/{topic}", payload.encode() if isinstance(payload, str) else payload)

    def wait(self, predicate: Callable[[], object]) -> None:
        """Until it is true; fails at once if the node has ended."""

        def looked() -> object:
            assert self._thread is None or self._thread.is_alive(), "the daemon has ended"
            return predicate()

        wait_until(looked, 30)
