"""Command-line options that name a data set, and loading it."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from train.data.faces import SPLITS, DataError
from train.data.layouts import FaceFinder, load
from train.data.layouts.grouping import GROUPS_HELP
from train.data.layouts.label_maps import parse_label_map
from train.data.layouts.splits import SPLIT_NAMES

if TYPE_CHECKING:
    from edge_emotion.models.manifest import InputSpec
    from train.data.faces import DataSet


def add_data_options(
    parser: argparse.ArgumentParser, *, required: bool = True, split: str | None = None, detect: bool = False
) -> None:
    """Add ``--data``, ``--layout`` and ``--skip-bad``; ``--detect`` if asked for; ``--split`` with this default."""
    parser.add_argument("--data", type=Path, required=required, metavar="DIR", help="folder or CSV file of a data set")
    parser.add_argument(
        "--layout", default="auto", help="fer_plus, fer2013, rafdb, affectnet, folders or csv; default: recognised"
    )
    add_label_map(parser)
    parser.add_argument("--skip-bad", action="store_true", help="leave out pictures that cannot be read")
    add_group_by(parser)
    parser.set_defaults(detect=None)
    if detect:
        parser.add_argument(
            "--detect",
            metavar="DETECTOR",
            help="the pictures are no face crops: find the face in each (blazeface_back)",
        )
    if split is not None:
        parser.add_argument(
            "--split",
            type=lambda name: SPLIT_NAMES.get(name.lower(), name),
            choices=SPLITS,
            default=split,
            help=f"default: {split}",
        )


def add_label_map(parser: argparse.ArgumentParser) -> None:
    """Add ``--label-map``."""
    parser.add_argument(
        "--label-map",
        type=_label_map,
        default={},
        metavar="MAP",
        help="meaning of labels that are no names: 1=anger,2=disgust,..., or fer2013, rafdb or affectnet",
    )


def add_group_by(parser: argparse.ArgumentParser) -> None:
    """Add ``--group-by``."""
    parser.add_argument("--group-by", metavar="RULE", help=f"for data without splits: {GROUPS_HELP}")


def _label_map(text: str) -> dict[str, str]:
    try:
        return parse_label_map(text)
    except DataError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def read_data(
    options: argparse.Namespace, inputs: Sequence[InputSpec], *, label_votes: Mapping[str, float] | None = None
) -> DataSet:
    """Load the data set of these options, as large and colourful as the models with these inputs can use.

    Prints on stderr what was left out. Raises DataError as ``train.data.layouts.load`` does, ModelError for a missing
    detector, and DataError if faces have to be found for models that frame them differently.
    """
    data = load(
        options.data,
        layout=options.layout,
        size=max(spec.detail for spec in inputs),
        colour="bgr" if any(spec.channels == 3 for spec in inputs) else "gray",
        label_votes=label_votes or {},
        skip_bad=options.skip_bad,
        group_by=options.group_by,
        label_map=options.label_map,
        finder=_finder(options.detect, inputs) if options.detect else None,
    )
    for note in data.notes:
        print(note, file=sys.stderr)
    return data


def _finder(name: str, inputs: Sequence[InputSpec]) -> FaceFinder:
    """A face finder with this detector, which crops as these models need it; ``load`` sets the resolution."""
    from edge_emotion.factory.models import make_detector

    crops = {None if spec.crop is None else (spec.crop.margin, spec.crop.shift): spec.crop for spec in inputs}
    crop = next(iter(crops.values()), None)
    if crop is None or len(crops) > 1:
        raise DataError("--detect needs models that all frame a face in the same way: give them one by one")
    return FaceFinder(name, lambda: make_detector(name), crop)
