"""Command ``python -m train explain``: pictures of the features that a network uses in a face."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge_emotion.cli.terminal import positive_count
from edge_emotion.datatypes import Image
from edge_emotion.errors import ConfigError
from edge_emotion.models.preprocess import Pixels
from edge_emotion.system.atomic_file import write_bytes
from train.choices import DETECTOR
from train.commands.data_options import add_data_options, read_data
from train.data.faces import DataError, every_class
from train.reporting.image_output import png, ready_folder, safe_name

if TYPE_CHECKING:
    from train.reporting.explained import Network

METHODS = "gradcam", "gradcam++", "features", "attention", "patches"


def add_explain(commands: Any) -> None:
    """Add ``explain`` to the subparsers of the command line."""
    parser = commands.add_parser(
        "explain", help="show what a network uses in a face: Grad-CAM, feature maps, attention"
    )
    parser.add_argument(
        "target", metavar="TARGET", help="run directory, or shipped model or model folder with a float file"
    )
    add_data_options(parser, required=False, split="validation")
    parser.add_argument("--image", type=Path, nargs="+", metavar="FILE", help="pictures instead of a data set")
    parser.add_argument("--detect", action="store_true", help="the pictures are no face crops: find the faces in them")
    parser.add_argument("--detector", metavar="NAME", help=f"for --detect (default: {DETECTOR})")
    parser.add_argument("--out", type=Path, required=True, help="folder for the pictures")
    parser.add_argument("--method", choices=METHODS, default="gradcam")
    parser.add_argument("--layer", nargs="+", metavar="NAME", help="layers to show (gradcam, features)")
    parser.add_argument(
        "--class", dest="emotion", metavar="NAME", help="explain this emotion instead of the predicted one"
    )
    parser.add_argument("--count", type=positive_count, default=16, help="faces at most")
    parser.set_defaults(command=_explain)


def _explain(options: argparse.Namespace) -> None:
    from train.reporting.explained import explained_network
    from train.reporting.explanations import explain, prepare

    if (options.data is None) == (options.image is None):
        raise ConfigError("give either --data DIR or --image FILE...")
    if options.detect and options.image is None:
        raise ConfigError("--detect needs --image FILE...: the faces of a data set are crops already")
    if options.detector is not None and not options.detect:
        raise ConfigError("--detector is for --detect: without it no face is detected")
    network = explained_network(options.target)
    names, crops, truth = _faces(options, network)
    count = options.count
    subject = prepare(network, names[:count], crops[:count], options.emotion, truth[:count])
    pictures = list(explain(network.model, subject, options.method, options.layer or []))
    ready_folder(options.out)
    for name, picture in pictures:
        write_bytes(options.out / f"{name}.png", png(picture))
    sheets = [name for name, _ in pictures if name.startswith("sheet-")]
    together = f"; all together: {', '.join(f'{name}.png' for name in sheets)}" if sheets else ""
    print(f"{len(pictures) - len(sheets)} pictures of {len(subject.names)} faces in {options.out}{together}")


def _faces(options: argparse.Namespace, network: Network) -> tuple[list[str], list[Pixels], list[str | None]]:
    """Names, crops and true classes (None where unknown) of the faces to explain."""
    if options.image is None:
        data = read_data(options, [network.input])
        faces = data[options.split].majority()
        rows = every_class(faces)[: options.count]
        truth = [data.classes[label] for label in faces.labels[rows]]
        names = [f"{row:05d}-{true}" for row, true in zip(rows.tolist(), truth, strict=True)]
        return names, list(faces.images[rows]), list(truth)
    from edge_emotion.system.image_files import read_picture

    pictures = [read_picture(file) for file in options.image]
    names = [f"{i:02d}-{safe_name(file.stem)}" for i, file in enumerate(options.image, 1)]
    names, crops = _detected(options, network, names, pictures) if options.detect else (names, list(pictures))
    return names, crops, [None] * len(names)


def _detected(
    options: argparse.Namespace, network: Network, names: list[str], pictures: list[Image]
) -> tuple[list[str], list[Pixels]]:
    from edge_emotion.factory.models import make_detector
    from edge_emotion.models.preprocess import align

    crop = network.input.crop
    if crop is None:
        raise ConfigError(f"{network.name} defines no crop: give face crops, without --detect")
    detector = make_detector(options.detector or DETECTOR)
    found, without = [], []
    for file, name, picture in zip(options.image, names, pictures, strict=True):
        faces = detector.detect(picture)
        if not faces:
            without.append(str(file))
        found += [(f"{name}-{i}", align(picture, face, crop)) for i, face in enumerate(faces, 1)]
    missing = f"no face found in {', '.join(without)}"
    if not found:
        raise DataError(f"{missing}; without --detect the whole picture counts as a face")
    if without:
        print(f"note: {missing}", file=sys.stderr)
    return [name for name, _ in found], [face for _, face in found]
