"""Command-line options that name other data sets, and loading them."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from edge_emotion.errors import ConfigError

if TYPE_CHECKING:
    from edge_emotion.models.manifest import InputSpec
    from train.evaluation.elsewhere import Elsewhere


def add_elsewhere_options(parser: argparse.ArgumentParser, names: str) -> None:
    """Add ``--elsewhere`` and ``--cropped``; ``names``: help text with the names that the sets may have."""
    parser.add_argument(
        "--elsewhere", type=named_path, action="append", default=[], metavar="NAME=PATH",
        help=f"a folder or .zip of folders named like emotions, {names}; may be repeated",
    )  # fmt: skip
    parser.add_argument(
        "--cropped", action="append", default=[], metavar="NAME",
        help="the pictures of that set are face crops; in those of the others the face is detected",
    )  # fmt: skip


def named_path(text: str) -> tuple[str, Path]:
    """Parse NAME=PATH for argparse."""
    name, sign, path = text.partition("=")
    if not (name and sign and path):
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=PATH")
    return name, Path(path)


def read_elsewhere(options: argparse.Namespace, spec: InputSpec) -> Mapping[str, Elsewhere]:
    """Load the sets of these options, by name, cropped as a model with this input needs it; prints counts on stderr.

    Raises ConfigError for a name that is given twice or only in --cropped, DataError as ``load_elsewhere`` does.
    """
    from train.evaluation.elsewhere import daemon_finder, load_elsewhere

    names = [name for name, _ in options.elsewhere]
    odd = [name for name in options.cropped if name not in names]
    if odd or len(set(names)) < len(names):
        raise ConfigError(f"--cropped {odd[0]}: no such --elsewhere" if odd else "--elsewhere: a name is there twice")
    if spec.crop is None and set(names) - set(options.cropped):
        raise ConfigError("this model defines no crop: give face crops, and name the sets in --cropped")
    sets = {}
    for name, path in options.elsewhere:
        finder = None
        if name not in options.cropped:
            assert spec.crop is not None
            finder = daemon_finder(spec.crop)
        sets[name] = load_elsewhere(name, path, finder, spec.detail)
        print(f"{name}: {len(sets[name].faces)} faces in {sets[name].pictures} pictures", file=sys.stderr)
    return sets
