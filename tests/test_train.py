"""The workstation stage on real faces: data, augmentation, graphs, a few steps of every recipe, resuming."""

from __future__ import annotations

import dataclasses
import gzip
import json
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
from conftest import ROOT, SHARED

from edge_emotion.errors import ConfigError
from edge_emotion.factory import make_detector
from edge_emotion.labels import EMOTIONS

pytest.importorskip("tf_keras")

from train.augment import Augmentation
from train.cli import describe_start, main
from train.crop import measure_framing
from train.datasets import DataError, Faces, Split, load_fer_plus
from train.efficientnet_lite import efficientnet_lite0
from train.fit import BEST, RECORD, fit, load_run, model_pixels
from train.keras import K, tf
from train.mobilenet_v2 import mobilenet_v2
from train.recipes import FER_CROP, RECIPES, Recipe

WEIGHTS = SHARED / "weights" / "mobilenet_v2_1.0_imagenet_no_top.h5"
LITE_WEIGHTS = SHARED / "weights" / "efficientnet_lite0_imagenet_torch_layout.npz"
Data = dict[Split, Faces]


@pytest.fixture(scope="module")
def data(fer_folder: Path) -> Data:
    return load_fer_plus(fer_folder)


@pytest.fixture(scope="module")
def few(data: Data) -> Data:
    return {split: faces.take(np.arange(32)) for split, faces in data.items()}


def quick(recipe: Recipe, **changes: object) -> Recipe:
    return dataclasses.replace(recipe, batch_size=4, **{"epochs": 2, **changes})  # type: ignore[arg-type]


# Data


def test_the_splits_have_the_published_sizes(data: Data) -> None:
    assert {split: int(faces.clear.sum()) for split, faces in data.items()} == {
        "Training": 25060,
        "PublicTest": 3199,
        "PrivateTest": 3153,
    }


def test_votes_are_distributions_and_single_votes_are_dropped(data: Data) -> None:
    for faces in data.values():
        assert faces.images.shape[1:] == (48, 48)
        assert faces.votes.sum(axis=1) == pytest.approx(np.ones(len(faces)), abs=1e-5)
        assert faces.votes[faces.votes > 0].min() >= 0.19


def test_a_clear_winner_holds_more_than_half(data: Data) -> None:
    assert data["PrivateTest"].majority().votes.max(axis=1).min() > 0.5


def write_tables(folder: Path, pixels: list[str], votes: list[str]) -> Path:
    with gzip.open(folder / "fer2013.csv.gz", "wt") as file:
        file.write("\n".join(pixels) + "\n")
    (folder / "fer2013new.csv").write_text("\n".join(votes) + "\n")
    return folder


PIXELS = ["emotion,pixels,Usage"] + [
    f"0,{' '.join(['7'] * 2304)},{split}" for split in ("Training", "PublicTest", "PrivateTest")
]
VOTES = [
    "Usage,Image name,neutral,happiness,surprise,sadness,anger,disgust,fear,contempt,unknown,NF",
    "Training,a.png,6,4,0,0,0,0,0,0,0,0",
    "PublicTest,b.png,0,9,1,0,0,0,0,0,0,0",
    "PrivateTest,c.png,0,0,0,0,0,0,10,0,0,0",
]


def test_the_smallest_possible_tables_are_read(tmp_path: Path) -> None:
    small = load_fer_plus(write_tables(tmp_path, PIXELS, VOTES))
    assert small["Training"].votes[0, :2] == pytest.approx([0.6, 0.4])
    assert small["PublicTest"].votes[0, 1] == 1
    assert small["PrivateTest"].labels[0] == EMOTIONS.index("fear")


@pytest.mark.parametrize(
    ("pixels", "votes", "message"),
    [
        (PIXELS, [VOTES[0].replace("fear", "terror"), *VOTES[1:]], r"lacks the columns \['fear'\]"),
        (PIXELS, [VOTES[0], VOTES[2], VOTES[1], VOTES[3]], "do not list the same rows"),
        (PIXELS[:3], VOTES[:3], "no usable row in the split PrivateTest"),
        ([PIXELS[0], "0,1 2 3,Training", *PIXELS[2:]], VOTES, "row 2: 3 pixels instead of 2304"),
    ],
)
def test_malformed_tables_are_refused(tmp_path: Path, pixels: list[str], votes: list[str], message: str) -> None:
    with pytest.raises(DataError, match=message):
        load_fer_plus(write_tables(tmp_path, pixels, votes))


