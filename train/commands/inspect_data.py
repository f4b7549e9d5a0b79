"""Command ``python -m train inspect``: counts, copies, annotator agreement and brightness of a data set."""

from __future__ import annotations

import argparse
from collections import Counter
from pathlib import Path
from typing import Any, get_args

import numpy as np
import numpy.typing as npt

from edge_emotion.datatypes import Image
from edge_emotion.system.atomic_file import write_bytes
from train.commands.data_options import add_group_by, add_label_map
from train.data.contact_sheet import bar_chart, contact_sheet, stack
from train.data.duplicates import Copies, Kind, find_copies, pairs_of_splits, take_prints
from train.data.faces import DataSet, Faces, Split
from train.data.inspection import (
    Agreement,
    Brightness,
    CopyReport,
    Inspection,
    SecondLabels,
    SplitReport,
    inspection_text,
)
from train.data.layouts import LAYOUTS, detect_layout, load
from train.data.layouts.images import Colour
from train.reporting.image_output import png, ready_folder

BINS = 10
"""Bins of the histogram of the winner's share of the votes."""

FLAT = 4.0
"""Standard deviation of the grey values (0 to 255) below which a picture counts as flat: almost no content."""


def inspect(data: DataSet, *, near: bool = True, other: DataSet | None = None) -> Inspection:
    """Count and compare the faces of every split of a data set.

    ``other``: the same pictures with other labels. Without ``near`` only exact copies are searched for; see
    ``train.data.duplicates.find_copies`` for the time needed.
    """
    prints = {split: take_prints(faces) for split, faces in data.splits.items()}
    copies = [
        _copy_report(kind, first, second, found, data[second].clear)
        for first, second in pairs_of_splits(data)
        for kind, found in find_copies(prints[first], prints[second], near=near).items()
    ]
    return Inspection(
        name=data.name,
        protocol=data.protocol,
        notes=data.notes,
        classes=data.classes,
        shape=next(iter(data.splits.values())).images.shape[1:],
        fingerprint=data.fingerprint(),
        splits={split: _split_report(faces, data.classes) for split, faces in data.splits.items()},
        copies=tuple(copies),
        second_labels=None if other is None else compare_labels(data, other),
    )


def compare_labels(data: DataSet, other: DataSet) -> SecondLabels:
    """Agreement of the clear faces of ``data`` with ``other``, where equal pictures are looked up by their pixels.

    A picture that ``other`` has twice in the same split is left out, because it cannot be told which one it is.
    """
    table = np.zeros((len(data.classes), len(other.classes)), np.int64)
    for split, faces in data.splits.items():
        if split in other.splits:
            clear = faces.majority()
            mine, theirs = _matched(clear, other[split])
            np.add.at(table, (clear.labels[mine], other[split].labels[theirs]), 1)
    same = np.array([[ours == theirs for theirs in other.classes] for ours in data.classes])
    total = int(table.sum())
    return SecondLabels(
        name=other.name,
        n=total,
        agree=round(float(table[same].sum() / max(total, 1)), 4),
        confusion={name: _by_class(other.classes, row) for name, row in zip(data.classes, table, strict=True)},
    )


def draw(data: DataSet, found: Inspection) -> dict[str, Image]:
    """File name -> picture: a contact sheet of the first split, and histograms of classes and votes."""
    split = next(iter(data.splits))
    shares = {name: [part.count[each] / part.n for each in found.classes] for name, part in found.splits.items()}
    charts = [bar_chart(f"{found.name}: share of each class, by winner", found.classes, shares)]
    if any(part.agreement.winner_share < 1 for part in found.splits.values()):
        steps = [f"{low / BINS:.1f} to {(low + 1) / BINS:.1f}" for low in range(BINS)]
        votes = {name: part.agreement.histogram for name, part in found.splits.items()}
        charts.append(bar_chart("share of the votes that the winner holds", steps, votes))
    return {"contact_sheet.png": contact_sheet(data[split].majority(), data.classes), "histograms.png": stack(charts)}


