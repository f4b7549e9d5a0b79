"""``python -m benchmarks tracking``."""

from __future__ import annotations

import argparse
from typing import Any

from benchmarks.results.outputs import add_outputs, check_outputs, put_out
from edge_emotion.cli.terminal import positive_count


def add_tracking(commands: Any) -> None:
    """Add ``tracking`` to the subparsers of the command line."""
    parser = commands.add_parser("tracking", help="whether people who cross each other keep their tracks")
    parser.add_argument("--scenes", type=positive_count, default=200, help="of each kind (200)")
    parser.add_argument("--seed", type=int, default=0, help="of the scenes (0)")
    add_outputs(parser)
    parser.set_defaults(command=_tracking)


def _tracking(options: argparse.Namespace) -> None:
    from benchmarks.quality.crossings import default_tracker, measure_tracking, tracking_measurements
    from benchmarks.results.results import measured, this_machine

    check_outputs(options)
    figures = measure_tracking(default_tracker, scenes=options.scenes, seed=options.seed)
    result = measured(
        "tracking",
        tuple(tracking_measurements(figures)),
        machine=this_machine(),
        settings={"scenes": options.scenes, "seed": options.seed},
        artefacts={},
        details=figures,
    )
    put_out(options, result)
