"""Commands ``python -m train crops`` and ``pseudo-label``: face crops and outputs of teachers, cached for ``fit``."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge_emotion.cli.terminal import positive_count
from edge_emotion.errors import ConfigError
from train.choices import DETECTOR
from train.commands.data_options import add_data_options, read_data

if TYPE_CHECKING:
    from train.data.faces import Faces


def add_crops(commands: Any) -> None:
    """Add ``crops`` to the subparsers of the command line."""
    parser = commands.add_parser("crops", help="crop the faces out of unlabelled pictures, for pseudo-label")
    parser.add_argument("pictures", type=Path, metavar="FOLDER")
    parser.add_argument("--detector", default=DETECTOR, metavar="NAME", help=f"default: {DETECTOR}")
    parser.add_argument("--detail", type=positive_count, default=48, help="side in pixels (48, as in FER+)")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE.npz")
    parser.set_defaults(command=_crops, on_interrupt="stopped; nothing was written")


def add_pseudo_label(commands: Any) -> None:
    """Add ``pseudo-label`` to the subparsers of the command line."""
    parser = commands.add_parser(
        "pseudo-label", help="cache the outputs of teachers for faces, for fit --pseudo-labels"
    )
    parser.add_argument(
        "teachers", type=Path, nargs="+", metavar="TEACHER", help="run directory, model folder or shipped model"
    )
    add_data_options(parser, required=False)
    parser.add_argument("--crops", type=Path, metavar="FILE.npz", help="output of crops, instead of --data")
    parser.add_argument("--no-mirror", action="store_true", help="without mirrored pictures: half the time")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE.npz")
    parser.set_defaults(command=_pseudo_label, on_interrupt="stopped; nothing was written")


def _crops(options: argparse.Namespace) -> None:
    from edge_emotion.factory.models import make_detector
    from train.data.layouts.finder import FaceFinder
    from train.data.pictures import cut_faces
    from train.data.pseudo_labels import PseudoLabels
    from train.recipes.recipe import FER_CROP

    finder = FaceFinder(options.detector, lambda: make_detector(options.detector), FER_CROP)
    cut = cut_faces(options.pictures, finder, options.detail)
    PseudoLabels(cut.images).write(options.out)
    print(
        f"{options.out}: {len(cut.images)} faces of {cut.pictures} pictures; {options.detector} found none in "
        f"{cut.without_face}, {cut.unreadable} could not be read"
    )


def _pseudo_label(options: argparse.Namespace) -> None:
    from train.data.pseudo_labels import PseudoLabels, mean_answer, mirrored
    from train.evaluation.predict import logits_of_target

    faces = _faces(options)
    logits, classes, names = [], set(), []
    for target in options.teachers:
        for view in (faces,) if options.no_mirror else (faces, mirrored(faces)):
            prediction = logits_of_target(target, view)
            logits.append(prediction.logits)
        classes.add(prediction.classes)
        names.append(_identify(target))
        print(f"{target}: labelled {len(faces)} faces", file=sys.stderr)
    if len(classes) > 1:
        raise ConfigError("the teachers have different classes: " + "; ".join(map(", ".join, sorted(classes))))
    PseudoLabels(faces.images, mean_answer(logits), next(iter(classes)), tuple(names)).write(options.out)
    print(f"{options.out}: {len(faces)} faces labelled by {' and '.join(names)}")


def _faces(options: argparse.Namespace) -> Faces:
    """The faces to label: those of a file, or the training split of a data set."""
    import numpy as np

    from train.data.faces import Faces
    from train.data.pseudo_labels import read_pseudo_labels
    from train.evaluation.predict import input_of

    if (options.crops is None) == (options.data is None):
        raise ConfigError("give either --data or --crops")
    if options.crops is None:
        return read_data(options, [input_of(target) for target in options.teachers])["train"]
    images = read_pseudo_labels(options.crops).images
    return Faces(images, np.ones((len(images), 1), np.float32), np.ones(len(images), np.bool_))


def _identify(target: Path) -> str:
    from edge_emotion.models.folder import find_model, load_manifest
    from edge_emotion.models.manifest import ModelManifest
    from train.fitting.distillation import identify
    from train.runs.run_directory import RECORD

    if (target / RECORD).is_file():
        return identify(target)
    manifest = load_manifest(find_model(str(target)))
    assert isinstance(manifest, ModelManifest)
    return f"{manifest.name} {manifest.version} (sha256 {manifest.file().sha256[:12]})"
