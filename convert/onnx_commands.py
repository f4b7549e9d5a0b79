"""``python -m convert onnx``, ``cross-check`` and ``check-onnx``."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from train.commands.data_options import add_data_options, read_data

if TYPE_CHECKING:
    from edge_emotion.protocols import FloatArray, InferenceBackend
    from train.runs.run_directory import Run

FACES = 1000
"""Validation faces on which artefacts are compared, at most."""


def add_onnx(commands: Any) -> None:
    """``onnx RUN --data DATA --out DIR``."""
    parser = commands.add_parser("onnx", help="write a training run as ONNX: float32, float16, int8 with Q/DQ")
    _add_run(parser)
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder for the three files")
    parser.add_argument("--opset", type=int, default=13, help="13 to 17; default: %(default)s")
    parser.add_argument(
        "--calibration-cache", type=Path, metavar="FILE", help="also the float32 file's scales, for trtexec --calib"
    )
    parser.add_argument(
        "--tensorrt", type=_version, default="8.6.2", metavar="VERSION", help="that reads them; default: %(default)s"
    )
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


def _version(text: str) -> tuple[int, ...]:
    """Major, minor and patch of a TensorRT that reads calibration caches."""
    parts = text.split(".")[:3]
    if len(parts) < 3 or not all(part.isdecimal() for part in parts) or not 8 <= int(parts[0]) <= 10:
        raise argparse.ArgumentTypeError(f"{text} is no TensorRT with calibrators, such as 8.6.2 or 10.3.0")
    return tuple(map(int, parts))


def _onnx(options: argparse.Namespace) -> None:
    from convert.artefacts.cross_check import agreement
    from convert.int8.quantise_aware import scales_of, unwrap
    from convert.onnx.calibration_cache import tensor_scales
    from convert.onnx.from_keras import export_graph
    from convert.onnx.write import require_opset, write_onnx
    from edge_emotion.backends.onnx import OnnxBackend
    from edge_emotion.backends.tensorrt.calibration import cache_of_scales
    from edge_emotion.system.atomic_file import write_bytes
    from train.evaluation.predict import KerasBackend
    from train.runs.run_directory import load_run

    require_opset(options.opset)
    run = load_run(options.run)
    simulated, logits = _quantised(run, options)
    model = run.build()
    graph, rounded = export_graph(model), export_graph(unwrap(simulated))
    expected = logits(KerasBackend(model))
    for precision, build in (
        ("float32", partial(write_onnx, graph)),
        ("float16", partial(write_onnx, graph, half=True)),
        ("int8", partial(write_onnx, rounded, scales=scales_of(simulated))),
    ):
        path = build(options.out / f"{run.recipe.name}_{precision}.onnx", opset=options.opset)
        print(f"{path}: against the float model: {agreement(logits(OnnxBackend(path)), expected)}")
    if options.calibration_cache is not None:
        scales = tensor_scales(graph, scales_of(simulated).activations)
        options.calibration_cache.parent.mkdir(parents=True, exist_ok=True)
        write_bytes(options.calibration_cache, cache_of_scales(options.tensorrt, scales))
        print(f"{options.calibration_cache}: {len(scales)} scales")


def _cross_check(options: argparse.Namespace) -> int:
    from convert.artefacts.cross_check import MIN_AGREEMENT, cross_check
    from train.runs.run_directory import load_run

    found = cross_check(*_quantised(load_run(options.run), options))
    if options.json:
        print(json.dumps({name: one._asdict() for name, one in found.items()}, indent=2))
    else:
        for name, one in found.items():
            print(f"{name:22} {one}")
    return int(any(one.top1 < MIN_AGREEMENT for one in found.values()))


def _quantised(run: Run, options: argparse.Namespace) -> tuple[Any, Callable[[InferenceBackend], FloatArray]]:
    """A run's symmetric form, and what runs a backend over validation faces.

    Raises ConfigError for a run that is not finished, or was trained on other data.
    """
    import numpy as np

    from convert.int8.qat import symmetric
    from train.evaluation.logits import logits_of

    spec = run.recipe.input
    data = read_data(options, [spec])
    run.require_trained_on(data)
    validation = data["validation"]
    faces = validation.take(np.arange(min(FACES, len(validation))))
    return symmetric(run, data), partial(logits_of, faces=faces, spec=spec)


def _check_onnx(options: argparse.Namespace) -> int:
    from convert.onnx.rules import findings
    from convert.onnx.view import load_onnx

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