def test_missing_data_and_unknown_recipes_are_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fit", "--recipe", "mobilenet_v2", "--data", str(tmp_path)]) == 7
    assert main(["fit", "--recipe", "mobilnet", "--data", str(tmp_path)]) == 2
    errors = capsys.readouterr().err.splitlines()
    assert errors[0].startswith(f"error: {tmp_path} must hold fer2013.csv")
    assert errors[1] == "error: no recipe 'mobilnet'; there are: mobilenet_v2, efficientnet_lite0, tiny"


# Augmentation


def test_switched_off_it_changes_nothing(few: Data) -> None:
    off = Augmentation(flip=False, rotation=0, zoom=0, shift=0, brightness=0, contrast=0, erase=0)
    images = model_pixels(few["Training"].images, RECIPES["mobilenet_v2"].input).astype(np.float32)
    assert np.allclose(off(images), images, atol=0.01)


def test_it_keeps_shape_and_range_and_follows_the_seed(few: Data) -> None:
    images = model_pixels(few["Training"].images, RECIPES["mobilenet_v2"].input).astype(np.float32)
    tf.random.set_seed(1)
    once = Augmentation()(images).numpy()
    tf.random.set_seed(1)
    assert np.array_equal(once, Augmentation()(images))
    assert once.shape == images.shape
    assert once.min() >= 0
    assert once.max() <= 255
    assert np.abs(once - images).mean() > 5


def test_a_flip_is_a_mirror_image(few: Data) -> None:
    only = Augmentation(rotation=0, zoom=0, shift=0, brightness=0, contrast=0, erase=0)
    images = model_pixels(few["Training"].images, RECIPES["mobilenet_v2"].input).astype(np.float32)
    tf.random.set_seed(1)
    flipped = [
        bool(np.allclose(after, before[:, ::-1], atol=0.01))
        for before, after in zip(images, only(images).numpy(), strict=True)
        if not np.allclose(after, before, atol=0.01)
    ]
    assert all(flipped)
    assert 4 < len(flipped) < 28


# Graphs


def test_the_graph_is_keras_own_mobilenet_v2_on_grey_pictures() -> None:
    if not WEIGHTS.is_file():
        pytest.skip(f"no weights at {WEIGHTS}")
    ours = mobilenet_v2((96, 96, 1), 8, weights=str(WEIGHTS))
    theirs = K.applications.MobileNetV2((96, 96, 3), include_top=False, weights=str(WEIGHTS))
    features = K.Model(ours.input, ours.get_layer("out_relu").output)
    grey = np.random.default_rng(0).uniform(-1, 1, (2, 96, 96, 1)).astype(np.float32)
    assert np.allclose(features(grey), theirs(np.repeat(grey, 3, axis=3)), atol=3e-4)


def test_weights_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no weights file"):
        mobilenet_v2((96, 96, 1), 8, weights=str(tmp_path / "nowhere.h5"))
    (tmp_path / "wrong.h5").write_bytes(b"nothing")
    with pytest.raises(DataError, match="holds no MobileNetV2"):
        mobilenet_v2((96, 96, 1), 8, weights=str(tmp_path / "wrong.h5"))


IMAGENET = {"chelsea": {281, 282, 285}, "coffee": {967, 968}, "rocket": {657, 744}}
"""Pictures of scikit-image, and the ImageNet classes that they show: cats, coffee, missile and projectile."""


@pytest.mark.parametrize("name", IMAGENET)
def test_lite0_with_its_weights_sees_what_is_in_photographs(name: str) -> None:
    data = pytest.importorskip("skimage.data")
    if not LITE_WEIGHTS.is_file():
        pytest.skip(f"no weights at {LITE_WEIGHTS}")
    picture = getattr(data, name)()
    side = min(picture.shape[:2])
    top, left = (picture.shape[0] - side) // 2, (picture.shape[1] - side) // 2
    square = cv2.resize(picture[top : top + side, left : left + side], (224, 224), interpolation=cv2.INTER_AREA)
    model = efficientnet_lite0((224, 224, 3), 1000, weights=str(LITE_WEIGHTS))
    assert int(np.argmax(model((square[None].astype(np.float32) - 127) / 128))) in IMAGENET[name]


