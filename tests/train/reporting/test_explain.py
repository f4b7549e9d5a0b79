"""Attention maps: known answers of networks made by hand, and the pictures that the command writes."""

from __future__ import annotations

import argparse
import re
from pathlib import Path

import cv2
import numpy as np
import pytest
from support.fer_files import fer_plus

from edge_emotion.cli.terminal import run_command
from edge_emotion.datatypes import Image
from edge_emotion.errors import ConfigError
from edge_emotion.labels import EMOTIONS

pytest.importorskip("tf_keras")

from train.commands.explain import add_explain
from train.data.faces import Faces, every_class
from train.keras import K
from train.networks.mobilenet_v2 import tiny
from train.networks.vision_transformer import attention_maps, vit
from train.recipes.catalogue import find_recipe
from train.recipes.recipe import gray_input
from train.reporting.blob import RADIUS, misses
from train.reporting.explained import Network
from train.reporting.explanations import Subject, explain, prepare
from train.reporting.overlay import (
    BAR_ROOM,
    GAP,
    LINE,
    SIDE,
    feature_grid,
    heat_colours,
    overlay,
    patch_view,
    with_colour_bar,
)
from train.reporting.saliency import (
    activated_layers,
    feature_layers,
    feature_maps,
    grad_cam,
    last_feature_layer,
    on_patches,
    patch_grid,
    rollout,
)
from train.runs.run_directory import BEST, create

SQUARE = (slice(4, 12), slice(20, 28))
"""The place of a bright square of 8 x 8 in 32 x 32."""


def finder(*, trainable: bool = True) -> K.Model:
    """One kernel fires where an 8 x 8 area is bright, in favour of class 1; another where it is dark, for 0."""
    pixels = K.Input((32, 32, 1), name="pixels")
    x = K.layers.Conv2D(2, 8, padding="same", activation="relu", name="finder", trainable=trainable)(pixels)
    x = K.layers.GlobalAveragePooling2D(name="pool")(x)
    model = K.Model(pixels, K.layers.Dense(2, use_bias=False, name="logits", trainable=trainable)(x), name="finder_net")
    bright = np.full((8, 8, 1), 1 / 64)
    model.get_layer("finder").set_weights([np.stack([-bright, bright], axis=-1), np.array([-0.5, -0.5])])
    model.get_layer("logits").set_weights([np.eye(2)])
    return model


def bright_square() -> np.ndarray:
    image = np.zeros((1, 32, 32, 1), np.float32)
    image[(0, *SQUARE)] = 1
    return image


@pytest.mark.parametrize("trainable", [True, False])
def test_heat_lies_where_the_network_found_its_reason(trainable: bool) -> None:
    (heat,) = grad_cam(finder(trainable=trainable), bright_square(), np.array([1]))
    assert heat.shape == (32, 32)
    assert heat.max() == 1
    assert heat[SQUARE].sum() == pytest.approx(heat.sum())
    peak = np.unravel_index(heat.argmax(), heat.shape)
    assert np.abs(np.subtract(peak, (7.5, 23.5))).max() <= 1


def test_grad_cam_plus_plus_shows_every_place_of_a_feature() -> None:
    """Two squares, the second half as bright: both are found, and nothing else is."""
    image = bright_square()
    image[0, 20:28, 4:12] = 0.75
    (heat,) = grad_cam(finder(), image, np.array([1]), plus=True)
    second = heat[18:30, 2:14]
    assert heat.max() == 1 and second.max() > 0.3
    assert heat[2:14, 18:30].sum() + second.sum() == pytest.approx(heat.sum())
    assert not grad_cam(finder(), bright_square(), np.array([0]), plus=True).any()


def test_there_is_no_heat_for_a_class_without_a_reason() -> None:
    assert not grad_cam(finder(), bright_square(), np.array([0])).any()


def test_heat_is_of_the_class_that_was_asked_for_in_each_face() -> None:
    faces = np.concatenate([bright_square(), -bright_square(), bright_square()])
    heat = grad_cam(finder(), faces, np.array([1, 0, 0]))
    assert heat.max(axis=(1, 2)).tolist() == [1, 1, 0]


def test_maps_are_what_the_layer_computes() -> None:
    maps = feature_maps(finder(), bright_square(), "finder")
    assert maps.shape == (1, 32, 32, 2)
    assert maps[..., 1].max() == pytest.approx(0.5)
    assert maps[..., 0].max() == 0


def test_an_unknown_layer_is_answered_with_the_nearest_names() -> None:
    with pytest.raises(ConfigError, match="finder_net has no layer 'fnder'; use one like finder"):
        grad_cam(finder(), bright_square(), np.array([1]), "fnder")
    with pytest.raises(
        ConfigError, match=r"layer logits has no feature maps but gives \(None, 2\); use one like finder"
    ):
        feature_maps(finder(), bright_square(), "logits")


