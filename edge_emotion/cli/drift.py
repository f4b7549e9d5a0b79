"""``edge-emotion drift``: the cameras that have moved away from their reference month, from what collect has stored."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from contextlib import closing
from dataclasses import asdict
from datetime import date, datetime, timezone
from pathlib import Path

from edge_emotion.cli.collect import open_database
from edge_emotion.collect.drift import Drift, find_drift
from edge_emotion.collect.schema import require
from edge_emotion.errors import ConfigError

_ROW = "{:20} {:16} {:11} {:>6} {:>6} {:>18} {:>18}  {}"
_HEAD = ("node", "camera", "measure", "PSI", "chance", "reference", "latest", "verdict")


def drift(
    postgres: str | None,
    file: Path,
    *,
    prefix: str,
    node: str | None,
    since: date | None,
    emotions: bool,
    as_json: bool,
) -> int:
    """Print each measure of each camera; returns 0.

    Raises ConfigError if there is nothing to read, SinkError if the database does not answer.
    """
    if postgres is None and not file.exists():
        raise ConfigError(f"--duckdb: there is no file {file}: edge-emotion collect makes it")
    with closing(open_database(postgres, file, "drift")) as database:
        require(database)
        now = datetime.now(timezone.utc)
        found = list(find_drift(database, prefix, now, node=node, since=since, emotions=emotions))
    if not found:
        of_node = "" if node is None else f" of node {node}"
        raise ConfigError(
            f"{database.name} has no histograms{of_node} under the prefix {prefix}: nodes send them hourly"
        )
    for line in _json_lines(found) if as_json else _lines(found):
        print(line)
    print(_summary(found), file=sys.stderr)
    return 0


def _json_lines(found: Iterable[Drift]) -> Iterable[str]:
    return (json.dumps({**asdict(each), "moved": each.moved}) for each in found)


def _lines(found: Iterable[Drift]) -> Iterable[str]:
    yield _ROW.format(*_HEAD)
    for each in found:
        sizes = [f"{faces} in {days} d" for faces, days in zip(each.faces, each.days, strict=True)]
        verdict = each.missing or ("moved" if each.moved else "stable")
        yield _ROW.format(
            each.node, each.camera, each.measure, _number(each.index), _number(each.chance), *sizes, verdict
        )


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _summary(found: Iterable[Drift]) -> str:
    cameras = {(each.node, each.camera) for each in found}
    moved = {(each.node, each.camera) for each in found if each.moved}
    few = {(each.node, each.camera) for each in found if each.missing is not None} - moved
    names = ", ".join("/".join(camera) for camera in sorted(moved))
    return f"{len(moved)} of {len(cameras)} cameras have moved{names and ': '}{names}; {len(few)} have too few data"
