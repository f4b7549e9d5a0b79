"""Options of ``edge-emotion collect`` and ``edge-emotion drift``."""

from __future__ import annotations

import argparse
import re
from datetime import date
from pathlib import Path

from edge_emotion.cli.broker_options import connection_options, connection_settings
from edge_emotion.cli.terminal import positive_days, positive_seconds


def collect_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``collect``."""
    connection_options(parser)
    _database_options(parser)
    parser.add_argument("--session", type=valid_name, metavar="NAME", help="of the broker's session (default: collect)")
    parser.add_argument("--group", type=valid_name, help="share the events with the other collectors of this group")
    parser.add_argument("--keep", type=positive_days, metavar="DAYS", help="delete events that are older; not the sums")
    parser.add_argument("--duration", type=positive_seconds, metavar="S", help="stop after so many seconds")


def drift_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``drift``."""
    _database_options(parser)
    parser.add_argument("--node", type=valid_name, metavar="NAME", help="only this node")
    parser.add_argument("--prefix", default="edge-emotion", help="of the topics (default: edge-emotion)")
    parser.add_argument("--since", type=_date, metavar="DATE", help="the reference month begins then: after a change")
    parser.add_argument("--emotions", action="store_true", help="compare the shares of the emotions, too")
    parser.add_argument("--json", action="store_true", help="for scripts, a line for each measure of a camera")


def _database_options(parser: argparse.ArgumentParser) -> None:
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--postgres", metavar="DSN", help="connection string: postgresql://USER@HOST/DATABASE")
    where.add_argument(
        "--duckdb", type=Path, metavar="FILE", default=Path("emotions.duckdb"), help="default: emotions.duckdb"
    )


def _date(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no date such as 2026-11-20") from None


def run_collect(options: argparse.Namespace) -> int:
    """Run ``collect``; see ``edge_emotion.cli.collect``."""
    from edge_emotion.cli.collect import collect, open_database

    return collect(
        connection_settings(options),
        open_database(options.postgres, options.duckdb),
        session=options.session,
        group=options.group,
        keep_days=options.keep,
        duration=options.duration,
    )


def run_drift(options: argparse.Namespace) -> int:
    """Run ``drift``; see ``edge_emotion.cli.drift``."""
    from edge_emotion.cli.drift import drift

    return drift(
        options.postgres,
        options.duckdb,
        prefix=options.prefix,
        node=options.node,
        since=options.since,
        emotions=options.emotions,
        as_json=options.json,
    )


def valid_name(text: str) -> str:
    """A name as nodes and cameras have it, for argparse."""
    from edge_emotion.wire.topics import NAME_PATTERN

    if not re.fullmatch(NAME_PATTERN, text):
        raise argparse.ArgumentTypeError(f"{text!r} is no name: letters, digits, - and _, 64 at most")
    return text
