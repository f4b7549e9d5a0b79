"""Knowledge distillation (Hinton et al. 2015) from trained runs, on the same augmented pictures that the student gets.

Sharing the augmented view follows Beyer et al. 2022.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from edge_emotion.errors import ConfigError
from edge_emotion.models.manifest import InputSpec
from edge_emotion.models.preprocess import to_model_range, to_pixel_range
from edge_emotion.system.atomic_file import sha256
from train.data.layouts.fer import FURTHER_VOTES
from train.data.pseudo_labels import LABELLED
from train.keras import K, tf
from train.recipes.recipe import Recipe
from train.runs.run_directory import BEST, Run, load_run

Tensor = Any
Teach = Callable[[Tensor], Tensor]


def make_teacher(runs: Sequence[Path], classes: tuple[str, ...], recipe: Recipe, record: Mapping[str, Any]) -> Teach:
    """A function from the student's input to the teachers' mean probabilities, N x C, at the recipe's temperature.

    ``record``: the student's. Raises ConfigError for a run that is not finished, has other classes, or may have been
    trained on the faces that the student is measured on.
    """
    members = []
    for path in runs:
        run = load_run(path)
        if not run.finished:
            raise ConfigError(f"teacher {path} is not finished: run its train fit command again, it continues")
        if run.classes != classes:
            raise ConfigError(f"teacher {path} has the classes {', '.join(run.classes)}, not {', '.join(classes)}")
        _require_unseen(run, recipe, record)
        members.append((run.build(), run.recipe.input))
    colour = recipe.input.colour

    def teach(pictures: Tensor) -> Tensor:
        pixels = to_pixel_range(pictures, recipe.input)
        answers = [model(_as_input(pixels, colour, spec), training=False) for model, spec in members]
        return tf.add_n([tf.nn.softmax(logits / recipe.distill_temperature) for logits in answers]) / len(members)

    return teach


def _require_unseen(teacher: Run, recipe: Recipe, record: Mapping[str, Any]) -> None:
    """Raises ConfigError if a teacher on the same data set held out other faces: it may be trained on the student's.

    Fingerprints are comparable only for the same size and colour; otherwise the numbers of faces are compared. Data
    sets with different names are different, and not compared.
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
    """The name of the data set, without the addition for further votes and pseudo-labels in the training split."""
    return str(record["dataset"]).partition(LABELLED)[0].partition(FURTHER_VOTES)[0]


def _held_out(record: Mapping[str, Any]) -> dict[str, int]:
    return {split: count for split, count in record.get("faces", {}).items() if split != "train"}


def identify(run: Path) -> str:
    """A run's name and the hash of its best weights, for the record of a student. Raises ConfigError if it has none."""
    weights = run / BEST
    if not weights.is_file():
        raise ConfigError(f"teacher {run} is no training run with a {BEST}")
    return f"{run.resolve().name} (sha256 {sha256(weights)[:12]})"


def _as_input(pixels: Tensor, colour: str, spec: InputSpec) -> Tensor:
    """The student's pixels, with this colour order, in a teacher's size, colours and range."""
    if pixels.shape[1:3] != (spec.height, spec.width):
        pixels = tf.image.resize(pixels, (spec.height, spec.width))
    if pixels.shape[-1] != spec.channels:
        rgb = pixels[..., ::-1] if colour == "bgr" else pixels
        pixels = tf.image.grayscale_to_rgb(pixels) if spec.channels == 3 else tf.image.rgb_to_grayscale(rgb)
    elif spec.channels == 3 and spec.colour != colour:
        pixels = pixels[..., ::-1]
    return to_model_range(pixels, spec)


class Trainee(K.Model):  # type: ignore[misc]
    """A network whose targets contain the teachers' output beside the votes: N x 2C, votes first."""

    # The teachers are inside a function: Keras would train and save them as attributes.
    teach: Teach

    def train_step(self, data: Any) -> Any:
        """One training step, with the teachers' output added to the targets."""
        pictures, votes, weights = data
        return super().train_step((pictures, tf.concat([votes, self.teach(pictures)], axis=1), weights))