def test_one_grey_channel_is_the_same_function_on_grey_pictures() -> None:
    if not LITE_WEIGHTS.is_file():
        pytest.skip(f"no weights at {LITE_WEIGHTS}")
    one, three = (efficientnet_lite0((96, 96, c), 8, weights=str(LITE_WEIGHTS)) for c in (1, 3))
    grey = np.random.default_rng(0).uniform(-1, 1, (2, 96, 96, 1)).astype(np.float32)
    pooled = [K.Model(model.input, model.get_layer("pool").output) for model in (one, three)]
    assert np.allclose(pooled[0](grey), pooled[1](np.repeat(grey, 3, axis=3)), atol=3e-4)


def test_lite0_weights_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot read weights"):
        efficientnet_lite0((96, 96, 1), 8, weights=str(tmp_path / "nowhere.npz"))
    np.savez(tmp_path / "wrong.npz", other=np.zeros(3))
    with pytest.raises(DataError, match=r"not EfficientNet-Lite0's: '_conv_stem.weight'"):
        efficientnet_lite0((96, 96, 1), 8, weights=str(tmp_path / "wrong.npz"))


# Training


@pytest.mark.parametrize(
    ("weights", "start"),
    [(None, "random"), ("imagenet", "ImageNet"), ("/home/me/lite.npz", "ImageNet (lite.npz)")],
)
def test_the_start_is_described_without_paths(weights: str | None, start: str) -> None:
    assert describe_start(weights) == start


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_trains_a_few_steps(name: str, few: Data, tmp_path: Path) -> None:
    recipe = quick(RECIPES[name], epochs=1)
    without_test: Data = {split: faces for split, faces in few.items() if split != "PrivateTest"}
    best = fit(recipe, without_test, tmp_path / "run", weights=None, start="random", dataset="FER+", steps=2)
    assert best.is_file()
    model, _, record = load_run(tmp_path / "run")
    assert record["finished"]
    assert model.output_shape == (None, len(EMOTIONS))
    assert (tmp_path / "run" / "history.csv").read_text().count("\n") == 2


PROGRAM = """
import dataclasses, sys
from pathlib import Path
import numpy as np
from train.datasets import load_fer_plus
from train.efficientnet_lite import efficientnet_lite0
from train.fit import fit
from train.recipes import RECIPES
data = {split: faces.take(np.arange(32)) for split, faces in load_fer_plus(Path(sys.argv[1])).items()}
recipe = dataclasses.replace(RECIPES["mobilenet_v2"], batch_size=4, epochs=int(sys.argv[3]))
fit(recipe, data, Path(sys.argv[2]), weights=None, start="random", dataset="FER+", steps=2)
"""


def test_a_killed_run_goes_on_after_its_last_finished_epoch(fer_folder: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    command = [sys.executable, "-c", PROGRAM, str(fer_folder), str(run), "12"]
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=log)
    deadline = time.monotonic() + 120
    while not (run / "checkpoints" / "checkpoint").is_file():
        assert process.poll() is None, (tmp_path / "log").read_text()
        assert time.monotonic() < deadline
        time.sleep(0.1)
    process.kill()
    process.wait(10)
    assert "finished" not in json.loads((run / RECORD).read_text())
    with pytest.raises(ConfigError, match="another recipe"):
        fit(quick(RECIPES["mobilenet_v2"]), {}, run, weights=None, start="random", dataset="FER+", steps=2)
    again = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert again.returncode == 0, again.stderr
    assert f"resuming {run} after epoch" in again.stdout
    epochs = [int(line.split(",")[0]) for line in (run / "history.csv").read_text().splitlines()[1:]]
    assert epochs == sorted(set(epochs)) == list(range(12))
    assert (run / BEST).is_file()


def test_a_directory_that_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="not a training run"):
        load_run(tmp_path)


# The crop


def test_the_crop_of_the_recipes_is_what_is_measured(data: Data) -> None:
    framing = measure_framing(data["Training"], make_detector("blazeface_back"), count=150, seed=1)
    assert framing.found >= 140
    assert framing.margin == pytest.approx(FER_CROP.margin, abs=0.03)
    assert framing.shift == pytest.approx(FER_CROP.shift, abs=0.03)
