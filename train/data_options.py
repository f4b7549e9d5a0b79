"""Options with which a command takes a data set, and the data set that they name."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from edge_emotion.terminal import positive_count

if TYPE_CHECKING:
    from train.faces import DataSet


def add_data_options(parser: argparse.ArgumentParser, *, required: bool = True) -> None:
    """Add ``--data``, ``--layout``, ``--size``, ``--colour`` and ``--split``."""
    parser.add_argument("--data", type=Path, required=required, metavar="DIR", help="folder or CSV file of a data set")
    parser.add_argument("--layout", default="auto", help="how it is laid out; default: what is found")
    parser.add_argument("--size", type=positive_count, default=48, help="side in pixels to which faces are brought")
    parser.add_argument("--colour", choices=("gray", "bgr"), default="gray", help="of the faces")
    parser.add_argument("--split", choices=("train", "validation", "test"), default="validation")


def read_data(options: argparse.Namespace) -> DataSet:
    """The data set of these options. Raises DataError as ``train.datasets.load`` does."""
    from train.datasets import load

    return load(options.data, layout=options.layout, size=options.size, colour=options.colour)
