"""The command line of the workstation stage."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from edge_emotion.errors import EdgeEmotionError


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; 0 if it went well, else the exit code of the error."""
    options = _parser().parse_args(argv)
    try:
        options.run_command(options)
    except EdgeEmotionError as error:
        if options.debug:
            raise
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("stopped; the same command goes on after the last finished epoch", file=sys.stderr)
        return 130
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m train", description="Train and measure emotion models.")
    parser.add_argument("--debug", action="store_true", help="show tracebacks")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    fit = commands.add_parser("fit", help="train a recipe (resumes)")
    fit.add_argument("--recipe", required=True)
    fit.add_argument("--data", type=Path, required=True, help="folder with fer2013.csv(.gz) and fer2013new.csv")
    fit.add_argument("--weights", default="imagenet", help="path of ImageNet weights, 'imagenet' (download) or 'none'")
    fit.add_argument("--run", type=Path, help="run directory (default: runs/RECIPE)")
    fit.add_argument("--epochs", type=int, help="another number of epochs than the recipe's")
    fit.add_argument("--seed", type=int, help="another seed than the recipe's")
    fit.set_defaults(run_command=_fit)
    recipes = commands.add_parser("recipes", help="list the recipes")
    recipes.set_defaults(run_command=_recipes)
    return parser


def _fit(options: argparse.Namespace) -> None:
    import dataclasses

    from train.datasets import load_fer_plus
    from train.fit import fit
    from train.recipes import find_recipe

    changes = {key: value for key in ("epochs", "seed") if (value := getattr(options, key)) is not None}
    recipe = dataclasses.replace(find_recipe(options.recipe), **changes)
    weights = None if options.weights == "none" else options.weights
    start = {None: "random", "imagenet": "ImageNet (Keras)"}.get(weights, f"ImageNet ({Path(options.weights).name})")
    data = load_fer_plus(options.data)
    for split, faces in data.items():
        print(f"{split}: {len(faces)} faces, {int(faces.clear.sum())} by the majority protocol")
    best = fit(recipe, data, options.run or Path("runs") / recipe.name, weights=weights, start=start, dataset="FER+")
    print(f"best weights: {best}")


def _recipes(options: argparse.Namespace) -> None:
    from train.recipes import RECIPES

    for recipe in RECIPES.values():
        print(f"{recipe.name:20} {recipe.summary}")
