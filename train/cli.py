"""The command line of the workstation stage."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge_emotion.layers import parse_override
from edge_emotion.terminal import add_debug, positive_count, run_command

if TYPE_CHECKING:
    from train.recipes import Recipe

DISTILL = 0.7
"""Share of the teachers' answer where the recipe says nothing of distillation."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; 0 if it went well, else the exit code of the error."""
    return run_command(
        _parser().parse_args(argv), on_interrupt="stopped; the same command goes on after the last finished epoch"
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m train", description="Train and measure emotion models.")
    add_debug(parser)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_fit(commands)
    evaluate = commands.add_parser("evaluate", help="figures of a run or a model folder on FER+, majority protocol")
    evaluate.add_argument("target", type=Path, help="run directory, model folder or name of a shipped model")
    evaluate.add_argument("--data", type=Path, required=True, help="folder with fer2013.csv(.gz) and fer2013new.csv")
    evaluate.add_argument("--split", choices=("validation", "test"), default="validation")
    evaluate.add_argument("--operating-point", help="of a model folder")
    evaluate.add_argument("--json", action="store_true", help="for scripts")
    evaluate.set_defaults(command=_evaluate)
    crop = commands.add_parser("crop", help="measure how the training faces are framed, against the detector's boxes")
    crop.add_argument("--data", type=Path, required=True, help="folder with fer2013.csv(.gz) and fer2013new.csv")
    crop.add_argument("--detector", default="blazeface_back")
    crop.add_argument("--count", type=positive_count, default=1500, help="faces to look at")
    crop.set_defaults(command=_crop)
    recipes = commands.add_parser("recipes", help="list the recipes")
    recipes.set_defaults(command=_recipes)
    return parser


def _add_fit(commands: Any) -> None:
    fit = commands.add_parser("fit", help="train a recipe (resumes)")
    fit.add_argument("--recipe", required=True, help="see 'python -m train recipes'")
    fit.add_argument("--data", type=Path, required=True, help="folder with fer2013.csv(.gz) and fer2013new.csv")
    fit.add_argument(
        "--weights", help="path of pretrained weights, 'imagenet' (download) or 'none'; default: the recipe's"
    )
    fit.add_argument("--run", type=Path, help="run directory (default: runs/RECIPE)")
    fit.add_argument("--teacher", type=Path, action="append", default=[], help="run to distil from; may be repeated")
    fit.add_argument("--epochs", type=positive_count, help="another number of epochs than the recipe's")
    fit.add_argument("--seed", type=int, help="another seed than the recipe's")
    fit.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="another setting of the recipe, such as "
        "classes=4, mixup=0.2 or augmentation.blur=0.3; may be repeated",
    )  # fmt: skip
    fit.set_defaults(command=_fit)


def describe_start(weights: str | None) -> str:
    """What a manifest says about where the weights came from; of a path only the file's name."""
    if weights is None:
        return "random"
    return "ImageNet" if weights == "imagenet" else f"ImageNet ({Path(weights).name})"


def chosen_recipe(options: argparse.Namespace) -> Recipe:
    """The recipe of the command line with its changes. Raises ConfigError."""
    from train.catalogue import find_recipe

    changes: dict[str, Any] = {}
    for text in options.set:
        merge(changes, parse_override(text))
    changes |= {key: value for key in ("epochs", "seed") if (value := getattr(options, key)) is not None}
    if options.teacher and "distill" not in changes:
        changes["distill"] = DISTILL
    return find_recipe(options.recipe).change(**changes)


def merge(into: dict[str, Any], more: Mapping[str, Any]) -> None:
    """Lay nested values over others."""
    for key, value in more.items():
        if isinstance(value, Mapping) and isinstance(into.get(key), dict):
            merge(into[key], value)
        else:
            into[key] = value


def _fit(options: argparse.Namespace) -> None:
    from train.datasets import load_fer_plus
    from train.fit import fit

    recipe = chosen_recipe(options)
    weights = {"none": None, None: recipe.weights}.get(options.weights, options.weights)
    data = load_fer_plus(options.data, label_votes=recipe.label_votes)
    for split, faces in data.splits.items():
        print(f"{split}: {len(faces)} faces, {int(faces.clear.sum())} by the majority protocol")
    run = options.run or Path("runs") / recipe.name
    start = describe_start(weights)
    print(f"{recipe.name} starts from {start} weights")
    best = fit(recipe, data, run, weights=weights, start=start, teachers=options.teacher)
    print(f"best weights: {best}")


def _recipes(_: argparse.Namespace) -> None:
    from train.catalogue import RECIPES

    for recipe in RECIPES.values():
        print(f"{recipe.name:20} {recipe.summary}")


def _evaluate(options: argparse.Namespace) -> None:
    from train.datasets import load_fer_plus
    from train.evaluate import as_text, evaluate

    faces = load_fer_plus(options.data)[options.split].majority()
    figures = evaluate(options.target, faces, operating_point=options.operating_point)
    if options.json:
        print(figures.model_dump_json(indent=2))
    else:
        print(f"{options.target} on FER+ majority, {options.split}: {as_text(figures)}")


def _crop(options: argparse.Namespace) -> None:
    from edge_emotion.factory import make_detector
    from train.crop import measure_framing
    from train.datasets import load_fer_plus

    faces = load_fer_plus(options.data)["train"]
    framing = measure_framing(faces, make_detector(options.detector), count=options.count, seed=0)
    print(
        f"{options.detector}: found {framing.found} of {framing.n} training faces; "
        f"margin {framing.margin:.3f} (+- {framing.margin_spread:.3f}), "
        f"shift {framing.shift:.3f} (+- {framing.shift_spread:.3f})"
    )
