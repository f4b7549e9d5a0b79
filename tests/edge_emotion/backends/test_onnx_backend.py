"""onnxruntime as a backend: what it takes, what it refuses, how it is chosen. The contract: test_backend_contract."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
from support.model_folders import copy_with_first_file

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

import onnx
import onnxruntime
from support.onnx_models import SHAPE, write_model

from edge_emotion.backends import onnx as backends
from edge_emotion.backends.onnx import OnnxBackend
from edge_emotion.config.loader import load
from edge_emotion.errors import BackendUnavailable, ConfigError, ModelError
from edge_emotion.factory.models import choose_files, make_classifier, make_models
from edge_emotion.factory.node_info import node_info
from edge_emotion.models.folder import MANIFEST, find_model, load_manifest
from edge_emotion.models.manifest import ModelManifest
from edge_emotion.system.atomic_file import sha256

INPUTS = np.random.default_rng(1).uniform(-1, 1, (11, *SHAPE)).astype(np.float32)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return write_model(tmp_path / "model.onnx")


@pytest.mark.numeric
def test_it_computes_what_the_file_says(model: Path) -> None:
    masks = onnx.numpy_helper.to_array(onnx.load(model).graph.initializer[0])
    assert np.allclose(OnnxBackend(model).run(INPUTS)[0], INPUTS.reshape(11, -1) @ masks, atol=1e-5)


def test_a_fixed_batch_of_one_is_run_one_by_one(model: Path, tmp_path: Path) -> None:
    fixed = OnnxBackend(write_model(tmp_path / "fixed.onnx", batch=1))
    assert np.allclose(fixed.run(INPUTS)[0], OnnxBackend(model).run(INPUTS)[0], atol=1e-5)


@pytest.mark.numeric
def test_half_floats_are_floats_outside(model: Path, tmp_path: Path) -> None:
    half = OnnxBackend(write_model(tmp_path / "half.onnx", kind=onnx.TensorProto.FLOAT16)).run(INPUTS)[0]
    assert half.dtype == np.float32
    assert np.allclose(half, OnnxBackend(model).run(INPUTS)[0], atol=0.05)


@pytest.mark.numeric
def test_threads_and_optimisations_do_not_change_what_it_says(model: Path) -> None:
    expected = OnnxBackend(model).run(INPUTS)[0]
    for options in ({"threads": 3}, {"optimise": False}):
        assert np.allclose(OnnxBackend(model, **options).run(INPUTS)[0], expected, atol=1e-5)


def with_one_zero_point(content: bytes) -> bytes:
    """The same network with its kernels' zero points shared where they are alike, as others write them."""
    model = onnx.load_from_string(content)
    shared = {one.name: f"zeros_{one.dims[0]}" for one in model.graph.initializer if one.name.endswith("_zero_points")}
    for node in model.graph.node:
        node.input[:] = [shared.get(name, name) for name in node.input]
    constants = {one.name: one for one in model.graph.initializer}
    for name, common in shared.items():
        constants[name].name = common
    del model.graph.initializer[:]
    model.graph.initializer.extend({one.name: one for one in constants.values()}.values())
    return model.SerializeToString()


def test_int8_is_exact_on_every_processor_and_files_of_others_are_loaded(tmp_path: Path) -> None:
    """x86-64 without VNNI has fast int8 sums that saturate: they moved logits of this file by up to 0.8."""
    file = find_model("mobilenet_v2") / "mobilenet_v2_int8.onnx"
    plain = OnnxBackend(file, optimise=False)
    pixels = np.random.default_rng(0).uniform(-1, 1, (4, *plain.input_shape)).astype(np.float32)
    (expected,), (logits,) = plain.run(pixels), OnnxBackend(file).run(pixels)
    assert np.abs(logits - expected).max() < 0.4 < np.ptp(expected) / 10
    other = tmp_path / "other.onnx"
    other.write_bytes(with_one_zero_point(file.read_bytes()))
    assert np.isfinite(OnnxBackend(other).run(pixels)[0]).all()


def test_the_name_says_what_runs_the_model(model: Path) -> None:
    assert OnnxBackend(model).name == f"onnxruntime {onnxruntime.__version__} (CPU)"
    assert OnnxBackend(model, optimise=False).name.endswith("without optimisations")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"kind": onnx.TensorProto.DOUBLE},
            r"must take one float32 or float16 N x H x W x C, not pixels tensor\(double\)",
        ),
        ({"shape": [36]}, "must take one float32 or float16"),
        ({"shape": ["H", 6, 1]}, "only the batch axis may be free"),
        ({"batch": 4}, "takes 4 pictures at once; export it with a free batch axis"),
    ],
)
def test_a_model_that_takes_something_else_is_refused(options: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=message) as caught:
        OnnxBackend(write_model(tmp_path / "other.onnx", **options))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"hello", b"\x08\x08"])
def test_a_file_that_is_no_model_is_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "file.onnx").write_bytes(content)
    with pytest.raises(ModelError, match=r"file\.onnx cannot be loaded as an ONNX model \(onnxruntime\)") as caught:
        OnnxBackend(tmp_path / "file.onnx")
    assert "\n" not in str(caught.value)


def test_a_file_that_is_cut_off_is_refused(model: Path) -> None:
    model.write_bytes(model.read_bytes()[:-40])
    with pytest.raises(ModelError, match="cannot be loaded"):
        OnnxBackend(model)


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"cannot read model file .*nowhere"):
        OnnxBackend(tmp_path / "nowhere.onnx")


