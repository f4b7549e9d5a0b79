"""Command line of the training stage: ``python -m train``."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from edge_emotion.cli.terminal import CommandParser, add_debug, run_command
from train.choices import INSTALL
from train.commands.detector_command import add_detector
from train.commands.evaluate_command import add_crop, add_evaluate
from train.commands.explain import add_explain
from train.commands.fit_command import add_fit, add_recipes
from train.commands.inspect_data import add_inspect
from train.commands.pseudo_label_command import add_crops, add_pseudo_label
from train.commands.report import add_report
from train.commands.weights_command import add_weights

COMMANDS = (
    add_recipes, add_inspect, add_weights, add_crops, add_pseudo_label, add_fit, add_evaluate, add_report, add_explain,
    add_crop, add_detector,
)  # fmt: skip


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns 0, or the exit code of the error."""
    return run_command(_parser().parse_args(argv))


def _parser() -> argparse.ArgumentParser:
    parser = CommandParser(prog="python -m train", description="Train, measure and explain emotion models.")
    add_debug(parser)
    parser.set_defaults(on_interrupt="stopped", install=INSTALL)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for add in COMMANDS:
        add(commands)
    return parser
