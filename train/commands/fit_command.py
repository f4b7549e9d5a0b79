"""Commands ``python -m train fit`` and ``recipes``."""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from edge_emotion.cli.terminal import positive_count
from edge_emotion.config.loader import parse_override
from edge_emotion.errors import ConfigError
from edge_emotion.system.atomic_file import sha256
from train.choices import Logger, Precision
from train.commands.data_options import add_data_options, read_data
from train.commands.weights_command import statistics_input
from train.data.layouts.fer import FURTHER_VOTES

if TYPE_CHECKING:
    from train.data.faces import Faces
    from train.recipes.recipe import Recipe

DISTILL = 0.7
"""Default weight of the teachers' output, if neither the command nor the recipe sets it."""


def add_fit(commands: Any) -> None:
    """Add ``fit`` to the subparsers of the command line."""
    parser = commands.add_parser("fit", help="train a recipe, or continue an interrupted run")
    parser.add_argument("--recipe", required=True, help="see 'python -m train recipes'")
    add_data_options(parser, detect=True)
    parser.add_argument(
        "--weights",
        help="path of pretrained weights, a shipped model or model folder, 'imagenet' (download) or 'none'; "
        "default: the recipe's",
    )
    parser.add_argument("--run", type=Path, help="run directory (default: runs/RECIPE)")
    parser.add_argument("--teacher", type=Path, action="append", default=[], help="run to distil from; may be repeated")
    parser.add_argument(
        "--pseudo-labels", type=Path, action="append", default=[], metavar="FILE.npz",
        help="faces with cached outputs of teachers ('pseudo-label') to train on as well; may be repeated",
    )  # fmt: skip
    parser.add_argument("--epochs", type=positive_count, help="number of epochs (default: the recipe's)")
    parser.add_argument("--seed", type=int, help="default: the recipe's")
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="another setting of the recipe, such as "
        "classes=4, mixup=0.2 or augmentation.blur=0.3; may be repeated",
    )  # fmt: skip
    parser.add_argument(
        "--log", action="append", default=[], choices=get_args(Logger), help="in addition to TensorBoard"
    )
    parser.add_argument(
        "--log-pictures", action="store_true",
        help="with --log: also the confusion matrix and sample faces of the validation split",
    )  # fmt: skip
    parser.add_argument(
        "--precision", default="auto", choices=get_args(Precision),
        help="default: mixed_float16 on GPUs with tensor cores, else float32",
    )  # fmt: skip
    parser.set_defaults(command=_fit, on_interrupt="stopped; the same command goes on after the last finished epoch")


def add_recipes(commands: Any) -> None:
    """Add ``recipes`` to the subparsers of the command line."""
    commands.add_parser("recipes", help="list the recipes").set_defaults(command=_recipes)


def describe_start(weights: str | None) -> str:
    """The origin of initial weights, for the record; of a path only the last names and a hash, without folders."""
    if weights is None:
        return "random"
    if weights == "imagenet":
        return "ImageNet"
    from train.runs.run_directory import BEST, RECORD, load_run

    if is_model(weights):
        from train.networks.exported import float_file

        file, manifest = float_file(weights)
        return f"{manifest.name} {manifest.version} ({file.name}, sha256 {sha256(file)[:12]})"
    path = Path(weights)
    if not path.is_file():
        return f"pretrained ({path.name})"
    kind = "pretrained"
    if path.name == BEST and (path.parent / RECORD).is_file():
        earlier = load_run(path.parent)
        length = f"after {earlier.record['epochs']} epochs" if earlier.finished else "unfinished"
        kind = f"{earlier.recipe.name} {length} from {earlier.record['start']}"
    return f"{kind} ({path.name}, sha256 {sha256(path)[:12]})"


def is_model(weights: str) -> bool:
    """Whether the name of initial weights is that of a shipped model or a model folder, and of no file."""
    from edge_emotion.errors import UnknownModel
    from edge_emotion.models.folder import find_model

    try:
        return not Path(weights).is_file() and bool(find_model(weights))
    except UnknownModel:
        return False


