"""The command line of the benchmarks."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from edge_emotion.demo import CLIP
from edge_emotion.manifest import write_text
from edge_emotion.terminal import add_debug, positive_seconds, run_command


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; 0 if it went well, else the exit code of the error."""
    return run_command(_parser().parse_args(argv))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Measure on this machine.")
    add_debug(parser)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    pipeline = commands.add_parser("pipeline", help="from frame to event, stage by stage, one face, one core")
    pipeline.add_argument("--clip", type=Path, default=CLIP, help="a video with a face (default: the demo's)")
    pipeline.add_argument("--seconds", type=positive_seconds, default=10.0, help="how long to measure")
    pipeline.add_argument("--detector", default="blazeface_back")
    pipeline.add_argument("--model", default="mobilenet_v2")
    pipeline.add_argument("--json", type=Path, metavar="FILE", help="write the result there, too")
    pipeline.set_defaults(command=_pipeline)
    return parser


def _pipeline(options: argparse.Namespace) -> None:
    from benchmarks.pipeline import measure_pipeline

    result = measure_pipeline(options.clip, seconds=options.seconds, detector=options.detector, model=options.model)
    print(as_table(result))
    if options.json is not None:
        write_text(options.json, json.dumps(result, indent=2) + "\n")


def as_table(result: dict[str, Any]) -> str:
    """The result as text."""
    machine = result["machine"]
    lines = [
        f"{machine['machine']}, {machine['processor']}, {machine['cores']} cores, load {machine['load']}, "
        f"governor {machine['governor']}, " + ", ".join(f"{k} {v}" for k, v in machine["packages"].items()),
        f"{result['detector']} + {result['model']}, {result['faces']} face at "
        f"{result['size'][0]}x{result['size'][1]}, {result['threads']} thread, n = {result['frames']} frames",
        f"{'stage':10}{'p50 ms':>9}{'p90 ms':>9}{'p99 ms':>9}",
    ]
    lines += [f"{name:10}{q['p50']:9.2f}{q['p90']:9.2f}{q['p99']:9.2f}" for name, q in result["ms"].items()]
    return "\n".join([*lines, f"{result['fps']} frames per second without decoding"])
