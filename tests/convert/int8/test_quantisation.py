"""Quantisation-aware training: the folded network, its ranges, and the files that the converter writes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.finished_runs import FinishedRuns

from edge_emotion.backends.onnx import OnnxBackend
from edge_emotion.backends.tflite import TfliteBackend
from edge_emotion.errors import ConfigError, ModelError

pytest.importorskip("tf_keras")
pytest.importorskip("onnx")

from convert.int8 import quantise_aware as aware
from convert.int8.calibrate import best_range, calibrate
from convert.int8.fold import WEIGHTED, fold
from convert.int8.qat import calibration_pixels, load_qat, qat_directory, quantisation_aware
from convert.int8.quantise_aware import (
    Range,
    asymmetric,
    quantise_aware,
    quantised_layers,
    scales_of,
    symmetric,
    unwrap,
)
from convert.onnx.from_keras import export_graph
from convert.onnx.write import write_onnx
from convert.tflite import write as tflite
from edge_emotion.models.preprocess import normalise
from train.data.faces import DataSet
from train.evaluation.logits import model_pixels
from train.keras import K
from train.recipes.catalogue import find_recipe
from train.recipes.recipe import gray_input
from train.runs.run_directory import BEST, RECORD

SPEC = gray_input(48)


def lively(model: Any, seed: int = 0) -> Any:
    """The model with kernels from a seed, the same on every processor, and batch norms that change values."""
    generator = np.random.default_rng(seed)
    for layer in model.layers:
        if isinstance(layer, WEIGHTED):
            kernel, *bias = layer.get_weights()
            reads = kernel.size / kernel.shape[2 if isinstance(layer, K.layers.DepthwiseConv2D) else -1]
            layer.set_weights([generator.normal(0, reads**-0.5, kernel.shape), *bias])
        if isinstance(layer, K.layers.BatchNormalization):
            shape = layer.gamma.shape
            values = [generator.uniform(*reach, shape) for reach in ((-1.5, 1.5), (-1, 1), (-0.3, 0.3), (0.01, 2))]
            layer.set_weights(values)
    return model


def pictures(data: DataSet, count: int) -> np.ndarray:
    return model_pixels(data["train"].images[:count], SPEC)


def test_the_same_real_faces_calibrate_everywhere(fer_plus: DataSet) -> None:
    """docs/adr/0006: 512 rows of the training split, evenly from the first to the last."""
    faces = fer_plus["train"]
    pixels = calibration_pixels(faces, SPEC)
    assert len(pixels) == 512
    last, second = len(faces) - 1, int((len(faces) - 1) / 511)
    for row, at in ((0, 0), (1, second), (511, last)):
        assert (pixels[row] == model_pixels(faces.images[at : at + 1], SPEC)[0]).all()
    few = faces.take(np.arange(5))
    assert (calibration_pixels(few, SPEC) == model_pixels(few.images, SPEC)).all()


def small_net(input_shape: tuple[int, int, int] = (48, 48, 1), seed: int = 0) -> Any:
    """Every kind of layer and every way to fuse: with a skip, with and without ReLU, one unbounded."""
    inputs = K.Input(input_shape, name="pixels")
    x = K.layers.Conv2D(8, 3, 2, padding="same", use_bias=False, name="stem")(inputs)
    x = skip = K.layers.ReLU(6.0, name="stem_relu")(K.layers.BatchNormalization(name="stem_bn")(x))
    x = K.layers.DepthwiseConv2D(3, padding="same", use_bias=False, name="depthwise")(x)
    x = K.layers.ReLU(name="depthwise_relu")(K.layers.BatchNormalization(name="depthwise_bn")(x))
    x = K.layers.BatchNormalization(name="project_bn")(K.layers.Conv2D(8, 1, name="project")(x))
    x = K.layers.GlobalAveragePooling2D(name="pool")(K.layers.Add(name="add")([skip, x]))
    model = K.Model(inputs, K.layers.Dense(8, name="logits")(K.layers.Dropout(0.2, name="dropout")(x)))
    return lively(model, seed)


def quantised_file(folded: Any, data: DataSet, path: Path, scheme: Any) -> tuple[Any, TfliteBackend]:
    """The simulated network and its file."""
    simulated = quantise_aware(folded, SPEC, calibrate(folded, pictures(data, 64), SPEC, scheme))
    path.write_bytes(tflite.quantisation_aware(simulated))
    tflite.check_integer_only(path)
    return simulated, TfliteBackend(path, plain_kernels=True)


@pytest.mark.parametrize("name", ["mobilenet_v2", "efficientnet_lite0", "tiny"])
def test_folding_changes_nothing(name: str) -> None:
    recipe = find_recipe(name)
    model = lively(recipe.build(8, weights=None))
    folded = fold(model)
    batch = np.random.default_rng(1).uniform(-1, 1, (2, *recipe.input.shape)).astype(np.float32)
    before, after = model.predict_on_batch(batch), folded.predict_on_batch(batch)
    np.testing.assert_allclose(after, before, atol=1e-4 * np.abs(before).max())
    assert not any(isinstance(layer, K.layers.BatchNormalization) for layer in folded.layers)


@pytest.mark.parametrize(
    ("layer", "reason"),
    [
        (K.layers.Activation("sigmoid", name="odd"), "odd (Activation): it has no quantised form here"),
        (K.layers.ReLU(4.0, name="odd"), "odd (ReLU): it is neither ReLU nor ReLU6"),
        (K.layers.Conv2D(4, 3, dilation_rate=2, name="odd"), "odd (Conv2D): it is dilated"),
        (K.layers.Conv2D(4, 3, padding="same", activation="relu", name="odd"), "it has an activation inside"),
        (K.layers.BatchNormalization(name="odd"), "it follows pixels, which is no convolution"),
        (K.layers.Conv2DTranspose(4, 3, name="odd"), "odd (Conv2DTranspose): it has no quantised form here"),
        (K.layers.SpatialDropout2D(0.1, name="odd"), "odd (SpatialDropout2D): it has no quantised form here"),
    ],
)
def test_a_layer_that_cannot_be_quantised_is_named(layer: Any, reason: str) -> None:
    inputs = K.Input((48, 48, 1), name="pixels")
    with pytest.raises(ModelError) as caught:
        fold(K.Model(inputs, K.layers.GlobalAveragePooling2D()(layer(inputs))))
    assert reason in str(caught.value)


def test_a_norm_of_a_convolution_that_others_read_is_refused() -> None:
    inputs = K.Input((48, 48, 1), name="pixels")
    conv = K.layers.Conv2D(4, 3, name="conv")(inputs)
    x = K.layers.Add(name="sum")([conv, K.layers.BatchNormalization(name="odd")(conv)])
    with pytest.raises(ModelError, match=r"odd \(BatchNormalization\): it follows conv, which sum reads, too"):
        fold(K.Model(inputs, K.layers.GlobalAveragePooling2D()(x)))


def rare_net() -> Any:
    """Layers without a bias of which no batch norm follows, and two outputs for each channel of a depthwise layer."""
    inputs = K.Input((48, 48, 1), name="pixels")
    x = K.layers.ReLU(6.0, name="stem_relu")(K.layers.Conv2D(4, 3, 2, use_bias=False, name="stem")(inputs))
    x = K.layers.DepthwiseConv2D(3, depth_multiplier=2, use_bias=False, name="depthwise")(x)
    x = K.layers.ReLU(6.0, name="depthwise_relu")(K.layers.BatchNormalization(name="depthwise_bn")(x))
    x = K.layers.GlobalAveragePooling2D(name="pool")(K.layers.Conv2D(6, 1, use_bias=False, name="project")(x))
    return lively(K.Model(inputs, K.layers.Dense(8, use_bias=False, name="logits")(x)))


@pytest.mark.numeric
def test_rare_layers_are_folded_and_become_the_same_int8_in_both_formats(fer_plus: DataSet, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    model = rare_net()
    folded, batch = fold(model), normalise(pictures(fer_plus, 32), SPEC)
    exact = model.predict_on_batch(batch)
    np.testing.assert_allclose(folded.predict_on_batch(batch), exact, atol=1e-4 * np.abs(exact).max())
    simulated, backend = quantised_file(folded, fer_plus, tmp_path / "net.tflite", "symmetric")
    graph = export_graph(unwrap(simulated))
    explicit = OnnxBackend(write_onnx(graph, tmp_path / "net.onnx", scales=scales_of(simulated)), optimise=False)
    for int8 in (backend, explicit):
        assert np.abs(int8.run(batch)[0] - exact).max() < 0.1 * np.ptp(exact)


def test_outputs_that_fuse_are_not_rounded_twice() -> None:
    assert quantised_layers(fold(small_net())) == ["stem_relu", "depthwise_relu", "project", "add", "pool", "logits"]


def test_ranges_have_a_whole_zero_point() -> None:
    assert symmetric(2.0).scale == pytest.approx(2 / 127)
    assert symmetric(2.0).low == pytest.approx(-128 * 2 / 127)
    for low, high in ((-0.37, 5.1), (0.0, 6.0), (0.2, 1.0), (-3.0, -1.0)):
        reach = asymmetric(low, high)
        assert reach.low / reach.scale == pytest.approx(round(reach.low / reach.scale), abs=1e-6)
        assert reach.low <= 0 <= reach.high


def test_a_range_gives_up_what_is_rare_for_what_is_common() -> None:
    values = np.linspace(0, 10, 2049)[1:] - 10 / 4096
    common = (values < 1).astype(float) * 1e6
    common[-1] = 1
    assert best_range(values, common, "symmetric").high < 6
    assert best_range(values, np.ones(2048), "symmetric").high > 9.5
    assert best_range(values, np.ones(2048), "asymmetric").low == 0


@pytest.mark.numeric
@pytest.mark.parametrize("scheme", ["symmetric", "asymmetric"])
def test_the_file_computes_what_was_simulated(scheme: Any, fer_plus: DataSet, tmp_path: Path) -> None:
    net = fold(small_net(seed=1))  # of which no two logits are close
    simulated, backend = quantised_file(net, fer_plus, tmp_path / "net.tflite", scheme)
    batch = normalise(pictures(fer_plus, 200), SPEC)
    theirs, ours = simulated.predict_on_batch(batch), backend.run(batch)[0]
    step = np.diff(np.unique(ours)).min()
    assert np.abs(theirs - ours).max() <= 2.01 * step
    assert np.abs(theirs - ours).mean() <= 0.1 * step
    assert (theirs.argmax(axis=1) == ours.argmax(axis=1)).mean() >= 0.97
    zero_points = {tensor["quantization"][1] for tensor in backend.tensors}
    assert (zero_points == {0}) == (scheme == "symmetric")


@pytest.mark.numeric
def test_each_channel_of_a_depthwise_kernel_uses_all_of_int8(
    fer_plus: DataSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(aware, "WEIGHT_FLOOR", 0.0)
    model = small_net()
    layer = model.get_layer("depthwise")
    layer.set_weights([layer.get_weights()[0] * np.geomspace(0.05, 20, 8)[:, None]])
    _, backend = quantised_file(fold(model), fer_plus, tmp_path / "net.tflite", "symmetric")
    kernels = [values for _, values in backend.constants(np.int8) if values.shape == (1, 3, 3, 8)]
    assert np.abs(kernels[0].astype(int)).max(axis=(0, 1, 2)).tolist() == [127] * 8


def test_an_idle_channel_does_not_saturate_its_bias(
    fer_plus: DataSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folded = fold(small_net())
    kernel, bias = folded.get_layer("project").get_weights()
    kernel[..., 3], bias[3] = 1e-12, 2.0
    folded.get_layer("project").set_weights([kernel, bias])
    quantised_file(folded, fer_plus, tmp_path / "net.tflite", "symmetric")
    monkeypatch.setattr(aware, "WEIGHT_FLOOR", 0.0)
    with pytest.raises(ModelError, match="does not fit into 32 bits"):
        quantised_file(folded, fer_plus, tmp_path / "net.tflite", "symmetric")


@pytest.fixture
def float_run(shallow_tiny: None, finished_run: FinishedRuns, tmp_path: Path) -> Path:
    """A short float run."""
    return finished_run.copy(tmp_path / "runs" / "tiny")


def test_fine_tuning_learns_and_is_found_again(
    float_run: Path, few_faces: DataSet, capsys: pytest.CaptureFixture[str]
) -> None:
    where = quantisation_aware(float_run, few_faces, "symmetric", epochs=1, rate=1e-3, steps=3)
    assert where == qat_directory(float_run, "symmetric")
    assert "started from" not in (where / RECORD).read_text()
    tuned = load_qat(float_run, "symmetric").build()
    start = quantise_aware(fold(find_recipe("tiny").build(8, weights=str(float_run / BEST))), SPEC)
    batch = normalise(pictures(few_faces, 8), SPEC)
    assert np.abs(tuned.predict_on_batch(batch) - start.predict_on_batch(batch)).max() > 0
    capsys.readouterr()
    quantisation_aware(float_run, few_faces, "symmetric", epochs=1, rate=1e-3, steps=3)
    assert "is finished" in capsys.readouterr().out


def test_what_is_not_there_is_said(float_run: Path, fer_plus: DataSet) -> None:
    with pytest.raises(ConfigError, match="no asymmetric quantisation-aware training"):
        load_qat(float_run, "asymmetric")
    with pytest.raises(ConfigError, match="not that data set"):
        quantisation_aware(float_run, fer_plus, "asymmetric")


def test_ranges_are_kept_with_the_weights() -> None:
    folded = fold(small_net())
    made = quantise_aware(folded, SPEC, dict.fromkeys(quantised_layers(folded), Range(-2.0, 3.0)))
    copy = quantise_aware(folded, SPEC)
    copy.set_weights(made.get_weights())
    batch = np.random.default_rng(0).uniform(-1, 1, (2, 48, 48, 1)).astype(np.float32)
    np.testing.assert_array_equal(made.predict_on_batch(batch), copy.predict_on_batch(batch))