def test_only_layers_with_places_count_as_feature_maps() -> None:
    assert feature_layers(finder()) == ["finder"]


def test_grad_cam_looks_at_the_last_layer_that_is_fine_enough() -> None:
    pixels = K.Input((32, 32, 1))
    fine = K.layers.Conv2D(2, 3, 4, "same", name="eight_places")(pixels)
    coarse = K.layers.Conv2D(2, 3, 4, "same", name="two_places")(fine)
    assert last_feature_layer(K.Model(pixels, coarse)) == "eight_places"
    assert last_feature_layer(K.Model(fine, coarse)) == "two_places"


@pytest.mark.parametrize("name", ["tiny", "resnet50_v2"])
def test_the_default_layers_are_activations_that_show_a_blob_where_it_is(name: str) -> None:
    """The other recipes: scripts/check_explain_layers.py."""
    recipe = find_recipe(name)
    K.utils.set_random_seed(0)
    model = recipe.build(8, weights=None)
    for layer in (activated_layers(model)[0], last_feature_layer(model)):
        assert isinstance(model.get_layer(layer), (K.layers.ReLU, K.layers.Activation)), layer
        cell = 1 / model.get_layer(layer).output_shape[1]
        assert max(misses(model, recipe.input, layer)) < RADIUS + cell


def test_the_branches_of_a_concatenation_are_not_shown() -> None:
    x = pixels = K.Input((32, 32, 1))
    branches = [K.layers.Conv2D(2, 3, padding="same", activation="relu", name=f"branch_{i}")(x) for i in range(2)]
    x = K.layers.Conv2D(2, 3, padding="same", name="mix")(K.layers.Concatenate()(branches))
    x = K.layers.ZeroPadding2D(name="pad")(K.layers.ReLU(name="mixed")(x))
    assert activated_layers(K.Model(pixels, x)) == ["mixed"]


def test_rollout_multiplies_blocks_and_keeps_half_of_each_token() -> None:
    # Token 0 attends to 1 in the first block and to 2 in the second; all others attend to themselves.
    first, second = np.eye(3, dtype=np.float32), np.eye(3, dtype=np.float32)
    first[0], second[0] = (0, 1, 0), (0, 0, 1)
    (flow,) = rollout([first[None, None], second[None, None]])
    assert flow[0].tolist() == [0.25, 0.25, 0.5]
    assert flow.sum(axis=1).tolist() == [1, 1, 1]


def test_rollout_averages_heads() -> None:
    heads = np.stack([np.eye(2), np.ones((2, 2)) / 2]).astype(np.float32)
    (flow,) = rollout([heads[None]])
    assert flow == pytest.approx(np.array([[0.875, 0.125], [0.125, 0.875]]))


def test_attention_of_the_class_token_lies_on_the_patches_row_by_row() -> None:
    flow = np.zeros((1, 7, 7), np.float32)
    flow[0, 0] = (0.5, 0, 0, 0, 0, 0.5, 0.25)
    assert on_patches(flow, 2, 3).tolist() == [[[0, 0, 0], [0, 1, 0.5]]]
    with pytest.raises(ConfigError, match="7 tokens are not a class token and 3 x 3 patches"):
        on_patches(flow, 3, 3)


def test_colours_rise_with_heat_and_the_face_shows_through() -> None:
    ramp = np.linspace(0, 1, 8, dtype=np.float32)[None].repeat(8, axis=0)
    brightness = heat_colours(ramp, 64).astype(int).sum(axis=2)[0]
    assert brightness[0] < 20 < 400 < brightness[-1]
    assert (np.diff(brightness) >= -3).all()
    face = np.zeros((48, 48), np.uint8)
    face[:, :24] = 200
    blended = overlay(face, np.zeros((4, 4), np.float32), strength=0.5)
    assert blended.shape == (SIDE, SIDE, 3)
    assert (blended[100, 50, 1], blended[100, 200, 1]) == (100, 0)


def test_a_colour_bar_goes_from_hot_above_to_cold_below() -> None:
    sheet = with_colour_bar(np.full((300, 100, 3), 255, np.uint8), "evidence")
    assert sheet.shape == (300, 100 + BAR_ROOM, 3)
    column = sheet[LINE : LINE + SIDE, 100 + 3 * GAP].astype(int).sum(axis=1)
    assert column[0] > 400 > 20 > column[-1]
    assert (np.diff(column) <= 3).all()


def test_the_strongest_maps_come_first() -> None:
    maps = np.zeros((4, 4, 3), np.float32)
    maps[0, 0, 2], maps[3, 3, 0] = 5, 1
    sheet = feature_grid(maps, count=2, columns=2, side=4)
    assert sheet.shape == (4, 12, 3)
    tiles = sheet[:, :4].astype(int).sum(axis=2), sheet[:, 8:].astype(int).sum(axis=2)
    assert [np.unravel_index(tile.argmax(), tile.shape) for tile in tiles] == [(0, 0), (3, 3)]


