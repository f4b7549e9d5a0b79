"""``python -m convert onnx``, ``cross-check`` and ``check-onnx``."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from train.data_options import add_data_options, read_data

if TYPE_CHECKING:
    from edge_emotion.protocols import FloatArray, InferenceBackend

FACES = 1000
"""Validation faces on which artefacts are compared, at most."""


def add_onnx(commands: Any) -> None:
    """``onnx RUN --data DATA --out DIR``."""
    parser = commands.add_parser("onnx", help="write a training run as ONNX: float, and int8 with explicit Q/DQ")
    _add_run(parser)
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder for the two files")
    parser.add_argument("--opset", type=int, default=13, help="13 to 17; default: %(default)s")
    parser.set_defaults(command=_onnx)


def add_cross_check(commands: Any) -> None:
    """``cross-check RUN --data DATA``."""
    parser = commands.add_parser("cross-check", help="compare int8 ONNX, TFLite and tf2onnx with the same scales")
    _add_run(parser)
    parser.add_argument("--json", action="store_true", help="for scripts")
    parser.set_defaults(command=_cross_check)


def add_check_onnx(commands: Any) -> None:
    """``check-onnx FILE``."""
    parser = commands.add_parser("check-onnx", help="look for what TensorRT would refuse or run slowly; 1 if there is")
    parser.add_argument("file", type=Path, help="any ONNX file")
    parser.add_argument("--json", action="store_true", help="for scripts")
    parser.set_defaults(command=_check_onnx)


def _add_run(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", type=Path, help="run directory of python -m train fit")
    add_data_options(parser, detect=True)


def _onnx(options: argparse.Namespace) -> None:
    from convert.cross_check import agreement
    from convert.from_keras import export_graph
    from convert.onnx import require_opset, write_onnx
    from convert.quantise_aware import scales_of, unwrap
    from edge_emotion.backends.onnx import OnnxBackend
    from train.predict import KerasBackend

    require_opset(options.opset)
    model, simulated, logits = _quantised(options)
    expected = logits(KerasBackend(model))
    for precision, network, scales in (
        ("float32", model, None),
        ("int8", unwrap(simulated), scales_of(simulated)),
    ):
        graph, file = export_graph(network), options.out / f"{model.name}_{precision}.onnx"
        path = write_onnx(graph, file, scales=scales, opset=options.opset)
        print(f"{path}: against the float model: {agreement(logits(OnnxBackend(path)), expected)}")


def _cross_check(options: argparse.Namespace) -> int:
    from convert.cross_check import MIN_AGREEMENT, cross_check

    _, simulated, logits = _quantised(options)
    found = cross_check(simulated, logits)
    if options.json:
        print(json.dumps({name: one._asdict() for name, one in found.items()}, indent=2))
    else:
        for name, one in found.items():
            print(f"{name:22} {one}")
    return int(any(one.top1 < MIN_AGREEMENT for one in found.values()))


def _quantised(options: argparse.Namespace) -> tuple[Any, Any, Callable[[InferenceBackend], FloatArray]]:
    """A run's float model, its symmetric form, and what runs a backend over validation faces."""
    import numpy as np

    from convert.qat import symmetric
    from train.logits import logits_of
    from train.run_directory import load_run

    run = load_run(options.run)
    spec = run.recipe.input
    data = read_data(options, [spec])
    validation = data["validation"]
    faces = validation.take(np.arange(min(FACES, len(validation))))
    return run.build(), symmetric(run, data), partial(logits_of, faces=faces, spec=spec)


def _check_onnx(options: argparse.Namespace) -> int:
    from convert.onnx_rules import findings
    from convert.onnx_view import load_onnx

    view = load_onnx(options.file)
    found = findings(view)
    if options.json:
        print(json.dumps([one._asdict() for one in found], indent=2))
        return int(bool(found))
    for one in found:
        print(f"{one.node}: [{one.rule}] {one.fault}; {one.fix}")
    kind = "explicit Q/DQ" if view.rounds else "float, no Q/DQ"
    print(f"{options.file}: {kind}, opset {view.opset}, {len(found) or 'no'} finding{'s' * (len(found) != 1)}")
    return int(bool(found))
