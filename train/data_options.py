"""Options with which a command takes a data set, and the data set that they name."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edge_emotion.manifest import InputSpec
    from train.faces import DataSet

SPLIT_ALIASES = {"Training": "train", "PublicTest": "validation", "PrivateTest": "test"}
"""FER2013's own names are understood too."""


def add_data_options(parser: argparse.ArgumentParser, *, required: bool = True, split: str | None = None) -> None:
    """Add ``--data``, ``--layout``, ``--skip-bad`` and, with a default, ``--split``."""
    parser.add_argument("--data", type=Path, required=required, metavar="DIR", help="folder or CSV file of a data set")
    parser.add_argument(
        "--layout", default="auto", help="fer_plus, fer2013, rafdb, affectnet, folders or csv; default: what is found"
    )
    parser.add_argument("--skip-bad", action="store_true", help="leave out pictures that cannot be read")
    if split is not None:
        parser.add_argument(
            "--split",
            type=lambda name: SPLIT_ALIASES.get(name, name),
            choices=("train", "validation", "test"),
            default=split,
            help=f"default: {split}",
        )


def read_data(
    options: argparse.Namespace, inputs: Sequence[InputSpec], *, label_votes: Mapping[str, float] | None = None
) -> DataSet:
    """The data set of these options, as sharp and colourful as the models with these inputs can use.

    Prints what was left out. Raises DataError as ``train.datasets.load`` does.
    """
    from train.datasets import load

    data = load(
        options.data,
        layout=options.layout,
        size=max(spec.detail for spec in inputs),
        colour="bgr" if any(spec.channels == 3 for spec in inputs) else "gray",
        label_votes=label_votes or {},
        skip_bad=options.skip_bad,
    )
    for note in data.notes:
        print(note)
    return data
