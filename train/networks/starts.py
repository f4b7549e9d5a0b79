"""The starting points that can be taken out of packages, and the recipe that each is for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edge_emotion.manifest import InputSpec
from edge_emotion.preprocess import normalise
from train.catalogue import find_recipe
from train.faces import Faces
from train.keras import K
from train.logits import model_pixels
from train.networks.faceres import FACERES, faceres
from train.networks.folded import Folded, unfold
from train.networks.packages import Package
from train.recipes import Recipe


@dataclass(frozen=True)
class Start:
    """Weights in ``package`` for the network of a recipe; ``read`` makes folded convolutions of its files."""

    package: Package
    recipe_name: str
    read: Callable[[Mapping[str, bytes], InputSpec], dict[str, Folded]]

    @property
    def recipe(self) -> Recipe:
        """The recipe that starts from it."""
        return find_recipe(self.recipe_name)

    def write(self, files: Mapping[str, bytes], faces: Faces, count: int, out: Path) -> None:
        """Write the network below its head as .h5; ``count`` of the faces, drawn at random, give the batch norms."""
        spec = self.recipe.input
        rows = np.random.default_rng(0).permutation(len(faces))[:count]
        model = self.recipe.build(1, weights=None)
        unfold(model, self.read(files, spec), normalise(model_pixels(faces.images[rows], spec), spec))
        out.parent.mkdir(parents=True, exist_ok=True)
        beside = out.with_name(out.name + ".part.h5")
        K.Model(model.input, model.get_layer("pool").output).save_weights(beside)
        beside.replace(out)


STARTS = {"faceres": Start(FACERES, "mobilenet_v1", faceres)}
