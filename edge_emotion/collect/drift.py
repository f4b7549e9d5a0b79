"""Drift of cameras: their latest days against their own reference month, by the histograms of ``emotion_hour``."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta, timezone
from typing import Any

import numpy as np
import numpy.typing as npt

from edge_emotion.collect.database import Database
from edge_emotion.collect.store import REFERENCE
from edge_emotion.wire.hours import EDGES

Bins = npt.NDArray[np.float64]
"""Counts, days x bins."""

THRESHOLD = 0.2
"""Population stability index from which a camera has moved; below 0.1 is usually called stable."""

LATEST_DAYS = 7
MIN_FACES = 1000
MIN_DAYS = (10, 3)
"""Least days with faces in the reference month, and in the latest days: the chance limit is taken from days."""

SHUFFLES, CHANCE = 999, 0.99
"""Shuffled orders of the days, and the quantile of their indexes that a moved camera exceeds."""


@dataclass(frozen=True, slots=True)
class Drift:
    """One measure of one camera.

    ``index`` is the population stability index, ``chance`` the value that days in a random order stay below 99 times in
    100; both are None, with the reason in ``missing``, where there are too few data. Numbers of faces and of days are
    those of the reference month and of the latest days.
    """

    node: str
    camera: str
    measure: str
    index: float | None
    chance: float | None
    faces: tuple[int, int]
    days: tuple[int, int]
    missing: str | None = None

    @property
    def moved(self) -> bool:
        """True if the index reaches the threshold, and is no chance."""
        return self.index is not None and self.chance is not None and self.index >= max(THRESHOLD, self.chance)


def stability_index(reference: npt.ArrayLike, latest: npt.ArrayLike) -> Any:
    """Population stability index of counts along the last axis: the sum of (q - p) ln(q / p) over the bins.

    p and q are the shares in each bin, of counts that are larger by a half so that no bin is empty.
    """
    p, q = (_shares(np.asarray(counts, dtype=np.float64)) for counts in (reference, latest))
    return np.sum((q - p) * np.log(q / p), axis=-1)


def find_drift(
    database: Database, prefix: str, now: datetime, *, node: str | None = None, since: date | None = None,
    emotions: bool = False,
) -> Iterator[Drift]:  # fmt: skip
    """Each measure of each camera of ``node`` (None: of all nodes), by name; raises like ``Database.execute``.

    The reference month begins with the first hour of a camera, or of those from ``since`` (UTC) on.
    """
    for found, camera in database.execute(_CAMERAS, [prefix]):
        if node in (None, found):
            hours = _hours(database, (prefix, found, camera), since, now)
            for measure in (*EDGES, *(["emotions"] if emotions else [])):
                yield _measured(found, camera, measure, hours, now)


Hour = tuple[datetime, dict[str, Any]]

_CAMERAS = "SELECT DISTINCT node, camera FROM emotion_hour WHERE prefix = ? ORDER BY 1, 2"
_FIRST = """SELECT CAST(floor(extract(epoch FROM min(hour))) AS BIGINT) FROM emotion_hour
    WHERE prefix = ? AND node = ? AND camera = ? AND hour >= ?"""
_COLUMNS = (*EDGES, "emotions")
_HOURS = """SELECT CAST(floor(extract(epoch FROM hour)) AS BIGINT), CAST(confidence AS TEXT), CAST(quality AS TEXT),
    CAST(size AS TEXT), CAST(score AS TEXT), CAST(emotions AS TEXT) FROM emotion_hour
    WHERE prefix = ? AND node = ? AND camera = ? AND hour >= ? AND (hour < ? OR hour >= ?) AND hour <= ? ORDER BY 1"""


def _hours(database: Database, key: tuple[str, str, str], since: date | None, now: datetime) -> list[Hour]:
    """The hours of one camera in the reference month and in the latest days, oldest first."""
    begin = date(1970, 1, 1) if since is None else since
    chosen = [*key, datetime(begin.year, begin.month, begin.day, tzinfo=timezone.utc)]
    first = database.execute(_FIRST, chosen)[0][0]
    if first is None:
        return []
    limits = [_time(first) + REFERENCE, now - timedelta(days=LATEST_DAYS), now]
    return [
        (_time(second), dict(zip(_COLUMNS, map(json.loads, bins), strict=True)))
        for second, *bins in database.execute(_HOURS, [*chosen, *limits])
    ]


def _time(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, timezone.utc)


def _measured(node: str, camera: str, measure: str, hours: Sequence[Hour], now: datetime) -> Drift:
    if not hours:
        return Drift(node, camera, measure, None, None, (0, 0), (0, 0), "no hour is stored")
    end, begin = hours[0][0] + REFERENCE, now - timedelta(days=LATEST_DAYS)
    reference = _by_day(measure, [hour for hour in hours if hour[0] < end], hours)
    latest = _by_day(measure, [hour for hour in hours if hour[0] >= begin], hours)
    faces, days = (int(reference.sum()), int(latest.sum())), (len(reference), len(latest))
    missing = _missing(faces, days, end, begin)
    if missing is not None:
        return Drift(node, camera, measure, None, None, faces, days, missing)
    index = float(stability_index(reference.sum(axis=0), latest.sum(axis=0)))
    return Drift(node, camera, measure, index, _chance(reference, latest), faces, days)


def _missing(faces: tuple[int, int], days: tuple[int, int], end: datetime, begin: datetime) -> str | None:
    """What is too little for a judgement; None if nothing is."""
    if end > begin:
        complete = end + timedelta(days=LATEST_DAYS)
        return f"the reference month and {LATEST_DAYS} days after it are complete on {complete:%Y-%m-%d}"
    for name, number, found, least in zip(
        ("the reference month", "the latest days"), faces, days, MIN_DAYS, strict=True
    ):
        if number < MIN_FACES or found < least:
            return f"{name}: {number} faces on {found} days, needed are {MIN_FACES} on {least}"
    return None


def _by_day(measure: str, hours: Sequence[Hour], all_hours: Sequence[Hour]) -> Bins:
    """The counts of each day, days x bins; the bins of ``emotions`` are the names that occur in ``all_hours``."""
    labels = sorted({name for _, bins in all_hours for name in bins["emotions"]})
    days: dict[date, Bins] = {}
    for start, bins in hours:
        counts = [bins[measure].get(name, 0) for name in labels] if measure == "emotions" else bins[measure]
        days[start.date()] = days.get(start.date(), 0) + np.asarray(counts, dtype=np.float64)
    width = len(labels) if measure == "emotions" else len(EDGES[measure]) + 1
    return np.array([counts for counts in days.values() if counts.sum()]).reshape(-1, width)


def _chance(reference: Bins, latest: Bins) -> float:
    """The quantile CHANCE of the index when the same days are divided at random; faces of one day are alike."""
    days = np.concatenate([reference, latest])
    order = np.random.default_rng(0).permuted(np.tile(np.arange(len(days)), (SHUFFLES, 1)), axis=1)
    chosen = (order < len(latest)).astype(np.float64) @ days
    return float(np.quantile(stability_index(days.sum(axis=0) - chosen, chosen), CHANCE))


def _shares(counts: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    larger = counts + 0.5
    shares: npt.NDArray[np.float64] = larger / larger.sum(axis=-1, keepdims=True)
    return shares
