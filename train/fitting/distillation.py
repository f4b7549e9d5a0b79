"""Knowledge distillation (Hinton et al. 2015): what trained runs say of the very pictures that the student sees.

Teacher and student look at the same augmented view (Beyer et al. 2022).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from edge_emotion.errors import ConfigError
from edge_emotion.models.manifest import InputSpec
from edge_emotion.system.atomic_file import sha256
from train.data.layouts.fer import FURTHER_VOTES
from train.keras import K, tf
from train.recipes.recipe import Recipe
from train.runs.run_directory import BEST, Run, load_run

Tensor = Any
Teach = Callable[[Tensor], Tensor]


def make_teacher(runs: Sequence[Path], classes: tuple[str, ...], recipe: Recipe, record: Mapping[str, Any]) -> Teach:
    """From pictures as the student takes them to the teachers' mean probabilities, N x C, at the recipe's temperature.

    ``record`` is the student's. Raises ConfigError for a run that is not finished, knows other classes, or may have
    learned from the faces that the student is measured on.
    """
    members = []
    for path in runs:
        run = load_run(path)
        if not run.finished:
            raise ConfigError(f"teacher {path} is not finished: give its train fit command again, it goes on")
        if run.classes != classes:
            raise ConfigError(f"teacher {path} tells {', '.join(run.classes)} apart, not {', '.join(classes)}")
        _require_unseen(run, recipe, record)
        members.append((run.build(), run.recipe.input))
    colour = recipe.input.colour

    def teach(pictures: Tensor) -> Tensor:
        pixels = (pictures - recipe.input.offset) / recipe.input.scale
        answers = [model(_as_input(pixels, colour, spec), training=False) for model, spec in members]
        return tf.add_n([tf.nn.softmax(logits / recipe.distill_temperature) for logits in answers]) / len(members)

    return teach


def _require_unseen(teacher: Run, recipe: Recipe, record: Mapping[str, Any]) -> None:
    """Raises ConfigError if a teacher of the same data set held out other faces: it may have learned the student's.

    Equal faces have equal fingerprints only where both look at them in one size and colour; else their numbers have to
    do. A data set of another name is another one: there is nothing to compare.
    """
    theirs, ours = teacher.recipe.input, recipe.input
    alike = (theirs.detail, theirs.channels) == (ours.detail, ours.channels)
    if _name(teacher.record) != _name(record) or teacher.record.get("held_out") == record["held_out"]:
        return
    if alike or _held_out(teacher.record) != _held_out(record):
        raise ConfigError(
            f"teacher {teacher.path} held out other faces of {_name(record)} than this run, and may have learned those "
            "that this one is measured on: train it on the same splits"
        )


def _name(record: Mapping[str, Any]) -> str:
    """The name of the data set, without what further votes the training split has."""
    return str(record["dataset"]).partition(FURTHER_VOTES)[0]


def _held_out(record: Mapping[str, Any]) -> dict[str, int]:
    return {split: count for split, count in record.get("faces", {}).items() if split != "train"}


def identify(run: Path) -> str:
    """A run's name and the hash of its best weights, for the record of a student. Raises ConfigError if it has none."""
    weights = run / BEST
    if not weights.is_file():
        raise ConfigError(f"teacher {run} is no training run with a {BEST}")
    return f"{run.resolve().name} (sha256 {sha256(weights)[:12]})"


def _as_input(pixels: Tensor, colour: str, spec: InputSpec) -> Tensor:
    """Pixels of the student, of that colour order, in a teacher's size, colours and range."""
    if pixels.shape[1:3] != (spec.height, spec.width):
        pixels = tf.image.resize(pixels, (spec.height, spec.width))
    if pixels.shape[-1] != spec.channels:
        rgb = pixels[..., ::-1] if colour == "bgr" else pixels
        pixels = tf.image.grayscale_to_rgb(pixels) if spec.channels == 3 else tf.image.rgb_to_grayscale(rgb)
    elif spec.channels == 3 and spec.colour != colour:
        pixels = pixels[..., ::-1]
    return pixels * spec.scale + spec.offset


class Trainee(K.Model):  # type: ignore[misc]
    """A network that hears its teachers' answer beside the votes: targets are N x 2C, votes then answer."""

    # The teachers are reached through a function: as attributes Keras would train and save them.
    teach: Teach

    def train_step(self, data: Any) -> Any:
        """One step of fit."""
        pictures, votes, weights = data
        return super().train_step((pictures, tf.concat([votes, self.teach(pictures)], axis=1), weights))
