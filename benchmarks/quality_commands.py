"""Commands ``python -m benchmarks accuracy``, ``robustness`` and ``peers``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.harness.defaults import default_detector
from benchmarks.peers.catalogue import PEERS
from benchmarks.results.outputs import add_outputs, check_outputs, put_out
from benchmarks.results.report import check_plotting, write_plot
from edge_emotion.cli.terminal import positive_count
from edge_emotion.config.settings import DetectorSettings
from edge_emotion.errors import ConfigError
from edge_emotion.protocols import FaceDetector
from edge_emotion.system.atomic_file import write_bytes
from train.choices import DETECTOR
from train.commands.data_options import add_data_options, read_data
from train.evaluation.elsewhere_options import add_elsewhere_options, read_elsewhere

if TYPE_CHECKING:
    from benchmarks.quality.faces import Model
    from train.data.faces import DataSet, Faces
CURVES = "robustness.png"


def add_accuracy(commands: Any) -> None:
    """Add ``accuracy --data DATA``."""
    parser = commands.add_parser("accuracy", help="accuracy of every file of a model in every backend, with intervals")
    _add_faces(parser, count=None)
    _add_models(parser)
    parser.add_argument("--backend", choices=("tflite", "onnxruntime", "tensorrt"), help="only this one")
    parser.add_argument("--whole-path", action="store_true", help="also end to end: pasted, detected and aligned")
    parser.add_argument("--detector", help=f"for --whole-path ({DETECTOR})")
    add_elsewhere_options(parser, "to be measured at every operating point")
    _add_out(parser, "confusion matrices and reliability diagrams")
    parser.set_defaults(command=_accuracy)


def add_robustness(commands: Any) -> None:
    """Add ``robustness --data DATA``."""
    parser = commands.add_parser("robustness", help="accuracy on corrupted pictures, and stability over time")
    _add_faces(parser, count=300)
    _add_models(parser)
    parser.add_argument("--detector", default=DETECTOR, help="%(default)s")
    parser.add_argument(
        "--corruption", action="append", default=[], metavar="NAME", help="blur, noise, ...; may be repeated (all)"
    )
    parser.add_argument("--sequences", type=whole_number, default=20, help="sequences for stability (20); 0: none")
    _add_out(parser, "the curves")
    parser.set_defaults(command=_robustness)


def add_peers(commands: Any) -> None:
    """Add ``peers --data DATA``."""
    parser = commands.add_parser("peers", help="other programs on the same faces and frames; installs them")
    _add_faces(parser, count=None)
    parser.add_argument(
        "--model", action="append", default=[], metavar="MODEL", help="ours; may be repeated (mobilenet_v2, tiny)"
    )
    parser.add_argument("--detector", default=DETECTOR, help="%(default)s; or yunet+blazeface_short")
    parser.add_argument(
        "--peer", action="append", default=[], metavar="PEER", help=f"{', '.join(PEERS)}; may be repeated (all)"
    )
    parser.add_argument("--frames", type=positive_count, default=200, help="pictures for detection and all (200)")
    parser.add_argument("--calls", type=positive_count, default=300, help="timed calls of each process (300)")
    parser.add_argument("--rounds", type=positive_count, default=4, help="processes of each peer, in turn (4)")
    parser.add_argument("--environments", type=Path, metavar="DIR", help="folder to install them in (the cache)")
    add_outputs(parser)
    parser.set_defaults(command=_peers)


def whole_number(text: str) -> int:
    """A whole number from 0 on, for argparse."""
    if int(text) < 0:
        raise argparse.ArgumentTypeError(f"{text} is below 0")
    return int(text)


def _add_faces(parser: argparse.ArgumentParser, *, count: int | None) -> None:
    add_data_options(parser, split="test")
    parser.add_argument(
        "--protocol", choices=("majority", "winner"), default="majority",
        help="majority: faces whose winner holds more than half of the votes; winner: every face",
    )  # fmt: skip
    every = "all" if count is None else str(count)
    parser.add_argument("--faces", type=positive_count, default=count, help=f"number, drawn by --seed ({every})")
    parser.add_argument("--seed", type=whole_number, default=0, help="of all random choices (0)")


def _add_models(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--model", action="append", default=[], metavar="MODEL", help="shipped name or folder; may be repeated (all)"
    )
    parser.add_argument("--operating-point", help="of the models (their default)")


def _add_out(parser: argparse.ArgumentParser, diagrams: str) -> None:
    add_outputs(parser)
    parser.add_argument("--out", type=Path, metavar="DIR", help=f"folder for {diagrams} (PNG)")


def _read(options: argparse.Namespace, models: list[Model]) -> tuple[DataSet, Faces]:
    from benchmarks.quality.faces import drawn_faces

    data = read_data(options, [manifest.input for _, _, manifest in models])
    faces = drawn_faces(data, options.split, protocol=options.protocol, count=options.faces, seed=options.seed)
    return data, faces


def _settings(options: argparse.Namespace, data: DataSet, faces: Faces, *more: str) -> dict[str, Any]:
    """Settings that belong to every quality figure; ``more``: further options, included where they are given."""
    given = {name: getattr(options, name) for name in more}
    return {
        "dataset": data.name,
        "split": options.split,
        "protocol": options.protocol,
        "faces": len(faces),
        "seed": options.seed,
        "threads": 1,
        **{name: value for name, value in given.items() if value not in (None, [])},
    }


def _prepare(options: argparse.Namespace) -> list[Model]:
    """The chosen models; checks first what would otherwise fail at the end."""
    from benchmarks.quality.faces import find_classifiers
    from train.reporting.image_output import ready_folder

    if options.out is not None:
        check_plotting()
        ready_folder(options.out)  # first, because the other outputs may be inside it
    check_outputs(options)
    return find_classifiers(options.model)


def _accuracy(options: argparse.Namespace) -> None:
    from benchmarks.quality.accuracy import accuracy_measurements, accuracy_notes, measure_accuracy
    from benchmarks.results.results import measured, this_machine

    if options.detector and not options.whole_path:
        raise ConfigError(f"--detector {options.detector} is for --whole-path: give both")
    if options.whole_path:
        options.detector = options.detector or DETECTOR
    models = _prepare(options)
    detectors = _detectors_by_path(options.detector, seed=options.seed) if options.whole_path else {}
    machine = this_machine()
    data, faces = _read(options, models)
    done = measure_accuracy(
        models,
        faces,
        data.classes,
        backend=options.backend,
        operating_point=options.operating_point,
        detectors=detectors,
        elsewhere=read_elsewhere(options, models[0].manifest.input),
        seed=options.seed,
    )
    result = measured(
        "accuracy",
        tuple(accuracy_measurements(done)),
        machine=machine,
        settings=_settings(options, data, faces, "operating_point", "backend", "whole_path", "detector"),
        artefacts={f"{one['model']}: {one['file']}": one["sha256"] for one in done["artefacts"].values()},
        absent=done.pop("not_measured"),
        notes=tuple(accuracy_notes(done)),
        details=done,
    )
    put_out(options, result, None if options.out is None else partial(_draw_accuracy, options.out, done))


def _detectors_by_path(name: str, *, seed: int) -> dict[str, Callable[[], FaceDetector]]:
    """Name -> detector: in the whole picture, and followed from there if the daemon follows faces."""
    from benchmarks.quality.followed_detector import FollowedDetector
    from edge_emotion.factory.models import following_detector, make_follower

    detector, near = default_detector(name), following_detector(DetectorSettings(model=name))
    detectors: dict[str, Callable[[], FaceDetector]] = {"whole path": lambda: detector}
    if near is not None:
        follower = make_follower(near)
        detectors["followed"] = lambda: FollowedDetector(detector, follower, seed=seed)
    return detectors


def _draw_accuracy(out: Path, done: dict[str, Any]) -> None:
    from train.evaluation.model_figures import Figures
    from train.reporting.image_output import safe_name
    from train.reporting.plots import confusion_plot, reliability_plot

    for name, one in done["artefacts"].items():
        figures = Figures.model_validate(one["figures"])
        write_bytes(out / f"{safe_name(name)}-confusion.png", confusion_plot({name: figures}).png)
        write_bytes(out / f"{safe_name(name)}-reliability.png", reliability_plot(figures.reliability, name).png)


def _robustness(options: argparse.Namespace) -> None:
    from benchmarks.quality.robustness import check_corruptions, measure_robustness, robustness_measurements
    from benchmarks.quality.stability import measure_temporal, temporal_measurements, usable_rows
    from benchmarks.results.results import measured, this_machine
    from edge_emotion.factory.models import Models, following_detector, make_classifier

    options.corruption = list(check_corruptions(options.corruption))
    models = _prepare(options)
    detector = default_detector(options.detector)
    machine = this_machine()
    data, faces = _read(options, models)
    classifiers = {
        name: make_classifier(str(folder), operating_point=options.operating_point) for name, folder, _ in models
    }
    if options.sequences:
        for classifier in classifiers.values():
            usable_rows(faces, data.classes, classifier.labels)
    done = measure_robustness(
        classifiers, detector, faces, data.classes, corruptions=options.corruption, seed=options.seed
    )
    temporal = {}
    if options.sequences:
        near = following_detector(DetectorSettings(model=options.detector))
        whole = {name: Models(detector, classifier, near) for name, classifier in classifiers.items()}
        temporal = measure_temporal(whole, faces, data.classes, sequences=options.sequences, seed=options.seed)
    result = measured(
        "robustness",
        (*robustness_measurements(done), *temporal_measurements(temporal)),
        machine=machine,
        settings=_settings(options, data, faces, "operating_point", "detector", "corruption", "sequences"),
        artefacts={f"{name}: {one.entry.file}": one.entry.sha256 for name, one in classifiers.items()},
        details={**done, "temporal": temporal},
    )
    put_out(options, result, None if options.out is None else partial(write_plot, options.out / CURVES, result))


def _peers(options: argparse.Namespace) -> None:
    from benchmarks.peers.measure import measure_peers, peers_measurements, peers_notes
    from benchmarks.quality.faces import find_classifiers
    from benchmarks.quality.named_detectors import daemon_settings, files_of
    from benchmarks.results.results import measured, this_machine
    from edge_emotion.factory.models import NEAR, make_classifier
    from edge_emotion.system.paths import cache_dir

    for name in options.peer:
        if name not in PEERS:
            raise ConfigError(f"unknown peer {name!r}: use {', '.join(PEERS)}")
    check_outputs(options)
    names = list(dict.fromkeys(options.model)) or ["mobilenet_v2", "tiny"]
    models = find_classifiers(names)
    # Our own models must run: a typing error is reported before the peers are installed.
    files = {f"{name}: {entry.file}": entry.sha256 for name in names for entry in [make_classifier(name).entry]}
    default_detector(daemon_settings(options.detector).model)
    for name in dict.fromkeys((options.detector, NEAR)):
        files |= files_of(name, None)
    machine = this_machine()
    for line in machine.cautions:
        print(line, file=sys.stderr)
    data, faces = _read(options, models)
    options.frames = min(options.frames, len(faces))
    done = measure_peers(
        list(dict.fromkeys(options.peer)) or list(PEERS),
        names,
        options.detector,
        faces,
        data.classes,
        frames=options.frames,
        calls=options.calls,
        rounds=options.rounds,
        seed=options.seed,
        cache=options.environments or cache_dir() / "peers",
    )
    result = measured(
        "peers",
        tuple(peers_measurements(done)),
        machine=machine,
        settings=_settings(options, data, faces, "detector", "frames", "calls", "rounds"),
        artefacts=files,
        absent=done.pop("not_measured"),
        notes=tuple(peers_notes(done)),
        details=done,
    )
    put_out(options, result)
