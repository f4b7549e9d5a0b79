"""Running engines: every version's surface, numbers by onnxruntime, memory, CUDA graphs, what goes wrong.

No GPU and no TensorRT is used: what only they can show is proven on a Jetson (docs/results/tested.md).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from onnx import TensorProto
from support.tensorrt_stage import PAIRS, Network, Stage, pixels

from edge_emotion.errors import BackendUnavailable, ConfigError, ModelError


def reference(content: bytes, batch: Any) -> list[Any]:
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    return list(session.run(None, {"pixels": batch}))


@pytest.mark.parametrize("versions", PAIRS, ids="-".join)
@pytest.mark.parametrize("count", [1, 2, 8, 19])
def test_every_version_computes_what_the_file_says(tmp_path: Path, versions: tuple[str, str], count: int) -> None:
    content = Network(quantised=True).content
    backend = Stage(tmp_path, versions).backend(content, precision="int8")
    assert backend.name == f"TensorRT {versions[0]}"
    assert (backend.input_shape, backend.output_shapes) == ((8, 8, 1), ((3,), (4,)))
    for seed in range(3):  # the first run of a batch size captures, the next ones replay
        batch = pixels(count, seed)
        for output, expected in zip(backend.run(batch), reference(content, batch), strict=True):
            assert output.dtype == np.float32
            assert np.allclose(output, expected, atol=1e-5)
    backend.close()


@pytest.mark.parametrize("versions", PAIRS, ids="-".join)
def test_float16_tensors_are_fed_and_read_as_float32(tmp_path: Path, versions: tuple[str, str]) -> None:
    content = Network(TensorProto.FLOAT16).content
    backend = Stage(tmp_path, versions).backend(content, precision="float16")
    batch = pixels(3)
    expected = reference(content, batch.astype(np.float16))[0]
    outputs = backend.run(batch)
    assert outputs[0].dtype == np.float32
    assert np.array_equal(outputs[0], expected.astype(np.float32))


def test_each_batch_size_gets_one_graph_which_is_then_replayed(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    backend = stage.backend()
    for count in (1, 3, 1, 3, 3):
        backend.run(pixels(count))
    assert len(stage.cuda.captures) == 2
    assert stage.cuda.calls.count("cudaGraphLaunch") == 5
    assert all(len(graph) == 4 for graph in stage.cuda.captures), "one copy in, the engine, two copies out"


@pytest.mark.parametrize("step", ["cudaStreamBeginCapture", "cudaStreamEndCapture", "cudaGraphInstantiate"])
def test_what_cannot_be_captured_runs_call_by_call(tmp_path: Path, step: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    stage = Stage(tmp_path)
    backend = stage.backend()
    stage.cuda.failing[step] = "cudaErrorStreamCaptureUnsupported"
    for seed in range(3):
        assert np.allclose(backend.run(pixels(2, seed))[0], reference(Network().content, pixels(2, seed))[0], atol=1e-5)
    assert "cudaGraphLaunch" not in stage.cuda.calls
    assert caplog.text.count("without a CUDA graph: CUDA: cudaErrorStreamCaptureUnsupported") == 1


def test_a_capture_that_breaks_off_leaves_the_stream_usable(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    backend = stage.backend()
    stage.cuda.uncapturable.add("cudaMemcpyAsync")
    for _ in range(2):
        assert np.allclose(backend.run(pixels(2))[0], reference(Network().content, pixels(2))[0], atol=1e-5)
    calls = stage.cuda.calls
    assert calls.count("cudaStreamBeginCapture") == calls.count("cudaStreamEndCapture") == 1
    assert calls[calls.index("cudaStreamEndCapture") + 1] == "cudaGetLastError"


def test_graphs_can_be_switched_off(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    backend = stage.backend(cuda_graphs=False)
    assert np.allclose(backend.run(pixels(2))[0], reference(Network().content, pixels(2))[0], atol=1e-5)
    assert "cudaStreamBeginCapture" not in stage.cuda.calls


def test_a_file_with_a_fixed_batch_of_one_runs_one_by_one(tmp_path: Path) -> None:
    content = Network(batch=1).content
    backend = Stage(tmp_path).backend(content)
    outputs = backend.run(pixels(3))[0]
    assert np.allclose(outputs, reference(Network().content, pixels(3))[0], atol=1e-5)


def test_everything_is_given_back(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    backend = stage.backend()
    backend.run(pixels(1))
    backend.run(pixels(2))
    assert stage.cuda.held
    backend.close()
    backend.close()
    assert not stage.cuda.held
    with pytest.raises(ModelError, match="was closed"):
        backend.run(pixels(1))


def test_nothing_is_held_after_a_failed_start(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    with pytest.raises(ModelError):
        stage.backend(b"no model")
    assert not stage.cuda.held


def test_a_failure_on_the_device_names_the_model_and_the_error(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    backend = stage.backend()
    stage.cuda.failing["cudaStreamSynchronize"] = "cudaErrorIllegalAddress"
    with pytest.raises(ModelError, match=r"small\.onnx: CUDA: cudaErrorIllegalAddress"):
        backend.run(pixels(1))


def test_without_tensorrt_the_package_to_install_is_named(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    stage.trt = None
    with pytest.raises(BackendUnavailable, match="apt-get install python3-libnvinfer"):
        stage.backend()


def test_without_cuda_python_the_package_to_install_is_named(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    stage.layout = "nowhere"
    with pytest.raises(BackendUnavailable, match="pip install 'cuda-python"):
        stage.backend()


def test_a_tensorrt_that_is_too_old_is_refused(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    stage.trt.__version__ = "8.5.2.2"
    with pytest.raises(BackendUnavailable, match=r"TensorRT 8\.5\.2\.2 is too old.*JetPack 6"):
        stage.backend()


@pytest.mark.parametrize("error", ["cudaErrorNoDevice", "cudaErrorInsufficientDriver"])
def test_without_a_gpu_it_says_what_to_look_at(tmp_path: Path, error: str) -> None:
    stage = Stage(tmp_path)
    stage.cuda.failing["cudaGetDeviceProperties"] = error
    with pytest.raises(BackendUnavailable, match=f"{error}.*groups video and render.*--runtime nvidia"):
        stage.backend()


def test_a_missing_driver_is_no_gpu_either(tmp_path: Path) -> None:
    stage = Stage(tmp_path)

    def no_driver(device: int) -> None:
        raise RuntimeError("Failed to dlopen libcuda.so.1")

    stage.cuda.cudaGetDeviceProperties = no_driver
    with pytest.raises(BackendUnavailable, match=r"libcuda\.so\.1"):
        stage.backend()


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"precision": "float16", "scales": {"pixels": 0.1}}, "scales make an int8 engine"),
        ({"precision": "float32", "dla_core": 0}, "does not compute in float32"),
        ({"precision": "int8", "dla_core": 0}, "does not take Q/DQ nodes"),
    ],
)
def test_options_that_exclude_each_other_are_refused(tmp_path: Path, options: dict[str, Any], reason: str) -> None:
    with pytest.raises(ConfigError, match=reason):
        Stage(tmp_path).backend(**options)


def test_the_real_cuda_packages_say_that_there_is_no_gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("cuda.bindings.runtime", reason="cuda-python is not installed")
    from edge_emotion.backends.tensorrt.cuda import Cuda

    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    with pytest.raises(BackendUnavailable, match="no GPU that CUDA can use"):
        Cuda()
