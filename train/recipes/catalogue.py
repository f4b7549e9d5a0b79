"""The recipes. Each states only what differs from the defaults."""

from __future__ import annotations

from difflib import get_close_matches
from typing import Any

from edge_emotion.errors import ConfigError
from train.data.augment import Augmentation
from train.networks.efficientnet_lite import efficientnet_lite0
from train.networks.mobilenet_v2 import mobilenet_v2, mobilenet_v2_035, tiny
from train.recipes.comparison_recipes import COMPARISON
from train.recipes.recipe import Recipe, gray_input

STRONG = Augmentation(brightness=0.2, contrast=0.3, blur=0.1, low_resolution=0.1, jpeg=0.1)
"""For cameras that see worse than the web of 2013."""

VOTES: dict[str, Any] = {"label_votes": {"disgust": 2, "fear": 2}, "distill": 0.7}
"""What the models that ship learn from; what else was tried: docs/explanation/what-was-tried.md."""

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
"""For devices; all but mobilenet_v2_035 ship."""

RECIPES: dict[str, Recipe] = {recipe.name: recipe for recipe in (*EDGE, *COMPARISON)}


def find_recipe(name: str) -> Recipe:
    """The recipe of that name. Raises ConfigError with the names that exist."""
    if name not in RECIPES:
        near = get_close_matches(name, RECIPES, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"there are: {', '.join(RECIPES)}"
        raise ConfigError(f"no recipe {name!r}; {hint}")
    return RECIPES[name]
