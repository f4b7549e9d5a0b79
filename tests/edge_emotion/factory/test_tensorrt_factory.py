"""``classifier.backend: tensorrt`` runs the model's ONNX file through TensorRT."""

from __future__ import annotations

import json
from hashlib import sha256
from pathlib import Path

import pytest
from support.model_folders import copy_with_first_file
from support.onnx_models import write_model
from support.tensorrt_stage import Stage

from edge_emotion.errors import BackendUnavailable
from edge_emotion.factory.models import make_classifier
from edge_emotion.models.folder import MANIFEST
from edge_emotion.system.paths import cache_dir


@pytest.fixture
def model(tmp_path: Path) -> str:
    """The shipped tiny model with a float32 ONNX file as a further one."""
    folder = copy_with_first_file("tiny", tmp_path / "tiny")
    file = write_model(folder / "tiny.onnx", shape=(48, 48, 1), classes=8)
    manifest = json.loads((folder / MANIFEST).read_text())
    more = {
        "format": "onnx",
        "precision": "float32",
        "file": file.name,
        "sha256": sha256(file.read_bytes()).hexdigest(),
    }
    manifest["files"].append({**manifest["files"][0], **more, "golden": None})
    (folder / MANIFEST).write_text(json.dumps(manifest))
    return str(folder)


def test_the_setting_chooses_tensorrt_and_engines_go_into_the_cache(tmp_path: Path, model: str) -> None:
    stage = Stage(tmp_path)
    with stage.installed():
        assert make_classifier(model, backend="tensorrt").backend.name == "TensorRT 10.3.0"
        make_classifier(model, backend="tensorrt")
    assert len(stage.trt.builds) == 1
    assert (cache_dir() / "tiny.tiny.float32.plan").is_file()


def test_where_it_is_missing_the_setting_is_an_error_and_no_other_backend_is_taken(tmp_path: Path, model: str) -> None:
    stage = Stage(tmp_path)
    stage.trt = None
    with stage.installed(), pytest.raises(BackendUnavailable, match="no TensorRT for Python"):
        make_classifier(model, backend="tensorrt")