def add_inspect(commands: Any) -> None:
    """Add ``inspect`` to the subparsers of the command line."""
    parser = commands.add_parser(
        "inspect",
        help="contents of a data set: counts, copies, annotator agreement",
        description="Count classes, find copies within and across splits, measure the agreement of the annotators.",
    )
    parser.add_argument("data", type=Path, help="folder or CSV file")
    parser.add_argument("--layout", choices=("auto", *LAYOUTS), default="auto")
    add_label_map(parser)
    add_group_by(parser)
    parser.add_argument("--size", type=int, default=48, help="side in pixels that pictures are resized to")
    parser.add_argument("--colour", choices=get_args(Colour), default="gray")
    parser.add_argument("--skip-bad", action="store_true", help="leave out unreadable pictures, and count them")
    parser.add_argument("--exact-only", action="store_true", help="no near or mirrored copies: faster for large sets")
    parser.add_argument(
        "--out",
        type=Path,
        help="folder for inspection.json, histograms.png and contact_sheet.png; the sheet shows faces of the data set "
        "and is written nowhere else",
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(command=run_inspect)


def run_inspect(options: argparse.Namespace) -> None:
    """Load and inspect a data set, print the result and write the files of ``--out``."""
    if options.out is not None:
        ready_folder(options.out)
    layout = detect_layout(options.data) if options.layout == "auto" else options.layout
    look = {"size": options.size, "colour": options.colour, "skip_bad": options.skip_bad}
    data = load(options.data, layout=layout, label_map=options.label_map, group_by=options.group_by, **look)
    other = load(options.data, layout="fer2013", **look) if layout == "fer_plus" else None
    found = inspect(data, near=not options.exact_only, other=other)
    as_json = found.model_dump_json(indent=2)
    print(as_json if options.json else inspection_text(found))
    if options.out is not None:
        write_bytes(options.out / "inspection.json", f"{as_json}\n".encode())
        for name, image in draw(data, found).items():
            write_bytes(options.out / name, png(image))


def _split_report(faces: Faces, classes: tuple[str, ...]) -> SplitReport:
    return SplitReport(
        n=len(faces),
        clear=int(faces.clear.sum()),
        count=_by_class(classes, np.bincount(faces.labels, minlength=len(classes))),
        clear_count=_by_class(classes, np.bincount(faces.labels[faces.clear], minlength=len(classes))),
        votes={name: round(float(mass), 2) for name, mass in zip(classes, faces.votes.sum(axis=0), strict=True)},
        agreement=_agreement(faces, classes),
        brightness=_brightness(faces),
    )


def _agreement(faces: Faces, classes: tuple[str, ...]) -> Agreement:
    share = faces.votes.max(axis=1).astype(np.float64)
    logs = np.log2(faces.votes, where=faces.votes > 0, out=np.zeros_like(faces.votes))
    bins = np.minimum((share * BINS).astype(int), BINS - 1)
    by_class = {name: share[faces.labels == column] for column, name in enumerate(classes)}
    return Agreement(
        winner_share=round(float(share.mean()), 4),
        by_class={name: round(float(values.mean()), 4) for name, values in by_class.items() if len(values)},
        entropy=round(float(-(faces.votes * logs).sum(axis=1).mean()), 4) + 0.0,  # no -0.0
        clear=round(float(faces.clear.mean()), 4),
        histogram=tuple(round(float(part), 4) for part in np.bincount(bins, minlength=BINS) / len(share)),
    )


def _brightness(faces: Faces) -> Brightness:
    """Computed one picture at a time, because a float copy of the whole set may not fit into memory."""
    moments = np.array([(image.mean(), image.std()) for image in faces.images])
    (mean, contrast), (mean_spread, contrast_spread) = moments.mean(axis=0), moments.std(axis=0)
    return Brightness(
        mean=round(float(mean), 2),
        mean_spread=round(float(mean_spread), 2),
        contrast=round(float(contrast), 2),
        contrast_spread=round(float(contrast_spread), 2),
        flat=int((moments[:, 1] < FLAT).sum()),
    )


def _copy_report(kind: Kind, first: Split, second: Split, found: Copies, clear: npt.NDArray[np.bool_]) -> CopyReport:
    return CopyReport(
        kind=kind,
        first=first,
        second=second,
        pairs=found.pairs,
        in_first=int(found.first.sum()),
        in_second=int(found.second.sum()),
        clear=int((found.second & clear).sum()),
        disagree=int(found.second_differs.sum()),
    )


def _matched(faces: Faces, others: Faces) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Rows of equal pictures in both, for pictures that ``others`` has exactly once."""
    digests = others.digests()
    count = Counter(digests)
    rows = {digest: row for row, digest in enumerate(digests) if count[digest] == 1}
    pairs = [(row, rows[digest]) for row, digest in enumerate(faces.digests()) if digest in rows]
    mine, theirs = np.array(pairs, np.int64).reshape(-1, 2).T
    return mine, theirs


def _by_class(classes: tuple[str, ...], counts: npt.NDArray[np.int64]) -> dict[str, int]:
    return {name: int(count) for name, count in zip(classes, counts, strict=True)}