@contextmanager
def weights_file(weights: str | None, recipe: Recipe, faces: Faces, classes: Sequence[str]) -> Iterator[str | None]:
    """The weights as ``fit`` takes them: an exported model's become a file for the time of the training.

    If the model knows all ``classes``, their outputs are kept; otherwise the head starts anew. Raises ConfigError for a
    model of another recipe, and what ``write_exported`` raises.
    """
    if weights in (None, "imagenet") or not is_model(weights):
        yield weights
        return
    from train.networks.exported import float_file
    from train.recipes.starts import exported_recipe, write_exported

    made_by = exported_recipe(float_file(weights)[1]).name
    if made_by != recipe.name:
        raise ConfigError(f"--weights {weights}: its network is that of --recipe {made_by}, not of {recipe.name}")
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "start.h5"
        write_exported(weights, lambda spec: statistics_input(faces, spec), file, classes)
        yield str(file)


def chosen_recipe(options: argparse.Namespace) -> Recipe:
    """The recipe of the command line with its changes. Raises ConfigError."""
    from train.recipes.catalogue import find_recipe

    recipe = find_recipe(options.recipe)
    changes: dict[str, Any] = {}
    for text in options.set:
        change = parse_override(text)
        for key in change:
            # label_votes.fear=3 changes one of several, label_votes={...} all of them.
            if "." in text.partition("=")[0] and isinstance(known := getattr(recipe, key, None), dict):
                changes.setdefault(key, dict(known))
        merge(changes, change)
    changes |= {key: value for key in ("epochs", "seed") if (value := getattr(options, key)) is not None}
    if (options.teacher or options.pseudo_labels) and not recipe.distill:
        changes.setdefault("distill", DISTILL)
    return recipe.change(**changes)


def merge(into: dict[str, Any], more: Mapping[str, Any]) -> None:
    """Merge nested values into others, in place."""
    for key, value in more.items():
        if isinstance(value, Mapping) and isinstance(into.get(key), dict):
            merge(into[key], value)
        else:
            into[key] = value


def without_effect(recipe: Recipe, named: set[str], *, start: str | None, taught: bool) -> Iterator[str]:
    """Messages about settings of ``recipe`` that have no effect; some only if the command sets them (``named``).

    start: where the network starts, None for random weights; taught: whether there are teachers.
    """
    for key in sorted(named & {"distill", "distill_temperature"}):
        if not taught:
            yield f"{key} has no effect without --teacher or --pseudo-labels"
    if "weight_decay" in named and recipe.optimizer == "adam":
        yield "weight_decay has no effect with optimizer adam: take adamw"
    if recipe.freeze and start is None:
        yield "freeze has no effect on random weights: give --weights"
    if recipe.input.channels == 1 and (recipe.augmentation.saturation or recipe.augmentation.hue):
        yield "augmentation.saturation and hue have no effect on a grey input"
    if "unfreeze_epochs" in named and not recipe.freeze:
        yield "unfreeze_epochs has no effect without freeze"


def _fit(options: argparse.Namespace) -> None:
    if options.log_pictures and not options.log:
        raise ConfigError("--log-pictures is for --log: without it nothing is logged that could hold pictures")
    recipe = chosen_recipe(options)
    named = {text.partition("=")[0].partition(".")[0] for text in options.set}
    weights = {"none": None, None: recipe.weights}.get(options.weights, options.weights)
    start = describe_start(weights)
    idle = [*without_effect(recipe, named, start=weights, taught=bool(options.teacher or options.pseudo_labels))]
    data = read_data(options, [recipe.input], label_votes=recipe.label_votes)
    if recipe.label_votes and FURTHER_VOTES not in data.name:
        recipe = recipe.change(label_votes={})  # settings without effect are not recorded
        if "label_votes" in named:
            idle.append(f"label_votes has no effect on {data.name}: only FER+ has two labels for a face")
    if options.pseudo_labels:
        from train.data.pseudo_labels import add_pseudo_labels

        data = add_pseudo_labels(data, options.pseudo_labels, recipe.distill)
    for line in idle:
        print(line, file=sys.stderr)
    print(f"{data.name}: " + ", ".join(f"{split} {len(faces)}" for split, faces in data.splits.items()) + " faces")
    print(f"{recipe.name} starts from {start} weights")
    from train.fitting.fit import fit
    from train.reporting.logged_pictures import logged_pictures

    with weights_file(weights, recipe, data["train"], data.classes) as file:
        best = fit(
            recipe, data, options.run or Path("runs") / recipe.name, weights=file, start=start,
            teachers=options.teacher, loggers=options.log, draw=logged_pictures if options.log_pictures else None,
            floats=options.precision,
        )  # fmt: skip
    print(f"best weights: {best}")


def _recipes(_: argparse.Namespace) -> None:
    from train.recipes.catalogue import RECIPES

    for recipe in RECIPES.values():
        print(f"{recipe.name:20} {recipe.summary}")
