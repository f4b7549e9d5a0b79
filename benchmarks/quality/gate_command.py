"""``python -m benchmarks gate``."""

from __future__ import annotations

import argparse
from typing import Any

from benchmarks.harness.defaults import default_detector
from benchmarks.results.outputs import add_outputs, check_outputs, put_out
from edge_emotion.cli.terminal import positive_count
from train.choices import DETECTOR
from train.commands.data_options import add_data_options, read_data

CORRUPTIONS = "low light", "blur", "eyes hidden", "mouth hidden"


def add_gate(commands: Any) -> None:
    """``gate --data DATA``."""
    parser = commands.add_parser(
        "gate", help="faces that are named, and named wrongly, with the quality gate and without"
    )
    add_data_options(parser, split="test")
    parser.add_argument("--faces", type=positive_count, default=300, help="number, drawn by --seed (300)")
    parser.add_argument("--model", action="append", default=[], metavar="MODEL", help="may be repeated (all shipped)")
    parser.add_argument("--detector", default=DETECTOR, help="%(default)s")
    usual = ", ".join(CORRUPTIONS)
    parser.add_argument("--corruption", action="append", default=[], metavar="NAME", help=f"may be repeated ({usual})")
    parser.add_argument("--severity", type=int, choices=range(1, 6), default=3, help="of the corruptions (3)")
    parser.add_argument("--seed", type=int, default=0, help="of faces and corruptions (0)")
    add_outputs(parser)
    parser.set_defaults(command=_gate)


def _gate(options: argparse.Namespace) -> None:
    from benchmarks.quality.faces import drawn_faces, find_classifiers
    from benchmarks.quality.gate import gate_measurements, measure_gate
    from benchmarks.quality.robustness import check_corruptions
    from benchmarks.results.results import measured, this_machine
    from edge_emotion.factory.models import make_classifier

    names = check_corruptions(options.corruption or CORRUPTIONS)
    check_outputs(options)
    models = find_classifiers(options.model)
    classifiers = {name: make_classifier(str(folder)) for name, folder, _ in models}
    data = read_data(options, [one.manifest.input for one in models])
    faces = drawn_faces(data, options.split, protocol="majority", count=options.faces, seed=options.seed)
    machine = this_machine()
    done = measure_gate(
        classifiers,
        default_detector(options.detector),
        faces,
        data.classes,
        corruptions=names,
        severity=options.severity,
        seed=options.seed,
    )
    result = measured(
        "gate",
        tuple(gate_measurements(done)),
        machine=machine,
        settings={
            "dataset": data.name,
            "split": options.split,
            "protocol": "majority",
            "faces": len(faces),
            "severity": options.severity,
            "detector": options.detector,
            "seed": options.seed,
            "threads": 1,
        },
        artefacts={f"{name}: {one.entry.file}": one.entry.sha256 for name, one in classifiers.items()},
        details=done,
    )
    put_out(options, result)
