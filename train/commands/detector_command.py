"""``python -m train detector``: YuNet trained further on pictures of faces that nobody has labelled."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from edge_emotion.cli.terminal import positive_count

TEACHERS = ("yunet_640", "blazeface_back")
"""Detectors that say where the face lies in a picture, in the order in which they are asked."""

LONGEST = 960
"""Pixels of the longer side of a background; more would only take memory."""


def add_detector(commands: Any) -> None:
    """``detector PICTURES --start FILE --run DIR``."""
    parser = commands.add_parser("detector", help="train the face detector YuNet further (resumes)")
    parser.add_argument("pictures", type=Path, metavar="FOLDER", help="pictures of one face each, at any depth")
    parser.add_argument(
        "--backgrounds", type=Path, metavar="FOLDER", help="photographs without faces; default: patches of the pictures"
    )
    parser.add_argument(
        "--start", type=Path, required=True, metavar="FILE", help="weights: python -m convert detector yunet --start"
    )
    parser.add_argument(
        "--run", type=Path, required=True, metavar="DIR", help="folder of the run; one that is there goes on"
    )
    for name, default, what in (
        ("faces", 8000, "of the pictures, chosen by the seed"),
        ("epochs", 20, "of training"),
        ("scenes", 16_000, "made for each epoch"),
        ("batch", 16, "scenes of a step, an even number"),
        ("validation", 512, "scenes that training does not see"),
        ("seed", 1, "of every draw"),
    ):
        parser.add_argument(f"--{name}", type=positive_count, default=default, help=f"{what} ({default})")
    parser.add_argument("--learning-rate", type=float, default=3e-4, help="at the start (0.0003)")
    parser.set_defaults(
        command=_detector, on_interrupt="stopped; the same command goes on after the last finished epoch"
    )


def _detector(options: argparse.Namespace) -> None:
    from edge_emotion.factory.models import make_detector
    from edge_emotion.models.folder import find_model, load_manifest
    from edge_emotion.models.manifest import DetectorManifest
    from train.data.pictures import read_reduced, read_squares
    from train.detector.fit import DetectorRecipe, DetectorTraining
    from train.detector.scenes import label_faces

    names = ("epochs", "scenes", "batch", "validation", "seed", "learning_rate")
    recipe = DetectorRecipe(**{name: getattr(options, name) for name in names})
    pictures = read_squares(options.pictures, options.faces, options.seed)
    manifest = load_manifest(find_model(TEACHERS[0]))
    assert isinstance(manifest, DetectorManifest) and manifest.square is not None
    labelled = label_faces(pictures, [make_detector(name) for name in TEACHERS], manifest.square)
    print(f"{len(labelled.images):,} of {len(pictures):,} faces have a box")
    if options.backgrounds is not None:
        labelled = labelled._replace(backgrounds=read_reduced(options.backgrounds, LONGEST))
    print(DetectorTraining(options.run, labelled, recipe, options.start).run())
