"""Options of ``edge-emotion classify``."""

from __future__ import annotations

import argparse
import re
from pathlib import Path

from edge_emotion.cli.terminal import fraction, path_of_something, positive_count
from edge_emotion.errors import ConfigError


def classify_options(parser: argparse.ArgumentParser) -> None:
    """Add them."""
    parser.add_argument(
        "images",
        nargs="*",
        type=path_of_something,
        metavar="IMAGE",
        help="a picture, a recording, or a folder of pictures",
    )
    parser.add_argument(
        "--from", dest="listed", type=Path, metavar="LIST", help="a file with one path in each line; - standard input"
    )
    parser.add_argument("--shard", type=shard, metavar="I/N", help="only every Nth file, from the Ith on: 1/4 to 4/4")
    parser.add_argument("--output", type=Path, metavar="FILE", help="write JSON lines to this file, whole ones only")
    parser.add_argument("--resume", action="store_true", help="with --output: leave out what is in the file already")
    parser.add_argument("--model", default="mobilenet_v2", help="a shipped model or a model folder")
    parser.add_argument(
        "--detector", default="blazeface_back", help="blazeface_back, or blazeface_short for close faces"
    )
    parser.add_argument("--classes", help="only these emotions, comma-separated: happiness,sadness,anger")
    parser.add_argument("--operating-point", help="an operating point of the model (see its manifest)")
    parser.add_argument(
        "--threshold",
        type=fraction,
        help="less confidence than this is 'unknown' (0..1); default: 0, of recordings that of run",
    )
    parser.add_argument(
        "--range",
        choices=("near", "room", "hall"),
        help="room, hall: parts of large pictures are searched, too, for small faces (default: room; near: recordings)",
    )
    parser.add_argument("--cropped", action="store_true", help="the pictures are face crops: no face detection")
    parser.add_argument("--json", action="store_true", help="one JSON object per file and line")
    parser.add_argument("--annotate", type=Path, metavar="DIR", help="write the pictures with boxes and labels there")
    parser.add_argument("--force", action="store_true", help="with --annotate: write over files that are there")
    parser.add_argument(
        "--max-megapixels", type=positive_count, default=25, help="larger pictures are refused unread (default: 25)"
    )


def shard(text: str) -> tuple[int, int]:
    """``2/4`` as (2, 4), for argparse."""
    found = re.fullmatch(r"([0-9]{1,9})/([0-9]{1,9})", text)
    if found is None or not 1 <= int(found[1]) <= int(found[2]):
        raise argparse.ArgumentTypeError(f"{text!r} is no share: expected I/N, from 1/N to N/N")
    return int(found[1]), int(found[2])


def run_classify(options: argparse.Namespace) -> int:
    """Classify what the options name. Raises like ``classify``."""
    from edge_emotion.cli.classify import ClassifyOptions, classify
    from edge_emotion.cli.picture_list import pictures_of

    chosen = ClassifyOptions(
        model=options.model,
        detector=options.detector,
        range=options.range,
        classes=options.classes.split(",") if options.classes else None,
        operating_point=options.operating_point,
        threshold=options.threshold,
        cropped=options.cropped,
        as_json=options.json or options.output is not None,
        output=options.output,
        resume=options.resume,
        annotate_into=options.annotate,
        force=options.force,
        max_pixels=round(1e6 * options.max_megapixels),
    )
    if options.resume and options.output is None:
        raise ConfigError("--resume goes on with a file: give --output FILE")
    if options.annotate is not None and (options.resume or options.shard is not None):
        raise ConfigError("--annotate draws all pictures in one run: leave out --resume and --shard")
    return classify(pictures_of(options.images, options.listed, options.shard), chosen)