def test_patches_are_cut_apart_in_their_places() -> None:
    face = np.arange(16, dtype=np.uint8).reshape(4, 4).repeat(12, axis=0).repeat(12, axis=1) * 15
    view = patch_view(face, 4, 4, gap=4)
    assert view.shape == (4 * 56 + 3 * 4, 4 * 56 + 3 * 4, 3)
    assert view[30::60, 30::60, 0].tolist() == (np.arange(16).reshape(4, 4) * 15).tolist()
    assert (view[56:60] == 255).all()


def test_the_first_rows_show_every_class() -> None:
    labels = np.array([0, 0, 0, 1, 1, 2])
    faces = Faces(np.zeros((6, 2, 2), np.uint8), np.eye(3, dtype=np.float32)[labels], np.ones(6, np.bool_))
    assert every_class(faces).tolist() == [0, 3, 5, 1, 4, 2]


# The command


def make_run(path: Path, name: str, **settings: object) -> Path:
    """A run directory with untrained weights."""
    recipe = find_recipe(name).change(weights=None, **settings)
    create(path, {"recipe": recipe.model_dump(mode="json"), "classes": list(EMOTIONS)})
    recipe.build(len(EMOTIONS), weights=None).save_weights(path / BEST)
    return path


@pytest.fixture(scope="module")
def tiny_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_run(tmp_path_factory.mktemp("runs") / "tiny", "tiny")


@pytest.fixture
def picture(astronaut: Image, tmp_path: Path) -> Path:
    path = tmp_path / "a portrait.png"
    cv2.imwrite(str(path), astronaut)
    return path


def command(*words: str | Path) -> int:
    parser = argparse.ArgumentParser()
    add_explain(parser.add_subparsers())
    return run_command(parser.parse_args(["explain", *map(str, words)], argparse.Namespace(debug=False)))


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_picture_is_a_face_crop_unless_faces_are_to_be_found_in_it(
    tiny_run: Path, picture: Path, tmp_path: Path
) -> None:
    whole, found = tmp_path / "whole", tmp_path / "found"
    assert command(tiny_run, "--image", picture, "--out", whole) == 0
    assert command(tiny_run, "--image", picture, "--detect", "--out", found) == 0
    assert names(whole) == ["gradcam-01-a_portrait-head_relu.png", "sheet-gradcam-head_relu.png"]
    assert names(found) == ["gradcam-01-a_portrait-1-head_relu.png", "sheet-gradcam-head_relu.png"]
    seen = [cv2.imread(str(next(folder.glob("gradcam-*"))))[-SIDE:, :SIDE] for folder in (whole, found)]
    portrait = cv2.resize(cv2.imread(str(picture)), (SIDE, SIDE), interpolation=cv2.INTER_NEAREST)
    assert np.array_equal(seen[0], portrait)
    assert not np.array_equal(seen[1], portrait)


def test_maps_of_named_layers_are_drawn(tiny_run: Path, picture: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    options = "--image", picture, "--method", "features", "--layer", "stem", "block_1_expand", "--out", out
    assert command(tiny_run, *options) == 0
    assert names(out) == ["features-01-a_portrait-block_1_expand.png", "features-01-a_portrait-stem.png"]


def test_faces_of_a_data_set_are_explained_class_by_class(tiny_run: Path, tmp_path: Path) -> None:
    data, out = fer_plus(tmp_path / "fer"), tmp_path / "out"
    assert command(tiny_run, "--data", data, "--class", "happy", "--count", "9", "--out", out) == 0
    *faces, sheet = names(out)
    shown = [re.fullmatch(r"gradcam-\d{5}-(\w+)-head_relu\.png", name) for name in faces]
    assert {match[1] for match in shown if match} == set(EMOTIONS)
    assert len(shown) == 9
    tile, gap = (SIDE + 2 * LINE, 2 * SIDE + GAP), GAP
    width = 3 * (tile[1] + gap) - gap + BAR_ROOM
    assert cv2.imread(str(out / sheet)).shape == (3 * (tile[0] + gap) - gap, width, 3)


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["--layer", "block_1_expnd"], 2, "tiny has no layer 'block_1_expnd'; use one like block_1_expand"),
        (["--class", "hapy"], 2, "unknown emotion 'hapy': did you mean 'happiness'?"),
        (["--data", "somewhere"], 2, "give either --data DIR or --image FILE..."),
        (["--detect"], 7, "no face found in "),
        (["--detector", "blazeface_short"], 2, "--detector is for --detect"),
    ],
)
def test_what_cannot_be_explained_is_one_line_and_leaves_nothing(
    tiny_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], code: int, message: str
) -> None:
    wall, out = tmp_path / "wall.png", tmp_path / "out"
    cv2.imwrite(str(wall), np.full((200, 200, 3), 90, np.uint8))
    assert command(tiny_run, "--image", wall, *words, "--out", out) == code
    error = capsys.readouterr().err
    assert error.startswith(f"error: {message}")
    assert error.count("\n") == 1
    assert not out.exists()


