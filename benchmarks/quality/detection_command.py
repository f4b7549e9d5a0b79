"""``python -m benchmarks detection``."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from benchmarks.results.outputs import add_outputs, check_outputs, put_out
from edge_emotion.cli.terminal import positive_count
from edge_emotion.config.settings import DetectorSettings
from train.choices import DETECTOR


def add_detection(commands: Any) -> None:
    """``detection --data DATA``."""
    parser = commands.add_parser("detection", help="which faces a detector finds in photographs, by size, roll, light")
    parser.add_argument(
        "--data", type=Path, required=True, metavar="DIR",
        help="folder with boxes.csv (picture,x,y,width,height in pixels) and the pictures, or pictures.zip",
    )  # fmt: skip
    parser.add_argument(
        "--detector", action="append", default=[], metavar="MODEL",
        help=f"name, folder, haar (OpenCV's), PROPOSER+blazeface_short, some with commas; may be repeated ({DETECTOR})",
    )  # fmt: skip
    parser.add_argument("--precision", choices=("int8", "float32"), help="of their files (the first that each has)")
    threshold = DetectorSettings().threshold
    parser.add_argument("--threshold", type=_share, default=threshold, help=f"least score of a face ({threshold:g})")
    parser.add_argument(
        "--min-size", type=positive_count, default=1, help="smaller faces are not reported, in pixels (1: none is)"
    )
    parser.add_argument("--seed", type=_whole, default=0, help="of turns, noise and windows (0)")
    add_outputs(parser)
    parser.set_defaults(command=_detection)


def _share(text: str) -> float:
    if not 0 < float(text) < 1:
        raise argparse.ArgumentTypeError(f"{text} is not between 0 and 1")
    return float(text)


def _whole(text: str) -> int:
    if int(text) < 0:
        raise argparse.ArgumentTypeError(f"{text} is below 0")
    return int(text)


def _detection(options: argparse.Namespace) -> None:
    from benchmarks.quality.boxed_pictures import BoxedPictures
    from benchmarks.quality.detection import detection_measurements, detection_notes, measure_detection
    from benchmarks.quality.named_detectors import files_of, named_detector
    from benchmarks.results.results import measured, this_machine

    check_outputs(options)
    names = list(dict.fromkeys(options.detector or [DETECTOR]))
    detectors = {
        name: named_detector(name, precision=options.precision, threshold=options.threshold, min_size=options.min_size)
        for name in names
    }
    pictures, machine = BoxedPictures(options.data), this_machine()
    done = measure_detection(detectors, pictures, seed=options.seed)
    result = measured(
        "detection",
        tuple(detection_measurements(done)),
        machine=machine,
        settings={
            "dataset": pictures.name,
            "pictures": len(pictures),
            "threshold": options.threshold,
            "min_size": options.min_size,
            **({} if options.precision is None else {"precision": options.precision}),
            "seed": options.seed,
            "threads": 1,
        },
        artefacts={file: sha for name in names for file, sha in files_of(name, options.precision).items()},
        notes=tuple(detection_notes(done)),
        details=done,
    )
    put_out(options, result)
