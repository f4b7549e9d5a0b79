"""Comparison of two results of one machine: ratios, and whether they exceed the noise."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from math import comb
from typing import NamedTuple

from benchmarks.results.paired import paired_p
from benchmarks.results.results import Measurement, Result, significant
from edge_emotion.errors import ConfigError

CHANCE = 0.05
"""Significance level: the accepted probability of calling equal subjects different."""
PAIRED = "accuracy"
"""The metric that is compared face by face where two results are of the same faces."""


class Limit(NamedTuple):
    """A limit for ``--fail-on``: ``metric`` may become worse by at most ``factor``."""

    metric: str
    factor: float


@dataclass(frozen=True)
class Change:
    """One measurement before and after; ``p``: of McNemar's exact test where both are of the same faces."""

    before: Measurement
    after: Measurement
    p: float | None = None

    @property
    def ratio(self) -> float | None:
        """After / before, of the medians; None unless both are above 0."""
        return _ratio(self.after.value, self.before.value)

    @property
    def bounds(self) -> tuple[float, float] | None:
        """Smallest and largest ratio of the two ranges; None if a range is unknown or not above 0."""
        ranges = self._ranges
        if ranges is None:
            return None
        (before_low, before_high), (after_low, after_high) = ranges
        low, high = _ratio(after_low, before_high), _ratio(after_high, before_low)
        return None if low is None or high is None else (low, high)

    @property
    def _ranges(self) -> tuple[tuple[float, float], tuple[float, float]] | None:
        """Before and after: range of the runs, or 95 % interval if both have one; None for too few runs.

        Too few: chance alone would separate the runs of two equal subjects more often than CHANCE (exact permutation
        test, Fisher 1935). Four runs of each are enough.
        """
        first, second = self.before, self.after
        if first.interval and second.interval:
            return first.interval, second.interval
        if 2 / comb(len(first.runs) + len(second.runs), len(first.runs)) > CHANCE:
            return None
        return (min(first.runs), max(first.runs)), (min(second.runs), max(second.runs))

    @property
    def verdict(self) -> str:
        """``better`` or ``worse`` if p or the ranges are conclusive, else the reason; empty if ``better`` is None."""
        if self.before.better is None:
            return ""
        if self.p is not None:
            return "within noise" if self.p >= CHANCE else self._direction
        if self._ranges is None:
            return "equal" if self.after.value == self.before.value else "noise not known"
        (before_low, before_high), (after_low, after_high) = self._ranges
        if after_low <= before_high and before_low <= after_high:
            return "within noise"
        return self._direction

    @property
    def _direction(self) -> str:
        fell = self.after.value < self.before.value
        return "better" if fell == (self.before.better == "lower") else "worse"

    def breaks(self, limit: Limit) -> bool:
        """Whether it became worse by more than the limit, and by more than the noise where that is known.

        A change to or from 0 has no ratio and exceeds every factor.
        """
        if self.verdict not in ("worse", "noise not known") or self._direction == "better":
            return False
        if self.ratio is None:
            return True
        worse_by = self.ratio if self.before.better == "lower" else 1 / self.ratio
        return worse_by > limit.factor

    @property
    def summary(self) -> str:
        """The change in words."""
        if self.ratio is None:
            return f"was {significant(self.before.value)} and is {significant(self.after.value)}"
        return f"is {self.ratio:.3f} of what it was"


@dataclass(frozen=True)
class Comparison:
    """``changes``: measurements in both results; ``missing``: only in the first; ``new``: only in the second."""

    changes: tuple[Change, ...]
    missing: tuple[Measurement, ...]
    new: tuple[Measurement, ...]

    def failures(self, limits: Sequence[Limit]) -> list[str]:
        """One line per broken limit. A measurement that is missing in the second result breaks its limit, too.

        Raises ConfigError for a limit on a metric that is in no result or has no better direction.
        """
        lines = []
        known = {one.metric for one in (*(change.before for change in self.changes), *self.missing) if one.better}
        for limit in limits:
            if limit.metric not in known:
                raise ConfigError(f"--fail-on {limit.metric}: no such metric; there are: {', '.join(sorted(known))}")
            lines += [
                f"{change.before.subject}: {limit.metric} {change.summary}, allowed is a factor of {limit.factor:g} "
                "for the worse"
                for change in self.changes
                if change.before.metric == limit.metric and change.breaks(limit)
            ]
            lines += [
                f"{one.subject}: {limit.metric} was not measured again"
                for one in self.missing
                if one.metric == limit.metric
            ]
        return lines


