"""The graphs of the comparison recipes: shapes, published sizes, where their weights come from."""

from __future__ import annotations

import math
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge_emotion.errors import ConfigError
from train.data.faces import DataError

pytest.importorskip("tf_keras")

from train.keras import K
from train.networks.applications import IMAGENET_DEVIATION, IMAGENET_MEAN, efficientnet_b0, resnet50_v2, vgg16
from train.networks.convnets import baseline_cnn, resnet34
from train.networks.inception_resnet import inception_resnet
from train.networks.mobilenet_v2 import mobilenet_v2_035, tiny
from train.networks.vision_transformer import vit
from train.recipes.comparison_recipes import COMPARISON, INCEPTION_RESNET_BELOW_LAST_GRID, VGG16_CONVOLUTIONS

Tensors = dict[str, np.ndarray[Any, Any]]
RANDOM = np.random.default_rng(0)


def pictures(*shape: int, low: float = -1, high: float = 1) -> np.ndarray[Any, Any]:
    return RANDOM.uniform(low, high, shape).astype(np.float32)


def learned_below_the_head(model: Any) -> int:
    head = model.layers[-1].count_params()
    return int(sum(math.prod(weight.shape) for weight in model.trainable_weights) - head)


def features(model: Any, layer: str) -> Any:
    return K.Model(model.input, model.get_layer(layer).output)


def assert_alike(found: Any, expected: Any) -> None:
    """Random deep networks give tiny numbers: what counts is the difference beside their size."""
    found, expected = np.asarray(found), np.asarray(expected)
    assert np.ptp(expected) > 0
    assert np.abs(found - expected).max() < 1e-3 * np.abs(expected).max()


def weighted(model: Any) -> list[Any]:
    return [layer for layer in model.layers if layer.weights]


# Graphs


@pytest.mark.parametrize(
    ("network", "shape"),
    [
        (tiny, (48, 48, 1)),
        (vgg16, (32, 48, 3)),
        (baseline_cnn, (48, 48, 1)),
        (vit, (32, 32, 1)),
        (resnet50_v2, (32, 32, 3)),
    ],
)
def test_networks_are_flat_and_end_in_logits_of_any_number_of_classes(
    network: Callable[..., Any], shape: tuple[int, int, int]
) -> None:
    model = network(shape, 3, dropout=0.4)
    assert not [layer for layer in model.layers if isinstance(layer, K.Model)]
    assert model.get_layer("dropout").rate == 0.4
    assert model.layers[-1].activation is K.activations.linear
    assert model(pictures(2, *shape)).shape == (2, 3)


def test_resnet34_has_the_published_number_of_parameters() -> None:
    assert learned_below_the_head(resnet34((32, 32, 3), 7)) == 21_797_672 - 513_000


def test_a_picture_that_is_too_small_or_grey_is_refused_where_colour_is_needed() -> None:
    with pytest.raises(ConfigError, match="VGG16 takes three colours of at least 32x32 pixels, not 48x48x1"):
        vgg16((48, 48, 1), 7)
    with pytest.raises(ConfigError, match="at least 75x75 pixels, not 48x48x3"):
        inception_resnet((48, 48, 3), 7)


# Keras' files


def test_vgg16_takes_its_convolutions_from_keras_file_and_its_range_from_the_paper(tmp_path: Path) -> None:
    theirs = K.applications.VGG16(include_top=False, weights=None, input_shape=(32, 32, 3))
    theirs.save_weights(tmp_path / "no_top.h5")
    ours = vgg16((32, 32, 3), 7, weights=str(tmp_path / "no_top.h5"))
    rgb = pictures(2, 32, 32, 3, low=0, high=255)
    expected = theirs(K.applications.vgg16.preprocess_input(rgb.copy()))
    assert_alike(features(ours, "block5_pool")(rgb[..., ::-1]), expected)


def test_efficientnet_computes_the_same_from_a_file_as_from_keras_download(tmp_path: Path) -> None:
    theirs = K.applications.EfficientNetB0(include_top=False, weights=None, input_shape=(32, 32, 3))
    normalise = next(layer for layer in theirs.layers if isinstance(layer, K.layers.Normalization))
    normalise.set_weights([np.array(IMAGENET_MEAN), np.array(IMAGENET_DEVIATION), np.array(0)])
    theirs.save_weights(tmp_path / "no_top.h5")
    # Keras' file says the deviation; the graph for 'imagenet' divides by its root once more. Here it is the variance.
    normalise.set_weights([np.array(IMAGENET_MEAN), np.square(IMAGENET_DEVIATION), np.array(0)])
    normalise.finalize_state()
    ours = efficientnet_b0((32, 32, 3), 7, weights=str(tmp_path / "no_top.h5"))
    rgb = pictures(2, 32, 32, 3, low=0, high=255)
    assert_alike(features(ours, "top_activation")(rgb), theirs(rgb))
    assert all(weight.dtype.is_floating for weight in ours.weights), "an average of all weights must be possible"


