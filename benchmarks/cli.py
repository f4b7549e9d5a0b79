"""The command line of the benchmarks."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.machine import machine_line
from benchmarks.quality_commands import add_accuracy, add_peers, add_robustness
from edge_emotion.demo import CLIP
from edge_emotion.errors import ConfigError
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
    soak = commands.add_parser("soak", help="three cameras at full speed for minutes: memory, CPU, threads, files")
    soak.add_argument("--minutes", type=positive_minutes, default=30.0)
    soak.add_argument("--settle", type=positive_minutes, default=3.0, help="first minutes, which do not count (3)")
    soak.add_argument("--every", type=positive_seconds, default=15.0, help="seconds between two samples (15)")
    soak.add_argument("--source", default=str(CLIP), help="a video for all three (default: the demo's)")
    soak.add_argument("--json", type=Path, metavar="FILE", help="write the result there, too")
    soak.set_defaults(command=_soak)
    marks = commands.add_parser("marks", help="start, publishing, outbox, an idle scene, the daemon's own work")
    marks.add_argument("--seconds", type=positive_seconds, default=15.0, help="of each measurement that goes on (15)")
    marks.add_argument("--json", type=Path, metavar="FILE", help="write the result there, too")
    marks.set_defaults(command=_marks)
    for add in (add_accuracy, add_robustness, add_peers):
        add(commands)
    return parser


def positive_minutes(text: str) -> float:
    """A number of minutes, for argparse."""
    return positive_seconds(str(float(text) * 60)) / 60


def _soak(options: argparse.Namespace) -> None:
    from benchmarks.soak import soak

    if options.settle >= options.minutes:
        raise ConfigError(f"--settle {options.settle:g} is not less than --minutes {options.minutes:g}")
    result = soak(
        options.source,
        minutes=options.minutes,
        settle=options.settle,
        every=options.every,
        show=lambda line: print(line, flush=True),
    )
    print(
        f"RSS {result['rss_settled_mib']} MiB after {options.settle:g} minutes, {result['rss_end_mib']} MiB at the "
        f"end, {result['growth_percent']:+.2f} %, peak {result['rss_peak_mib']} MiB"
    )
    print(result["summary"], machine_line(result["machine"]), sep="\n")
    _write(options.json, result)


def _marks(options: argparse.Namespace) -> None:
    from benchmarks.marks import measure_marks

    result = measure_marks(seconds=options.seconds, show=lambda line: print(line, flush=True))
    print(machine_line(result["machine"]))
    _write(options.json, result)


def _pipeline(options: argparse.Namespace) -> None:
    from benchmarks.pipeline import measure_pipeline

    result = measure_pipeline(options.clip, seconds=options.seconds, detector=options.detector, model=options.model)
    print(as_table(result))
    _write(options.json, result)


def _write(path: Path | None, result: dict[str, Any]) -> None:
    if path is not None:
        write_text(path, json.dumps(result, indent=2) + "\n")


def as_table(result: dict[str, Any]) -> str:
    """The result of ``pipeline`` as text."""
    lines = [
        machine_line(result["machine"]),
        f"{result['detector']} + {result['model']}, {result['faces']} face at "
        f"{result['size'][0]}x{result['size'][1]}, {result['threads']} thread, n = {result['frames']} frames",
        f"{'stage':10}{'p50 ms':>9}{'p90 ms':>9}{'p99 ms':>9}",
    ]
    lines += [f"{name:10}{q['p50']:9.2f}{q['p90']:9.2f}{q['p99']:9.2f}" for name, q in result["ms"].items()]
    return "\n".join([*lines, f"{result['fps']} frames per second without decoding"])