def test_what_is_no_run_cannot_be_explained(picture: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command(tmp_path, "--image", picture, "--out", tmp_path / "out") == 2
    assert "is not a training run" in capsys.readouterr().err


def test_a_shipped_model_is_explained_by_its_float_file(picture: Path, tmp_path: Path) -> None:
    assert command("tiny", "--image", picture, "--detect", "--out", tmp_path / "out") == 0
    assert names(tmp_path / "out") == ["gradcam-01-a_portrait-1-head_relu.png", "sheet-gradcam-head_relu.png"]


def test_pictures_without_a_face_are_named_and_the_others_explained(
    tiny_run: Path, picture: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wall, out = tmp_path / "wall.png", tmp_path / "out"
    cv2.imwrite(str(wall), np.full((200, 200, 3), 90, np.uint8))
    assert command(tiny_run, "--image", wall, picture, "--detect", "--out", out) == 0
    assert capsys.readouterr().err == f"note: no face found in {wall}\n"
    assert len(names(out)) == 2


# Kinds of networks


def asked(model: K.Model, side: int = 48) -> Subject:
    """Two noise pictures as input of a model for grey faces."""
    recipe = find_recipe("tiny").change(input=gray_input(side))
    faces = np.random.default_rng(0).integers(0, 256, (2, 48, 48), np.uint8)
    return prepare(Network("run", model, recipe.input, EMOTIONS), ["a", "b"], list(faces))


@pytest.fixture(scope="module")
def transformer() -> K.Model:
    return vit((48, 48, 1), len(EMOTIONS))


def test_a_transformer_is_explained_by_its_attention_and_its_patches(transformer: K.Model) -> None:
    subject = asked(transformer)
    attention, patches = (dict(explain(transformer, subject, method)) for method in ("attention", "patches"))
    heads = attention_maps(transformer, subject.batch)[-1].shape[1]
    tiles = 2 + heads
    assert list(attention) == ["attention-a", "attention-b"]
    assert attention["attention-a"].shape[1] == min(tiles, 6) * (SIDE + 4) - 4
    assert not np.array_equal(attention["attention-a"], attention["attention-b"])
    assert patch_grid(transformer) == (8, 8)
    assert patches["patches-a"].shape == (8 * 28 + 7 * 4, 8 * 28 + 7 * 4, 3)


def test_a_transformer_asked_for_grad_cam_is_told_what_to_ask(transformer: K.Model) -> None:
    with pytest.raises(ConfigError, match="vit is a transformer without feature maps: use --method attention"):
        list(explain(transformer, asked(transformer), "gradcam"))


def test_a_convolutional_network_has_no_attention_and_no_patches() -> None:
    model = tiny((48, 48, 1), len(EMOTIONS))
    for method in ("attention", "patches"):
        with pytest.raises(ConfigError, match="tiny reads no patches and has no attention: use --method gradcam"):
            list(explain(model, asked(model), method))
        with pytest.raises(ConfigError, match=f"--layer is for gradcam and features, not for --method {method}"):
            list(explain(model, asked(model), method, ["stem"]))


def test_an_early_a_middle_and_the_last_layer_are_shown_when_none_is_named() -> None:
    model = tiny((48, 48, 1), len(EMOTIONS))
    shown = [name for name, _ in explain(model, asked(model), "features")]
    assert len(shown) == 6
    assert (shown[0], shown[-1]) == ("features-a-stem_relu", "features-b-head_relu")


def test_a_face_is_labelled_by_its_true_class_or_by_its_name() -> None:
    probabilities = np.array([[0.7, 0.3], [0.7, 0.3]])
    nothing = np.zeros((2, 1, 1, 1), np.float32)
    subject = Subject(["a", "b"], [], ("x", "y"), nothing, probabilities, np.array([0, 0]), ["y", None])
    assert [subject.label(i) for i in range(2)] == ["true y", "b"]


def test_the_text_says_what_is_explained() -> None:
    probabilities = np.array([[0.7, 0.3], [0.7, 0.3]])
    subject = Subject(
        ["a", "b"], [], ("neutral", "fear"), np.zeros((2, 1)), probabilities, np.array([0, 1]), [None, None]
    )
    assert [subject.text(i) for i in range(2)] == ["predicted neutral 70%", "why fear 30%; predicted neutral 70%"]
