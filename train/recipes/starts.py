"""Initial weights from packages and exported models, each with the recipe that it is for."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge_emotion.errors import ConfigError
from edge_emotion.models.manifest import InputSpec, ModelManifest
from edge_emotion.protocols import FloatArray
from train.keras import K
from train.networks.dlib_resnet import DLIB, dlib
from train.networks.exported import float_file, load_exported
from train.networks.faceres import FACERES, faceres
from train.networks.folded import Folded, unfold
from train.networks.packages import Package
from train.recipes.catalogue import find_recipe
from train.recipes.recipe import Recipe


@dataclass(frozen=True)
class Start:
    """Initial weights in a package for the network of a recipe; ``read`` makes folded convolutions from its files."""

    package: Package
    recipe_name: str
    read: Callable[[Mapping[str, bytes], InputSpec], dict[str, Folded]]

    @property
    def recipe(self) -> Recipe:
        """The recipe that these weights are for."""
        return find_recipe(self.recipe_name)

    def write(self, files: Mapping[str, bytes], pictures: FloatArray, out: Path) -> None:
        """Write the network without its head as .h5; batch norms get the statistics of ``pictures``, N x H x W x C."""
        model = self.recipe.build(1, weights=None)
        unfold(model, self.read(files, self.recipe.input), pictures)
        _save(K.Model(model.input, model.get_layer("pool").output), out)


STARTS = {"faceres": Start(FACERES, "mobilenet_v1", faceres), "dlib": Start(DLIB, "dlib_resnet", dlib)}


def write_exported(
    name: str, faces: Callable[[InputSpec], FloatArray], out: Path, classes: Sequence[str] | None = None
) -> str:
    """Write the float weights of an exported model, including its head, as .h5; returns the name of its recipe.

    faces: returns pictures as input of a model with this InputSpec. ``classes``: the only outputs of the head, if the
    model knows all of them. Raises what ``rebuild_exported`` does.
    """
    model, recipe, manifest = rebuild_exported(name, faces)
    if classes is not None and set(classes) < set(manifest.labels):
        model = _with_classes(model, recipe, [manifest.labels.index(label) for label in classes])
    _save(model, out)
    return recipe.name


def _with_classes(model: Any, recipe: Recipe, columns: list[int]) -> Any:
    """The same network with only these outputs."""
    fewer = recipe.build(len(columns), weights=None)
    *body, kernel, bias = model.get_weights()
    fewer.set_weights([*body, kernel[:, columns], bias[columns]])
    return fewer


def rebuild_exported(
    name: str, faces: Callable[[InputSpec], FloatArray] | None = None
) -> tuple[Any, Recipe, ModelManifest]:
    """The tf_keras network of a shipped model or model folder, with the weights of its float file.

    It computes exactly what the file computes: N x H x W x C -> N x L logits in the order of the manifest's labels.
    ``faces``: as for ``write_exported``, for batch norms that can be trained further. Raises ConfigError if the recipe
    does not exist here, and the errors of ``float_file`` and ``load_exported``.
    """
    file, manifest = float_file(name)
    recipe = exported_recipe(manifest)
    model = recipe.build(len(manifest.labels), weights=None)
    load_exported(model, file, None if faces is None else faces(manifest.input))
    return model, recipe, manifest


def exported_recipe(manifest: ModelManifest) -> Recipe:
    """The recipe of an exported model, with its input. Raises ConfigError if it does not exist here."""
    try:
        return find_recipe(manifest.training.recipe).change(input=manifest.input.model_dump())
    except ConfigError as error:
        raise ConfigError(
            f"the network of model {manifest.name} cannot be built again: it was made by "
            f"{manifest.training.recipe!r}, which is no recipe of this version"
        ) from error


def _save(model: Any, out: Path) -> None:
    """Write a file completely or not at all."""
    out.parent.mkdir(parents=True, exist_ok=True)
    beside = out.with_name(out.name + ".part.h5")
    model.save_weights(beside)
    beside.replace(out)
