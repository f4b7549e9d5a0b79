"""One contract for every backend: the shipped fake, the shipped models, with and without the delegate."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from support.compiler import compile_c

from edge_emotion.backends import tflite
from edge_emotion.backends.constant import ConstantBackend
from edge_emotion.backends.tflite import TfliteBackend, dequantise, quantise
from edge_emotion.errors import BackendUnavailable, ModelError
from edge_emotion.models.folder import checked_file, find_model, load_manifest
from edge_emotion.protocols import InferenceBackend


def shipped(name: str, **options: Any) -> TfliteBackend:
    folder = find_model(name)
    return TfliteBackend(checked_file(folder, load_manifest(folder).file()), **options)


def small_onnx(**options: int) -> InferenceBackend:
    pytest.importorskip("onnxruntime")
    models = pytest.importorskip("onnx_models", exc_type=ImportError)
    from edge_emotion.backends.onnx import OnnxBackend

    with tempfile.TemporaryDirectory() as folder:
        return OnnxBackend(models.write_model(Path(folder) / "small.onnx", **options))


def tensorrt_on_a_fake() -> InferenceBackend:
    stage = pytest.importorskip("tensorrt_stage", reason="onnx is not installed", exc_type=ImportError)
    with tempfile.TemporaryDirectory() as folder:
        return stage.Stage(Path(folder)).backend()


BACKENDS: dict[str, Callable[[], InferenceBackend]] = {
    "constant": lambda: ConstantBackend((4, 4, 1), [np.arange(3, dtype=np.float32)]),
    "int8": lambda: shipped("mobilenet_v2"),
    "int8 plain": lambda: shipped("mobilenet_v2", plain_kernels=True),
    "fixed batch, two outputs": lambda: shipped("blazeface_short"),
    "onnx": small_onnx,
    "onnx, fixed batch, two outputs": lambda: small_onnx(batch=1, outputs=2),
    "tensorrt on a fake": tensorrt_on_a_fake,
}


@pytest.fixture(params=BACKENDS, scope="module")
def backend(request: pytest.FixtureRequest) -> InferenceBackend:
    return BACKENDS[request.param]()


def inputs(backend: InferenceBackend, count: int) -> np.ndarray:
    return np.random.default_rng(0).uniform(-1, 1, (count, *backend.input_shape)).astype(np.float32)


def test_it_is_a_backend(backend: InferenceBackend) -> None:
    assert isinstance(backend, InferenceBackend)
    assert backend.name


@pytest.mark.parametrize("count", [1, 3, 11])
def test_a_batch_gives_float_outputs_of_the_promised_shapes(backend: InferenceBackend, count: int) -> None:
    outputs = backend.run(inputs(backend, count))
    assert tuple(output.shape for output in outputs) == tuple((count, *shape) for shape in backend.output_shapes)
    assert all(output.dtype == np.float32 and np.isfinite(output).all() for output in outputs)


def test_a_batch_gives_what_its_inputs_give_alone(backend: InferenceBackend) -> None:
    batch = inputs(backend, 3)
    for output, *alone in zip(backend.run(batch), *(backend.run(batch[i : i + 1]) for i in range(3)), strict=True):
        assert np.allclose(output, np.concatenate(alone), atol=1e-4)


def test_the_input_is_left_alone(backend: InferenceBackend) -> None:
    batch = inputs(backend, 1)
    before = batch.copy()
    backend.run(batch)
    assert np.array_equal(batch, before)


def test_outputs_stay_after_the_next_run(backend: InferenceBackend) -> None:
    first = backend.run(inputs(backend, 1))[0]
    kept = first.copy()
    backend.run(-inputs(backend, 1))
    assert np.array_equal(first, kept)


def test_another_input_shape_is_refused(backend: InferenceBackend) -> None:
    height, width, channels = backend.input_shape
    for shape in ((1, height + 1, width, channels), (0, height, width, channels)):
        with pytest.raises(ModelError, match="expected N x"):
            backend.run(np.zeros(shape, np.float32))


def test_closing_twice_is_fine() -> None:
    for make in BACKENDS.values():
        made = make()
        made.close()
        made.close()


def test_int8_tensors_follow_their_scale_and_zero_point() -> None:
    tensor = {"dtype": np.int8, "quantization": (0.5, 10)}
    values = np.array([-100.0, -1.0, 0.0, 0.25, 0.75, 1.0, 100.0], np.float32)
    assert quantise(values, tensor).tolist() == [-128, 8, 10, 10, 12, 12, 127]
    assert dequantise(np.array([-128, 10, 12], np.int8), tensor).tolist() == [-69.0, 0.0, 1.0]


def test_the_shipped_int8_model_reads_pixels_minus_128() -> None:
    pixels = np.arange(256, dtype=np.float32)
    backend = shipped("mobilenet_v2")
    tensor = {"dtype": np.int8, "quantization": backend.input_quantization}
    assert np.array_equal(quantise(pixels / 128 - 1, tensor), np.arange(-128, 128))


def test_a_file_that_is_no_model_is_refused(tmp_path: Path) -> None:
    for name, content in (("text.tflite", b"hello"), ("empty.tflite", b"")):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ModelError, match=name):
            TfliteBackend(tmp_path / name)


IDLE_DELEGATE = """
#include <stddef.h>
#include <stdint.h>
typedef struct Delegate {  /* TfLiteDelegate of tensorflow/lite/core/c/common.h */
  void *data;
  int (*prepare)(void *, struct Delegate *);
  void *buffers[3];
  int64_t flags;
  void *builder;
} Delegate;
static int prepare(void *context, Delegate *delegate) { return 0; }  /* and takes over nothing */
static Delegate idle = {.prepare = prepare};
Delegate *tflite_plugin_create_delegate(char **keys, char **values, size_t n, void (*report)(const char *)) {
#ifdef BROKEN
  report("no device");
  return NULL;
#endif
  return &idle;
}
void tflite_plugin_destroy_delegate(Delegate *delegate) {}
"""


def compiled(folder: Path, *options: str) -> str:
    return str(compile_c(IDLE_DELEGATE, folder / "libidle.so", "-shared", "-fPIC", *options))


def test_a_delegate_that_takes_over_nothing_is_not_measured_as_one(tmp_path: Path) -> None:
    library = compiled(tmp_path)
    with pytest.raises(ModelError, match=r"libidle\.so takes over nothing of .*tiny_int8\.tflite"):
        shipped("tiny", delegate=library)


def test_a_delegate_without_its_device_says_so(tmp_path: Path) -> None:
    with pytest.raises(BackendUnavailable, match=r"libidle\.so does not start: .*no device$"):
        shipped("tiny", delegate=compiled(tmp_path, "-DBROKEN"))


@pytest.mark.parametrize(
    ("library", "fault"),
    [
        ("libno-such.so.1", "libno-such.so.1 cannot be loaded: .*No such file"),
        ("libc.so.6", "is no delegate of TFLite"),
    ],
)
def test_a_library_that_is_no_delegate_is_refused(library: str, fault: str) -> None:
    with pytest.raises(BackendUnavailable, match=fault):
        shipped("tiny", delegate=library)


def test_a_delegate_is_given_to_every_interpreter_with_plain_kernels_beside_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A fake of the package: no delegate for this processor can be had. It notes what it is asked for."""
    package, _ = tflite._interpreter_module()
    asked: list[dict[str, Any]] = []

    def interpreter(*, experimental_delegates: list[str], **options: Any) -> Any:
        asked.append({"delegates": experimental_delegates, **options})
        return package.Interpreter(**options)

    fake: Any = SimpleNamespace(
        Interpreter=interpreter, OpResolverType=package.OpResolverType, load_delegate=lambda library: f"<{library}>"
    )
    monkeypatch.setattr(tflite, "_interpreter_module", lambda: (fake, "fake 1.0"))
    monkeypatch.setattr(tflite, "check_delegate", lambda library: None)
    monkeypatch.setattr(TfliteBackend, "delegated", True)
    backend = shipped("tiny", delegate="libfake.so")
    backend.run(inputs(backend, 2))
    assert backend.name == "fake 1.0 with libfake.so"
    plain = package.OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    assert [(one["delegates"], one["experimental_op_resolver_type"]) for one in asked] == [
        (["<libfake.so>"], plain)
    ] * 2


