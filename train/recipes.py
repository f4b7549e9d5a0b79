"""Training recipes: each states only what differs from the defaults."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from edge_emotion.errors import ConfigError
from edge_emotion.manifest import CropSpec, InputSpec
from train.augment import Augmentation
from train.datasets import SIZE
from train.efficientnet_lite import efficientnet_lite0
from train.mobilenet_v2 import mobilenet_v2, tiny

FER_CROP = CropSpec(margin=0.12, shift=-0.10, detail=SIZE)
"""From a BlazeFace box to the framing of FER2013, measured by ``python -m train crop``; see docs/models.md."""


def gray_input(size: int) -> InputSpec:
    """One grey channel, (pixel - 128) / 128: int8 models then read pixel - 128, with no rounding tie."""
    return InputSpec(height=size, width=size, channels=1, colour="gray", scale=1 / 128, offset=-1.0, crop=FER_CROP)


@dataclass(frozen=True)
class Recipe:
    """How one model is trained.

    ``network(input_shape, classes, weights=...)`` builds its graph; ``weights`` is where it starts unless told
    otherwise: 'imagenet' or None.
    """

    name: str
    network: Callable[..., Any]
    summary: str
    weights: str | None = "imagenet"
    input: InputSpec = field(default_factory=lambda: gray_input(96))
    epochs: int = 20
    batch_size: int = 64
    learning_rate: float = 1e-3
    weight_decay: float = 1e-2
    warmup_epochs: float = 1.0
    ema: float = 0.999
    seed: int = 1
    augmentation: Augmentation = field(default_factory=Augmentation)


RECIPES: dict[str, Recipe] = {
    recipe.name: recipe
    for recipe in (
        Recipe("mobilenet_v2", mobilenet_v2, "MobileNetV2 alpha 1.0 at 96 px from ImageNet weights, on FER+ votes"),
        Recipe(
            "efficientnet_lite0",
            efficientnet_lite0,
            "EfficientNet-Lite0 at 96 px from ImageNet weights, on FER+ votes",
            learning_rate=7e-4,
        ),
        Recipe(
            "tiny",
            tiny,
            "0.14 M parameters at 48 px, from scratch, on FER+ votes",
            weights=None,
            input=gray_input(48),
            epochs=30,
            learning_rate=2e-3,
        ),
    )
}


def find_recipe(name: str) -> Recipe:
    """The recipe of that name. Raises ConfigError with the names that exist."""
    if name not in RECIPES:
        raise ConfigError(f"no recipe {name!r}; there are: {', '.join(RECIPES)}")
    return RECIPES[name]
