"""The recipes. Each states only what differs from the defaults."""

from __future__ import annotations

from difflib import get_close_matches
from typing import Any

from edge_emotion.errors import ConfigError
from train.data.augment import Augmentation
from train.networks.dlib_resnet import dlib_resnet
from train.networks.efficientnet_lite import efficientnet_lite0
from train.networks.mobilenet_v1 import mobilenet_v1
from train.networks.mobilenet_v2 import mobilenet_v2, mobilenet_v2_035, tiny
from train.recipes.comparison_recipes import COMPARISON
from train.recipes.recipe import Recipe, gray_input

STRONG = Augmentation(brightness=0.2, contrast=0.3, blur=0.1, low_resolution=0.1, jpeg=0.1)
"""For cameras with worse pictures than the web of 2013."""

VOTES: dict[str, Any] = {"label_votes": {"disgust": 2, "fear": 2}, "distill": 0.7}
"""Targets of the shipped models; other experiments: docs/explanation/what-was-tried.md."""

EDGE: tuple[Recipe, ...] = (
    Recipe(
        name="mobilenet_v2",
        network=mobilenet_v2,
        summary="MobileNetV2 alpha 1.0 at 96 px from ImageNet weights, on FER+ votes",
        weights="imagenet",
        augmentation=STRONG,
        **VOTES,
    ),
    Recipe(
        name="efficientnet_lite0",
        network=efficientnet_lite0,
        summary="EfficientNet-Lite0 at 96 px from ImageNet weights, on FER+ votes",
        weights="imagenet",
        learning_rate=7e-4,
        augmentation=STRONG,
        **VOTES,
    ),
    Recipe(
        name="mobilenet_v2_035",
        network=mobilenet_v2_035,
        summary="MobileNetV2 alpha 0.35 at 96 px from ImageNet weights, on FER+ votes",
        weights="imagenet",
        augmentation=STRONG,
        **VOTES,
    ),
    Recipe(
        name="tiny",
        network=tiny,
        summary="0.14 M parameters at 48 px, from scratch, on FER+ votes",
        input=gray_input(48),
        epochs=30,
        learning_rate=2e-3,
        augmentation=STRONG,
        **VOTES,
    ),
)
"""For devices; all but mobilenet_v2_035 are shipped."""

TEACHERS: tuple[Recipe, ...] = (
    Recipe(
        name="mobilenet_v1",
        network=mobilenet_v1,
        summary="MobileNet v1 1.0 at 96 px, for weights trained on faces ('train weights faceres'), on FER+ votes",
        augmentation=STRONG,
        **VOTES,
    ),
    Recipe(
        name="dlib_resnet",
        network=dlib_resnet,
        summary="dlib's face network at 112 px, for its own weights ('train weights dlib'), on FER+ votes",
        input=gray_input(112),
        augmentation=STRONG,
        **VOTES,
    ),
)
"""Networks for published initial weights of faces; teachers only, not shipped."""

RECIPES: dict[str, Recipe] = {recipe.name: recipe for recipe in (*EDGE, *TEACHERS, *COMPARISON)}


def find_recipe(name: str) -> Recipe:
    """The recipe of that name. Raises ConfigError with the names that exist."""
    if name not in RECIPES:
        near = get_close_matches(name, RECIPES, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"there are: {', '.join(RECIPES)}"
        raise ConfigError(f"no recipe {name!r}; {hint}")
    return RECIPES[name]