def test_what_fails_while_it_runs_is_a_model_error(tmp_path: Path) -> None:
    """A Reshape to rows that the pixels do not fill."""
    path = write_model(tmp_path / "model.onnx")
    model = onnx.load(path)
    model.graph.node.insert(0, onnx.helper.make_node("Reshape", ["pixels", "shape"], ["wrong"], "wrong"))
    model.graph.node[1].input[0] = "wrong"
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.array([7, -1], np.int64), "shape"))
    onnx.save(model, path)
    with pytest.raises(ModelError, match=r"model\.onnx cannot be run \(onnxruntime\)"):
        OnnxBackend(path).run(INPUTS)


# Providers


def test_without_onnxruntime_the_package_to_install_is_named(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(BackendUnavailable, match=r"pip install 'edge-emotion\[onnx\]'"):
        OnnxBackend(model)


def test_an_onnxruntime_that_cannot_be_imported_says_why(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(name: str) -> ModuleType:
        raise ImportError("libcudart.so.12: cannot open shared object file")

    monkeypatch.setattr(backends, "importlib", SimpleNamespace(import_module=broken))
    with pytest.raises(BackendUnavailable, match=r"installed but cannot be imported: libcudart"):
        OnnxBackend(model)


def test_a_provider_that_the_package_lacks_is_named(model: Path) -> None:
    assert "TensorrtExecutionProvider" not in onnxruntime.get_available_providers()
    with pytest.raises(BackendUnavailable, match=r"no TensorrtExecutionProvider, it has .*CPUExecutionProvider"):
        OnnxBackend(model, providers=["TensorrtExecutionProvider"])


@pytest.mark.parametrize(
    ("available", "chosen"),
    [
        (["TensorrtExecutionProvider", "CUDAExecutionProvider", "CPUExecutionProvider"], ["CUDA", "CPU"]),
        (["AzureExecutionProvider", "CPUExecutionProvider"], ["CPU"]),
    ],
)
def test_a_gpu_is_used_where_the_package_has_it(
    available: list[str], chosen: list[str], model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """onnxruntime itself says what it has; here its answer and what it is then asked for are looked at."""
    asked = []

    def session(content: bytes, options: Any, providers: list[str]) -> Any:
        asked.extend(providers)
        return real(content, options, providers=["CPUExecutionProvider"])

    real = onnxruntime.InferenceSession
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: available)
    monkeypatch.setattr(onnxruntime, "InferenceSession", session)
    made = OnnxBackend(model)
    assert asked == [name + "ExecutionProvider" for name in chosen]
    assert made.name.endswith("(CPU)"), "the name says what is used, not what was asked for"


# How it is chosen


@pytest.fixture
def both(tmp_path: Path) -> Path:
    """The shipped tiny model with an ONNX file as a further one."""
    folder = copy_with_first_file("tiny", tmp_path / "tiny")
    file = write_model(folder / "tiny.onnx", shape=(48, 48, 1), classes=8)
    manifest = json.loads((folder / MANIFEST).read_text())
    types = {"input_type": "float32", "output_type": "float32"}
    entry = {**manifest["files"][0], **types, "format": "onnx", "precision": "float32", "golden": None}
    manifest["files"].append({**entry, "file": file.name, "sha256": sha256(file)})
    (folder / MANIFEST).write_text(json.dumps(manifest))
    return folder


def manifest_of(folder: Path) -> ModelManifest:
    manifest = load_manifest(folder)
    assert isinstance(manifest, ModelManifest)
    return manifest


@pytest.mark.parametrize(
    ("options", "runs"),
    [
        ({}, "litert"),
        ({"backend": "auto"}, "litert"),
        ({"backend": "tflite"}, "litert"),
        ({"backend": "onnxruntime"}, "onnxruntime"),
        ({"precision": "float32"}, "onnxruntime"),
    ],
)
def test_the_setting_and_the_file_choose_the_backend(options: dict[str, str], runs: str, both: Path) -> None:
    assert runs in make_classifier(str(both), **options).backend.name


def test_an_onnx_file_is_checked_like_any_other(both: Path) -> None:
    write_model(both / "tiny.onnx", shape=(48, 48, 1), classes=7)
    with pytest.raises(ModelError, match="the file was changed or damaged"):
        make_classifier(str(both), backend="onnxruntime")


def test_other_types_than_those_of_an_onnx_file_are_refused(both: Path) -> None:
    path = both / MANIFEST
    path.write_text(path.read_text().replace('"output_type": "float32"', '"output_type": "float16"'))
    with pytest.raises(ModelError, match=r"gives float32, its manifest says float32 and float16"):
        make_classifier(str(both), backend="onnxruntime")


def test_a_model_without_such_a_file_is_refused(both: Path, tmp_path: Path) -> None:
    alone = copy_with_first_file("tiny", tmp_path / "alone")
    with pytest.raises(ModelError, match="model tiny has no onnx file; it has int8 tflite"):
        make_classifier(str(alone), backend="onnxruntime")
    with pytest.raises(ModelError, match="no int8 onnx file; it has float32 onnx, int8 tflite"):
        choose_files(manifest_of(both), "int8", "onnxruntime")


def test_another_backend_is_no_setting(tmp_path: Path) -> None:
    settings = {"cameras": {"a": {"source": "0"}}, "jsonl": {}, "classifier": {"backend": "openvino"}}
    with pytest.raises(ConfigError, match=r"classifier\.backend"):
        load(None, settings)


def test_the_node_tells_which_file_it_runs(both: Path) -> None:
    settings = load(
        None,
        {
            "cameras": {"a": {"source": "0"}},
            "jsonl": {},
            "classifier": {"model": str(both), "backend": "onnxruntime", "threads": 2},
        },
    )
    models = make_models(settings)
    info = node_info(settings, models.classifier, models.detector)
    assert info["backend"].startswith("onnxruntime")
    assert info["model"]["sha256"] == sha256(both / "tiny.onnx")