def compare_results(before: Result, after: Result, *, unlike: bool = False) -> Comparison:
    """Pair the measurements of two results. Raises ConfigError if that is not possible: see ``check_comparable``."""
    check_comparable(before, after, unlike=unlike)
    pairs = [(one, after.find(one.subject, one.metric)) for one in before.measurements]
    changes = tuple(
        Change(one, other, paired_p(before, after, one.subject) if one.metric == PAIRED else None)
        for one, other in pairs
        if other and other.unit == one.unit
    )
    if not changes:
        raise ConfigError("the two results have no measurement in common")
    found = {id(change.after) for change in changes}
    kept = {id(change.before) for change in changes}
    return Comparison(
        changes,
        missing=tuple(one for one in before.measurements if id(one) not in kept),
        new=tuple(one for one in after.measurements if id(one) not in found),
    )


def check_comparable(before: Result, after: Result, *, unlike: bool) -> None:
    """Raises ConfigError for a template, an INVALID run, another benchmark or, unless ``unlike``, another machine."""
    for result in (before, after):
        if result.status != "measured":
            raise ConfigError(
                f"{result.benchmark} on {result.machine.machine}: {result.status}; measure it there first"
            )
        if result.invalid:
            subject, why = next(iter(result.invalid.items()))
            raise ConfigError(f"{subject} is INVALID ({why}): measure again, with a higher --limit or fewer --queries")
    if before.benchmark != after.benchmark:
        raise ConfigError(f"{before.benchmark} and {after.benchmark} are different benchmarks")
    if before.machine.identity != after.machine.identity and not unlike:
        names = (
            ", ".join(str(part) for part in machine.identity if part is not None)
            for machine in (before.machine, after.machine)
        )
        raise ConfigError(f"different machines: {' / '.join(names)}; --unlike-machines compares them all the same")


def differences(before: Result, after: Result) -> list[str]:
    """Differences of two results beside their measurements, a line each."""
    pairs = {
        **{
            name: (before.artefacts.get(name, "")[:12], after.artefacts.get(name, "")[:12])
            for name in before.artefacts | after.artefacts
        },
        **{name: (before.settings.get(name), after.settings.get(name)) for name in before.settings | after.settings},
        **{
            name: (before.machine.packages.get(name), after.machine.packages.get(name))
            for name in before.machine.packages | after.machine.packages
        },
        **{
            name: (getattr(before.machine, name), getattr(after.machine, name))
            for name in ("python", "system", "governor")
        },
    }
    lines = [f"{name}: {old} -> {new}" for name, (old, new) in pairs.items() if old != new]
    if before.machine.busy != after.machine.busy:
        loads = (f"{one.load} ({'busy' if one.busy else 'quiet'})" for one in (before.machine, after.machine))
        lines.append(f"load: {' -> '.join(loads)}")
    return lines


def comparison_text(comparison: Comparison) -> str:
    """A table with one line per change, then the measurements that only one result has."""
    subjects = [f"{change.before.subject}: {change.before.metric}" for change in comparison.changes]
    width = max(map(len, subjects))
    lines = [f"{'':{width}}{'before':>12}{'after':>12}{'ratio':>8}  noise bounds"]
    for name, change in zip(subjects, comparison.changes, strict=True):
        values = (f"{significant(one.value):>12}" for one in (change.before, change.after))
        ratio = "" if change.ratio is None else f"{change.ratio:.3f}"
        bounds = "" if change.bounds is None else "{:.3f} to {:.3f}".format(*change.bounds)
        p = "" if change.p is None else f" (p = {change.p:.3g}, McNemar)"
        lines.append(f"{name:{width}}{''.join(values)}{ratio:>8}  {bounds:16} {change.verdict}{p}".rstrip())
    lines += [f"only before: {one.subject}: {one.metric}" for one in comparison.missing]
    lines += [f"only after: {one.subject}: {one.metric}" for one in comparison.new]
    return "\n".join(lines)


def limit(text: str) -> Limit:
    """Parse ``METRIC=FACTOR`` for argparse: ``p90=1.1``."""
    metric, sign, factor = text.rpartition("=")
    try:
        value = float(factor)
    except ValueError:
        value = 0.0
    if not (sign and metric and 1 <= value < float("inf")):
        raise argparse.ArgumentTypeError(f"{text} is not METRIC=FACTOR with a factor from 1 on, as p90=1.1")
    return Limit(metric, value)


def _ratio(after: float, before: float) -> float | None:
    return after / before if after > 0 and before > 0 else None
