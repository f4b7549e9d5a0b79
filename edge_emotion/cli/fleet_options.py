"""Options of ``edge-emotion fleet status | roll-out | pause | abort``."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

from edge_emotion.cli.broker_options import connection_options, connection_settings
from edge_emotion.cli.collect_options import valid_name
from edge_emotion.cli.examples import FLEET_EXAMPLES
from edge_emotion.cli.terminal import add_debug, add_examples, path_of_something, positive_days, positive_seconds

TIMEOUT = 1800.0
DAYS = 30.0
MAX_FAILED = 5.0


def fleet_options(parser: argparse.ArgumentParser) -> None:
    """Add the four actions and their options."""
    actions = parser.add_subparsers(metavar="ACTION", required=True)

    def action(name: str, text: str) -> argparse.ArgumentParser:
        sub = actions.add_parser(name, help=text, description=text)
        add_debug(sub, default=argparse.SUPPRESS)
        add_examples(sub, *FLEET_EXAMPLES[name])
        sub.set_defaults(command=run_fleet, action=name)
        connection_options(sub)
        return sub

    status = action("status", "how far the nodes of each group are with the model that was ordered")
    status.add_argument("--group", type=valid_name, help="only this group")
    status.add_argument("--json", action="store_true", help="for scripts, with every node")
    roll_out = action("roll-out", "order a release for the nodes of a group, in waves that stop by themselves")
    _roll_out_options(roll_out)
    _order_options(action("pause", "no further node of a group begins; roll-out goes on"))
    abort = action("abort", "nodes of a group that use the ordered release go back to the one before")
    _order_options(abort)
    abort.add_argument("--wait", type=positive_seconds, default=TIMEOUT, metavar="S", help="for the nodes (1800)")


def _roll_out_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("release", type=path_of_something, metavar="RELEASE", help="its folder or tar file")
    _order_options(parser)
    parser.add_argument(
        "--source", metavar="URL", help="https address of the files, or their folder on the nodes (default: RELEASE)"
    )
    parser.add_argument(
        "--waves", type=_waves, default=(1.0, 10.0, 50.0, 100.0), metavar="P,P,...", help="percent (1,10,50,100)"
    )
    parser.add_argument("--max-failed", type=_percent, default=MAX_FAILED, metavar="P", help="percent of a wave (5)")
    parser.add_argument(
        "--on-failure", choices=("abort", "pause"), default="abort", help="when more have failed (abort)"
    )
    parser.add_argument(
        "--wait", type=positive_seconds, default=TIMEOUT, metavar="S", help="for the nodes of each wave (1800)"
    )
    parser.add_argument("--expires", type=positive_days, default=DAYS, metavar="DAYS", help="of the orders (30)")


def _order_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--group", type=valid_name, required=True, help="update.group of the nodes")
    parser.add_argument("--release-key", type=Path, required=True, metavar="FILE", help="secret key; signs the orders")
    parser.add_argument("--release-key-password-file", type=Path, metavar="FILE", help="of the secret key")
    parser.add_argument(
        "--trust", type=Path, action="append", default=[], metavar="FILE",
        help="another public key that may have signed the order that is there",
    )  # fmt: skip


def run_fleet(options: argparse.Namespace) -> int:
    """Run an action; see ``edge_emotion.cli.fleet``."""
    from edge_emotion.cli import fleet

    actions: dict[str, Callable[..., int]] = {
        "status": fleet.status, "roll-out": fleet.roll_out, "pause": fleet.pause, "abort": fleet.abort
    }  # fmt: skip
    return actions[options.action](connection_settings(options), options)


def _percent(text: str) -> float:
    value = float(text)
    if not 0 <= value <= 100:
        raise argparse.ArgumentTypeError(f"{text} is not between 0 and 100")
    return value


def _waves(text: str) -> tuple[float, ...]:
    waves = tuple(_percent(part) for part in text.split(","))
    if list(waves) != sorted(set(waves)) or waves[0] <= 0:
        raise argparse.ArgumentTypeError(f"{text!r}: each wave must be larger than the one before, the first above 0")
    return waves
