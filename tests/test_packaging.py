"""What is in the wheel, and what it needs."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from support.paths import ROOT


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("setuptools", minversion="77")
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    ignored = shutil.ignore_patterns(".git", ".venv*", "runs", "build", "*.egg-info", "__pycache__", ".*_cache")
    shutil.copytree(ROOT, source, ignore=ignored)
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "-w", str(folder)]
    done = subprocess.run([*command, str(source)], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    (made,) = folder.glob("*.whl")
    return made


def test_the_wheel_holds_the_runtime_and_nothing_else(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[0] for name in names if ".dist-info/" not in name} == {"edge_emotion"}
    shipped = {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "edge_emotion").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert {name for name in names if name.startswith("edge_emotion/")} == shipped
    assert {"edge_emotion/demo.mp4", "edge_emotion/py.typed"} <= shipped
    assert any(name.endswith("licenses/LICENSE") for name in names)


def test_the_wheel_is_small_and_asks_for_little(wheel: Path) -> None:
    assert wheel.stat().st_size < 40e6  # a model for every backend: ONNX keeps its weights as float32
    archive = zipfile.ZipFile(wheel)
    metadata = archive.read(next(n for n in archive.namelist() if n.endswith("METADATA"))).decode()
    required = set(re.findall(r"^Requires-Dist: ([a-z-]+)(?!.*extra)", metadata, re.MULTILINE))
    assert required == {
        "ai-edge-litert",
        "numpy",
        "opencv-python-headless",
        "packaging",
        "paho-mqtt",
        "pydantic",
        "pydantic-settings",
    }
    assert "License-Expression: Apache-2.0" in metadata


def test_it_finds_its_models_outside_of_the_clone(wheel: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "site")
    command = [sys.executable, "-c", "from edge_emotion.cli.main import main; raise SystemExit(main(['models']))"]
    done = subprocess.run(
        command,
        cwd=tmp_path / "site",
        env={"PYTHONPATH": str(tmp_path / "site")},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert "mobilenet_v2" in done.stdout
