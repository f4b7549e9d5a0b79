"""Results of the inspection of a data set, as values, JSON and text."""

from __future__ import annotations

from collections.abc import Iterator

from pydantic import BaseModel, ConfigDict

from train.data.duplicates import Kind
from train.data.faces import Split


class Part(BaseModel):
    """Base of the parts of an inspection: immutable, and serialisable as JSON."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Agreement(Part):
    """Agreement of the annotators of a split, over all its faces.

    ``winner_share``: mean share of the votes for the winner; ``by_class``: the same by winning class; ``entropy``: mean
    entropy of the votes in bits; ``clear``: share of clear faces; ``histogram``: share of faces by tenth of winner
    share.
    """

    winner_share: float
    by_class: dict[str, float]
    entropy: float
    clear: float
    histogram: tuple[float, ...]


class Brightness(Part):
    """Grey values (0 to 255): mean and spread over the pictures of their mean and standard deviation (contrast).

    ``flat``: number of pictures with almost no content (standard deviation below 4).
    """

    mean: float
    mean_spread: float
    contrast: float
    contrast_spread: float
    flat: int


class SplitReport(Part):
    """Faces of one split by winner (``count``), the clear ones (``clear_count``), and sums of the shares of votes."""

    n: int
    clear: int
    count: dict[str, int]
    clear_count: dict[str, int]
    votes: dict[str, float]
    agreement: Agreement
    brightness: Brightness


class CopyReport(Part):
    """Copies of one kind between two splits, or within one.

    ``in_first`` and ``in_second``: faces that have a copy in the other split; ``clear``: those of ``in_second`` that
    count in measurements; ``disagree``: those of ``in_second`` with a copy that has another label.
    """

    kind: Kind
    first: Split
    second: Split
    pairs: int
    in_first: int
    in_second: int
    clear: int
    disagree: int


class SecondLabels(Part):
    """Agreement with other labels of the same pictures; ``confusion[ours][theirs]`` counts clear faces."""

    name: str
    n: int
    agree: float
    confusion: dict[str, dict[str, int]]


class Inspection(Part):
    """Result of ``inspect``."""

    name: str
    protocol: str
    notes: tuple[str, ...]
    classes: tuple[str, ...]
    shape: tuple[int, ...]
    fingerprint: str
    splits: dict[Split, SplitReport]
    copies: tuple[CopyReport, ...]
    second_labels: SecondLabels | None


def inspection_text(found: Inspection) -> str:
    """An inspection as text for a terminal."""
    shape = " x ".join(map(str, found.shape))
    lines = [f"{found.name}, {found.protocol}: {shape} pixels, fingerprint {found.fingerprint[:16]}", *found.notes, ""]
    lines += ["faces by winner (clear ones), share of the votes", *_counts(found), "", *_pictures(found), ""]
    lines += _copies(found)
    if found.second_labels is not None:
        second = found.second_labels
        lines += ["", f"same label as in {second.name}: {second.agree:.1%} of {second.n} clear faces, by class"]
        lines += [f"  {name:10} {_most(row)}" for name, row in second.confusion.items() if any(row.values())]
    return "\n".join(lines)


def _counts(found: Inspection) -> Iterator[str]:
    yield " " * 10 + "".join(f"{split:>26}" for split in found.splits)
    for name in found.classes:
        cells = (
            f"{part.count[name]:>9} ({part.clear_count[name]:>6}) {part.votes[name] / part.n:>6.1%}"
            for part in found.splits.values()
        )
        yield f"{name:10}" + "".join(f"{cell:>26}" for cell in cells)
    totals = (f"{part.n:>9} ({part.clear:>6})       " for part in found.splits.values())
    yield f"{'all':10}" + "".join(f"{total:>26}" for total in totals)


def _pictures(found: Inspection) -> Iterator[str]:
    for split, part in found.splits.items():
        votes, light = part.agreement, part.brightness
        yield (
            f"{split}: winner holds {votes.winner_share:.1%} of the votes, {votes.entropy:.2f} bits, clear "
            f"{votes.clear:.1%}; brightness {light.mean:.0f} (+- {light.mean_spread:.0f}), "
            f"contrast {light.contrast:.0f} (+- {light.contrast_spread:.0f}), {light.flat} flat"
        )


def _copies(found: Inspection) -> Iterator[str]:
    yield "copies"
    for part in found.copies:
        if part.first == part.second:
            yield f"  {part.kind:8} within {part.first}: {part.in_second} faces, {part.disagree} with another label"
        else:
            yield (
                f"  {part.kind:8} {part.first} and {part.second}: {part.in_second} faces of {part.second} "
                f"({part.clear} clear, {part.disagree} with another label), {part.in_first} of {part.first}"
            )


def _most(row: dict[str, int]) -> str:
    """The three most frequent classes of a row of counts, as text."""
    total = sum(row.values())
    first = sorted(row.items(), key=lambda item: -item[1])[:3]
    return f"{total:>6}: " + ", ".join(f"{name} {count / total:.1%}" for name, count in first if count)
