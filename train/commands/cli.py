"""Command line of the training stage: ``python -m train``."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from edge_emotion.cli.terminal import CommandParser, add_debug, add_examples, complete_words, run_command
from train.choices import INSTALL
from train.commands.detector_command import add_detector
from train.commands.evaluate_command import add_crop, add_evaluate
from train.commands.explain import add_explain
from train.commands.fit_command import add_fit, add_recipes
from train.commands.inspect_data import add_inspect
from train.commands.pseudo_label_command import add_crops, add_pseudo_label
from train.commands.record_command import add_record
from train.commands.report import add_report
from train.commands.weights_command import add_weights

COMMANDS = (
    add_recipes, add_record, add_inspect, add_weights, add_crops, add_pseudo_label, add_fit, add_evaluate, add_report,
    add_explain, add_crop, add_detector,
)  # fmt: skip

EXAMPLES: dict[str, tuple[str, ...]] = {
    "record": ("python -m train record happy --session anna-1 --data my-faces",),
    "inspect": ("python -m train inspect my-faces --out look", "python -m train inspect my-faces --group-by session"),
    "fit": (
        "python -m train fit --recipe tiny --data my-faces --set classes=4 --set mixup=0.2",
        "python -m train fit --recipe mobilenet_v2 --data my-faces --weights mobilenet_v2 --epochs 5",
    ),
    "evaluate": ("python -m train evaluate runs/tiny mobilenet_v2 --data my-faces --split test --out plots",),
    "report": ("python -m train report runs/* mobilenet_v2 --data my-faces --out page",),
    "explain": (
        "python -m train explain mobilenet_v2 --image portrait.jpg --detect --out maps",
        "python -m train explain runs/tiny --data my-faces --method gradcam++ --out maps",
    ),
}
"""Command -> calls of it, for ``--help``."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns 0, or the exit code of the error."""
    parser = _parser()
    complete_words(parser)
    return run_command(parser.parse_args(argv))


def _parser() -> argparse.ArgumentParser:
    parser = CommandParser(prog="python -m train", description="Train, measure and explain emotion models.")
    add_debug(parser)
    parser.set_defaults(on_interrupt="stopped", install=INSTALL)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for add in COMMANDS:
        add(commands)
    for name, examples in EXAMPLES.items():
        add_examples(commands.choices[name], *examples)
    return parser