def test_without_an_interpreter_the_package_to_install_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tflite, "PACKAGES", {"no_such_interpreter": "nothing"})
    with pytest.raises(BackendUnavailable, match="pip install ai-edge-litert"):
        shipped("mobilenet_v2")


def test_the_predecessor_is_used_where_only_that_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    installed = [module for module in tflite.PACKAGES if find_spec(module.split(".")[0])]
    packages = {"no_such_interpreter": "nothing", installed[-1]: tflite.PACKAGES[installed[-1]]}
    monkeypatch.setattr(tflite, "PACKAGES", packages)
    assert shipped("mobilenet_v2").name.startswith(tflite.PACKAGES[installed[-1]])


def test_further_batch_sizes_need_the_file_no_more(tmp_path: Path) -> None:
    folder = find_model("blazeface_short")
    copy = tmp_path / "model.tflite"
    copy.write_bytes((find_model("mobilenet_v2") / load_manifest(find_model("mobilenet_v2")).file().file).read_bytes())
    backend = TfliteBackend(copy)
    copy.write_bytes((folder / "blazeface_short.tflite").read_bytes())
    assert backend.run(inputs(backend, 3))[0].shape == (3, 8)


def test_each_batch_size_is_one_call(monkeypatch: pytest.MonkeyPatch) -> None:
    backend = shipped("mobilenet_v2")
    backend.run(inputs(backend, 3))
    assert sorted(backend._interpreters) == [1, 3]


@pytest.mark.parametrize("name", ["int8", "fixed batch, two outputs", "onnx"])
def test_the_model_alone_can_be_called_and_changes_nothing(name: str) -> None:
    backend: Any = BACKENDS[name]()
    first, other = inputs(backend, 2)[:1], inputs(backend, 2)[1:]
    before = backend.run(first)
    alone = backend.bare_call(other)
    alone()
    alone()
    for now, then in zip(backend.run(first), before, strict=True):
        np.testing.assert_array_equal(now, then)
    with pytest.raises(ModelError):
        backend.bare_call(np.zeros((1, 3, 3, 3), np.float32))
