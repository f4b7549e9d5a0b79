"""Command ``python -m convert import``."""

from __future__ import annotations

import argparse
import re
from pathlib import Path
from typing import Any

from edge_emotion.errors import ConfigError
from edge_emotion.models.manifest import VERSION
from train.commands.data_options import add_data_options, read_data


def add_import(commands: Any) -> None:
    """Add ``import FILE --labels LABELS --input WORDS --out DIR``."""
    parser = commands.add_parser(
        "import",
        help="make a model folder of your own network: .h5, .keras, SavedModel, .tflite or .onnx",
    )
    parser.add_argument("file", type=Path, help="the network; load Keras files only from people whom you trust")
    parser.add_argument(
        "--labels", required=True, help="names in the order of the outputs: a,b,c; a file with a name a line; fer2013"
    )
    from convert.own.description import HELP

    parser.add_argument(
        "--input", nargs="+", default=[], metavar="WORD", help=f"what it takes; {HELP}".replace("%", "%%")
    )
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="the model folder to write")
    add_data_options(parser, required=False, detect=True)
    parser.add_argument("--name", help="of the model; default: that of the folder")
    parser.add_argument("--version", default="1.0.0", help="three numbers; default: %(default)s")
    parser.add_argument("--licence", default="not stated", help="of the weights, for the manifest")
    parser.add_argument(
        "--framing", default="0.12,-0.10", metavar="MARGIN,SHIFT",
        help="square around the face, measured by python -m train crop; default: FER2013's, %(default)s",
    )  # fmt: skip
    parser.add_argument(
        "--detail",
        type=int,
        metavar="PIXELS",
        help="size of the training faces before they were enlarged (48: FER2013)",
    )
    parser.set_defaults(command=_import)


def _import(options: argparse.Namespace) -> None:
    from convert.own.description import parse_input, parse_labels
    from convert.own.import_model import Facts, import_model

    labels, own = parse_labels(options.labels)
    margin, shift = _framing(options.framing)
    if not re.fullmatch(VERSION, options.version):
        raise ConfigError(f"--version {options.version} is not three numbers such as 2.0.0")
    facts = Facts(
        name=_name(options.name or options.out.resolve().name),
        version=options.version,
        labels=labels,
        own_labels=own,
        input=parse_input(options.input),
        margin=margin,
        shift=shift,
        detail=options.detail,
        licence=options.licence,
    )
    load = None if options.data is None else lambda spec: read_data(options, [spec])
    manifest, notes = import_model(options.file, facts, options.out, load)
    print("\n".join(notes))
    if own:
        print(f"labels beyond the eight emotions, declared as own_labels: {', '.join(own)}")
    if load is None:
        print("not measured: give labelled faces as --data, which also shows whether --input and --labels are right")
    print(f"{options.out}: model {manifest.name} {manifest.version}; run it with classifier.model: {options.out}")


def _name(text: str) -> str:
    name = re.sub(r"[^a-z0-9]+", "_", text.lower()).strip("_")
    if not name:
        raise ConfigError(f"{text!r} gives no name of a model: give one as --name, of a-z, 0-9 and _")
    return name


def _framing(text: str) -> tuple[float, float]:
    try:
        margin, shift = map(float, text.split(","))
    except ValueError as error:
        raise ConfigError(f"--framing {text}: two numbers with a comma between them") from error
    if not (-0.4 <= margin <= 1 and -0.5 <= shift <= 0.5):
        raise ConfigError(f"--framing {text}: the margin is from -0.4 to 1, the shift from -0.5 to 0.5")
    return margin, shift