def test_mobilenet_of_035_takes_keras_file_for_one_grey_channel(tmp_path: Path) -> None:
    theirs = K.applications.MobileNetV2((96, 96, 3), 0.35, include_top=False, weights=None)
    theirs.save_weights(tmp_path / "no_top.h5")
    ours = mobilenet_v2_035((96, 96, 1), 7, weights=str(tmp_path / "no_top.h5"))
    grey = pictures(2, 96, 96, 1)
    assert_alike(features(ours, "out_relu")(grey), theirs(np.repeat(grey, 3, axis=3)))


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """Nothing in Keras' cache, and a proxy that refuses."""
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("https_proxy", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(urllib.request, "_opener", None)
    yield


@pytest.mark.usefixtures("offline")
def test_imagenet_without_a_network_says_which_file_to_give() -> None:
    with pytest.raises(
        DataError, match=r"VGG16 from Keras: .*no network, give --weights with its no-top \.h5 of Keras"
    ):
        vgg16((32, 32, 3), 7, weights="imagenet")


def test_imagenet_is_refused_where_there_is_nothing_to_download() -> None:
    with pytest.raises(DataError, match=r"no ImageNet weights of tiny to download: give --weights with .* a run"):
        tiny((48, 48, 3), 7, weights="imagenet")


# Weights of a run


def test_a_run_goes_on_from_another_one_with_the_same_classes(tmp_path: Path) -> None:
    first = tiny((48, 48, 1), 7)
    first.save_weights(tmp_path / "best.h5")
    second = tiny((48, 48, 1), 7, weights=str(tmp_path / "best.h5"))
    grey = pictures(2, 48, 48, 1)
    assert np.array_equal(first(grey), second(grey))


def test_with_other_classes_only_the_head_starts_anew(tmp_path: Path) -> None:
    first = vit((48, 48, 1), 7)
    first.save_weights(tmp_path / "best.h5")
    second = vit((48, 48, 1), 3, weights=str(tmp_path / "best.h5"))
    grey = pictures(2, 48, 48, 1)
    assert np.allclose(features(first, "class_token")(grey), features(second, "class_token")(grey), atol=1e-5)
    assert second(grey).shape == (2, 3)


def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "best.h5"
    tiny((48, 48, 1), 7).save_weights(path)
    with pytest.raises(DataError, match=r"best.h5 holds no baseline CNN: 51 layers with weights instead of 17"):
        baseline_cnn((48, 48, 1), 7, weights=str(path))
    vit((48, 48, 1), 7).save_weights(path)
    with pytest.raises(DataError, match=r"layer tokens needs .*\(1, 26, 128\)\], not .*\(1, 65, 128\)\]"):
        vit((30, 30, 1), 7, weights=str(path))


def test_a_file_that_is_missing_or_not_keras_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no weights file"):
        tiny((48, 48, 1), 7, weights=str(tmp_path / "nowhere.h5"))
    (tmp_path / "wrong.h5").write_bytes(b"nothing")
    with pytest.raises(DataError, match=r"holds no tiny: .*give the \.h5 of a run"):
        tiny((48, 48, 1), 7, weights=str(tmp_path / "wrong.h5"))


# Inception-ResNet


def made_up_facenet() -> Tensors:
    """Names and shapes of the state dict of facenet-pytorch, written down from its modules; values tell axes apart."""
    tensors: Tensors = {}

    def norm(name: str, width: int) -> None:
        for part in ("weight", "bias", "running_mean", "running_var"):
            tensors[f"{name}.{part}"] = np.ones(width, np.float32)
        tensors[f"{name}.num_batches_tracked"] = np.zeros(1, np.int64)

    def conv(name: str, before: int, width: int, kernel: tuple[int, int]) -> None:
        shape = (width, before, *kernel)
        tensors[f"{name}.conv.weight"] = np.broadcast_to(np.arange(kernel[1], dtype=np.float32), shape)
        norm(f"{name}.bn", width)

    def chain(name: str, before: int, *parts: tuple[int, int, int]) -> None:
        for number, (width, *kernel) in enumerate(parts):
            conv(f"{name}.{number}", before, width, (kernel[0], kernel[1]))
            before = width

    def merge(name: str, before: int, width: int) -> None:
        tensors[f"{name}.conv2d.weight"] = np.ones((width, before, 1, 1), np.float32)
        tensors[f"{name}.conv2d.bias"] = np.ones(width, np.float32)

    stem = [("1a", 3, 32, 3), ("2a", 32, 32, 3), ("2b", 32, 64, 3), ("3b", 64, 80, 1), ("4a", 80, 192, 3)]
    for name, before, width, side in [*stem, ("4b", 192, 256, 3)]:
        conv(f"conv2d_{name}", before, width, (side, side))
    for unit in range(5):
        name = f"repeat_1.{unit}"
        conv(f"{name}.branch0", 256, 32, (1, 1))
        chain(f"{name}.branch1", 256, (32, 1, 1), (32, 3, 3))
        chain(f"{name}.branch2", 256, (32, 1, 1), (32, 3, 3), (32, 3, 3))
        merge(name, 96, 256)
    conv("mixed_6a.branch0", 256, 384, (3, 3))
    chain("mixed_6a.branch1", 256, (192, 1, 1), (192, 3, 3), (256, 3, 3))
    for unit in range(10):
        name = f"repeat_2.{unit}"
        conv(f"{name}.branch0", 896, 128, (1, 1))
        chain(f"{name}.branch1", 896, (128, 1, 1), (128, 1, 7), (128, 7, 1))
        merge(name, 256, 896)
    chain("mixed_7a.branch0", 896, (256, 1, 1), (384, 3, 3))
    chain("mixed_7a.branch1", 896, (256, 1, 1), (256, 3, 3))
    chain("mixed_7a.branch2", 896, (256, 1, 1), (256, 3, 3), (256, 3, 3))
    for name in (*(f"repeat_3.{unit}" for unit in range(5)), "block8"):
        conv(f"{name}.branch0", 1792, 192, (1, 1))
        chain(f"{name}.branch1", 1792, (192, 1, 1), (192, 1, 3), (192, 3, 1))
        merge(name, 384, 1792)
    tensors["last_linear.weight"] = np.ones((512, 1792), np.float32)
    norm("last_bn", 512)
    return tensors | {"logits.weight": np.ones((8631, 512), np.float32), "logits.bias": np.ones(8631, np.float32)}


def test_the_inception_resnet_takes_the_state_dict_of_facenet(tmp_path: Path) -> None:
    np.savez(tmp_path / "vggface2.npz", **made_up_facenet())  # type: ignore[arg-type]
    model = inception_resnet((96, 96, 3), 7, weights=str(tmp_path / "vggface2.npz"))
    assert learned_below_the_head(model) == 23_482_624, "as published"
    kernel = model.get_layer("repeat_2.3.branch1.1.conv").kernel
    assert kernel.shape == (1, 7, 128, 128)
    assert np.array_equal(kernel[0, :, 5, 6], np.arange(7))
    assert model(pictures(1, 96, 96, 3)).shape == (1, 7)
    learning = weighted(model)[round(INCEPTION_RESNET_BELOW_LAST_GRID * len(weighted(model))) :]
    assert {layer.name.split(".")[0] for layer in learning} == {
        "repeat_3",
        "block8",
        "last_linear",
        "last_bn",
        "logits",
    }
    assert len([layer for layer in weighted(model) if layer.name.startswith(("repeat_3", "block8"))]) == 54
    assert len(learning) == 54 + 3


# Recipes


def test_the_comparison_recipes_are_there_and_fit_their_networks() -> None:
    names = [recipe.name for recipe in COMPARISON]
    assert names == [
        "efficientnet_b0", "baseline_cnn", "vgg16", "resnet34",
        "resnet50_v2", "efficientnet_b4", "vit", "vit_b16", "inception_resnet",
    ]  # fmt: skip
    for recipe in COMPARISON:
        assert recipe.summary and recipe.network.__name__ == recipe.name


def test_exactly_the_convolutions_of_vgg16_are_frozen() -> None:
    layers = weighted(vgg16((32, 32, 3), 7))
    frozen = layers[: round(VGG16_CONVOLUTIONS * len(layers))]
    assert len(frozen) == 13 and all(isinstance(layer, K.layers.Conv2D) for layer in frozen)
    assert not [layer for layer in layers[13:] if isinstance(layer, K.layers.Conv2D)]


@pytest.mark.parametrize(
    ("name", "expected"),
    [("vit_b16", (-1, 1)), ("resnet50_v2", (-1, 1)), ("efficientnet_b0", (0, 255)), ("vgg16", (0, 255)),
     ("inception_resnet", (-127.5 / 128, 127.5 / 128))],
)  # fmt: skip
def test_pixels_arrive_in_the_range_that_the_weights_know(name: str, expected: tuple[float, float]) -> None:
    spec = next(recipe for recipe in COMPARISON if recipe.name == name).input
    assert (spec.offset, 255 * spec.scale + spec.offset) == pytest.approx(expected)
    assert spec.colour == ("bgr" if name == "vgg16" else "rgb")
