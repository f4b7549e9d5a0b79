"""The network to explain: that of a training run, or of an exported model."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge_emotion.errors import UnknownModel
from edge_emotion.models.manifest import InputSpec
from train.recipes.starts import rebuild_exported
from train.runs.run_directory import RECORD, load_run


@dataclass(frozen=True)
class Network:
    """A float network. ``model``: a tf_keras model N x H x W x C -> N x C logits over ``classes``."""

    name: str
    model: Any
    input: InputSpec
    classes: tuple[str, ...]


def explained_network(target: str) -> Network:
    """The network of a run directory (its best weights), a shipped model or a model folder (its float file).

    Raises ConfigError for anything else, and for a model that was not made by a recipe; ModelError for one without a
    float file.
    """
    path = Path(target)
    if (path / RECORD).is_file():
        run = load_run(path)
        return Network(target, run.build(), run.recipe.input, run.classes)
    try:
        model, _, manifest = rebuild_exported(target)
    except UnknownModel:
        if path.is_dir():
            load_run(path)  # raises the reason why it is no run
        raise
    return Network(target, model, manifest.input, manifest.labels)
