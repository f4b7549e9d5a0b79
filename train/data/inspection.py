"""What an inspection of a data set finds, as values, JSON and text."""

from __future__ import annotations

from collections.abc import Iterator

from pydantic import BaseModel, ConfigDict

from train.data.duplicates import Kind
from train.data.faces import Split


class Part(BaseModel):
    """Base of every part of an inspection: values never change, all of them can be written as JSON."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Agreement(Part):
    """How far the annotators of a split agree, over all its faces.

    ``winner_share`` is the mean share of votes of the winner, ``by_class`` the same for the faces that each class
    wins; ``entropy`` the mean entropy of the votes in bits; ``histogram`` the share of faces per tenth of winner share.
    """

    winner_share: float
    by_class: dict[str, float]
    entropy: float
    clear: float
    histogram: tuple[float, ...]


class Brightness(Part):
    """Grey values from 0 to 255: mean over pictures of their mean and of their standard deviation, and its spread.

    ``flat`` counts pictures that show next to nothing (standard deviation under 4).
    """

    mean: float
    mean_spread: float
    contrast: float
    contrast_spread: float
    flat: int


class SplitReport(Part):
    """One split: faces by winner, the clear ones among them, and the sum of each class's share of the votes."""

    n: int
    clear: int
    count: dict[str, int]
    clear_count: dict[str, int]
    votes: dict[str, float]
    agreement: Agreement
    brightness: Brightness


class CopyReport(Part):
    """Copies of one kind between two splits, or within one.

    ``in_first`` and ``in_second`` count the faces that have a copy in the other split; ``clear`` those of ``in_second``
    that are measured, ``disagree`` those of ``in_second`` with a copy that has another label.
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
    """Agreement with another labelling of the same pictures; ``confusion[ours][theirs]`` counts clear faces."""

    name: str
    n: int
    agree: float
    confusion: dict[str, dict[str, int]]


class Inspection(Part):
    """Everything that ``inspect`` found."""

    name: str
    protocol: str
    notes: tuple[str, ...]
    classes: tuple[str, ...]
    shape: tuple[int, ...]
    fingerprint: str
    splits: dict[Split, SplitReport]
    copies: tuple[CopyReport, ...]
    second_labels: SecondLabels | None


def as_text(found: Inspection) -> str:
    """The inspection as lines to read."""
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
    """The three most frequent of a row of counts."""
    total = sum(row.values())
    first = sorted(row.items(), key=lambda item: -item[1])[:3]
    return f"{total:>6}: " + ", ".join(f"{name} {count / total:.1%}" for name, count in first if count)
