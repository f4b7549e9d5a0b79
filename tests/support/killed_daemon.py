"""Daemons with faces that come and go, to be killed.

    python killed_daemon.py PORT STATE_DIR

For each line on standard input, the name of a node, one daemon is forked, whose process id is printed; it runs until
SIGTERM. A fork costs no imports.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import traceback
from collections.abc import Sequence
from pathlib import Path

from edge_emotion.config.settings import MqttSettings
from edge_emotion.daemon.camera import Camera
from edge_emotion.daemon.capture import Capture
from edge_emotion.daemon.daemon import Daemon
from edge_emotion.datatypes import Face, Image
from edge_emotion.factory.cameras import pipeline_settings
from edge_emotion.models.classifier import EmotionClassifier
from edge_emotion.models.folder import find_model, load_manifest
from edge_emotion.models.manifest import ModelManifest
from edge_emotion.outbox.event_counter import EventCounter
from edge_emotion.pipeline.pipeline import Pipeline
from edge_emotion.sinks.mqtt.sink import MqttSink, Timing
from support.daemons import Endless
from support.pipelines import Moods, settings_with
from support.values import face

MANIFEST = load_manifest(find_model("mobilenet_v2"))


class Visitors:
    """Two faces at a time for 25 frames, then nobody for 15."""

    def __init__(self) -> None:
        self._frames = 0

    def detect(self, _image: Image) -> Sequence[Face]:
        self._frames += 1
        return [face(100), face(400)] if self._frames % 40 < 25 else []


def run(port: int, state: Path, node: str) -> None:
    """One daemon."""
    numbers, changed = EventCounter(state, node), threading.Condition()
    settings = settings_with(node=node, classifier={"interval": 0.0}, detector={"idle_interval": 0.0})
    assert isinstance(MANIFEST, ModelManifest)
    pipeline = Pipeline(
        pipeline_settings(settings, "desk"),
        Visitors(),
        EmotionClassifier(MANIFEST, Moods("happiness")),
        next_seq=numbers,
    )
    timing = Timing(connect=1.0, answer=1.0, first_retry=0.05, longest_retry=0.5)
    mqtt = MqttSettings(host="127.0.0.1", port=port, drain_timeout=20.0)
    sink = MqttSink(mqtt, node, {}, ["desk"], timing, state_dir=numbers.folder, numbers=numbers)
    camera = Camera(Capture("desk", Endless(), changed, max_fps=1000, lossless=True), pipeline)
    daemon = Daemon([camera], [sink], changed, numbers)
    daemon.handle_signals()
    daemon.run()


def main(port: int, state: Path) -> None:
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # no zombies
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            try:
                run(port, state, line.strip())
            except BaseException:  # noqa: BLE001 - the test reads it
                traceback.print_exc()
            finally:
                os._exit(0)
        print(child, flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]))
