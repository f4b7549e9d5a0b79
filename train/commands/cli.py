"""The command line of the workstation stage."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from edge_emotion.cli.terminal import add_debug, run_command
from train.commands.detector_command import add_detector
from train.commands.evaluate_command import add_crop, add_evaluate
from train.commands.explain import add_explain
from train.commands.fit_command import add_fit, add_recipes
from train.commands.inspect_data import add_inspect
from train.commands.report import add_report


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; 0 if it went well, else the exit code of the error."""
    return run_command(_parser().parse_args(argv))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m train", description="Train, measure and explain emotion models.")
    add_debug(parser)
    parser.set_defaults(on_interrupt="stopped")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for add in (add_recipes, add_inspect, add_fit, add_evaluate, add_report, add_explain, add_crop, add_detector):
        add(commands)
    return parser
