"""``python -m benchmarks fleet``."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from benchmarks.harness.progress import show_line
from benchmarks.results.outputs import add_outputs, check_outputs, put_out
from benchmarks.results.results import Result
from edge_emotion.cli.interrupts import termination_as_interrupt
from edge_emotion.cli.terminal import positive_count, positive_seconds
from edge_emotion.errors import ConfigError

FAULTS = 10
"""Exit code if an event was lost, invented, stored twice or misplaced."""


def add_fleet(commands: Any) -> None:
    """Add ``fleet`` to the subparsers of the command line."""
    parser = commands.add_parser(
        "fleet", help="thousands of simulated nodes, brokers that are killed, every event counted"
    )
    parser.add_argument(
        "--proof", choices=("events", "roll-out"), default="events", help="what is shown (events); roll-out: of a model"
    )
    parser.add_argument("--scenario", choices=("mosquitto", "nats"), action="append", help="may be repeated (both)")
    parser.add_argument("--nodes", type=positive_count, default=1000, help="simulated nodes (1000)")
    parser.add_argument("--rate", type=positive_count, default=500, help="events a second of all nodes together (500)")
    parser.add_argument("--seconds", type=positive_seconds, default=30.0, help="of events, at least (30)")
    parser.add_argument("--kills", type=int, choices=range(4), default=3, help="NATS nodes that are killed in turn (3)")
    parser.add_argument("--no-commands", action="store_true", help="nodes do not subscribe to their commands")
    parser.add_argument("--daemons", type=positive_count, default=0, metavar="N", help="real daemons beside them (0)")
    parser.add_argument("--postgres", action="store_true", help="store in PostgreSQL, which is stopped for --away")
    parser.add_argument("--partition", action="store_true", help="cut off one NATS node from the others for --away")
    parser.add_argument("--away", type=positive_seconds, default=30.0, metavar="SECONDS", help="(30)")
    add_outputs(parser)
    parser.set_defaults(command=_fleet, install="in the clone, pip install '.[collect,update]'")


def _fleet(options: argparse.Namespace) -> int:
    check_outputs(options)
    _check(options)
    with termination_as_interrupt():
        result, faults = (_roll_out if options.proof == "roll-out" else _events)(options)
    put_out(options, result)
    for fault in faults:
        print(f"not kept: {fault}", file=sys.stderr)
    return FAULTS if faults else 0


def _check(options: argparse.Namespace) -> None:
    """Raises ConfigError for options that would have no effect."""
    if options.proof == "roll-out" and (
        options.scenario or options.postgres or options.partition or options.no_commands
    ):
        raise ConfigError("--proof roll-out takes --nodes and --daemons only: leave the other options out")
    if options.partition and options.scenario and "nats" not in options.scenario:
        raise ConfigError("--partition cuts off a NATS node: add --scenario nats, or leave it out")


def _events(options: argparse.Namespace) -> tuple[Result, list[str]]:
    from benchmarks.fleet.report import measure_fleet
    from benchmarks.fleet.scenes import Plan

    plan = Plan(
        options.nodes,
        options.rate,
        options.seconds,
        options.kills,
        not options.no_commands,
        options.daemons,
        options.postgres,
        options.partition,
        options.away,
    )
    return measure_fleet(options.scenario or ["mosquitto", "nats"], plan, show=show_line)


def _roll_out(options: argparse.Namespace) -> tuple[Result, list[str]]:
    from benchmarks.fleet.roll_out_report import measure_roll_out

    return measure_roll_out(options.nodes, options.daemons, show=show_line)
