"""``python -m train detector``: YuNet trained further on pasted faces."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from edge_emotion.cli.terminal import positive_count
from train.commands.data_options import add_data_options, read_data

TEACHERS = ("yunet_640", "blazeface_back")
"""Detectors that say where the face lies in a crop, in the order in which they are asked."""


def add_detector(commands: Any) -> None:
    """``detector --data DATA --start FILE --run DIR``."""
    parser = commands.add_parser("detector", help="train the face detector YuNet further (resumes)")
    add_data_options(parser)
    parser.add_argument(
        "--start", type=Path, required=True, metavar="FILE", help="weights: python -m convert detector yunet --start"
    )
    parser.add_argument(
        "--run", type=Path, required=True, metavar="DIR", help="folder of the run; one that is there goes on"
    )
    parser.add_argument("--faces", type=positive_count, default=8000, help="training faces that are pasted (8000)")
    for name, default, what in (
        ("epochs", 20, "of training"),
        ("pictures", 20_000, "made for each epoch"),
        ("batch", 16, "pictures of a step"),
        ("validation", 512, "pictures that training does not see"),
        ("seed", 1, "of every draw"),
    ):
        parser.add_argument(f"--{name}", type=positive_count, default=default, help=f"{what} ({default})")
    parser.add_argument("--learning-rate", type=float, default=5e-4, help="at the start (0.0005)")
    parser.set_defaults(
        command=_detector, on_interrupt="stopped; the same command goes on after the last finished epoch"
    )


def _detector(options: argparse.Namespace) -> None:
    import numpy as np

    from edge_emotion.factory.models import make_detector
    from edge_emotion.models.folder import find_model, load_manifest
    from edge_emotion.models.manifest import DetectorManifest
    from train.detector.fit import DetectorRecipe, DetectorTraining
    from train.detector.scenes import label_faces
    from train.recipes.recipe import gray_input

    data = read_data(options, [gray_input(48)])["train"]
    rows = np.random.default_rng(options.seed).permutation(len(data))[: options.faces]
    manifest = load_manifest(find_model(TEACHERS[0]))
    assert isinstance(manifest, DetectorManifest) and manifest.square is not None
    labelled = label_faces(data.take(np.sort(rows)), [make_detector(name) for name in TEACHERS], manifest.square)
    print(f"{len(labelled.images):,} of {len(rows):,} faces have a box")
    names = ("epochs", "pictures", "batch", "validation", "seed", "learning_rate")
    recipe = DetectorRecipe(**{name: getattr(options, name) for name in names})
    print(DetectorTraining(options.run, labelled, recipe, options.start).run())
