"""The command line of the benchmarks."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.fleet.command import add_fleet
from benchmarks.harness.progress import erased_at_error, show_line
from benchmarks.quality.detection_command import add_detection
from benchmarks.quality.gate_command import add_gate
from benchmarks.quality.tracking_command import add_tracking
from benchmarks.quality_commands import add_accuracy, add_peers, add_robustness
from benchmarks.results.outputs import add_outputs, check_outputs, put_out
from edge_emotion.cli.demo import CLIP
from edge_emotion.cli.terminal import (
    CommandParser,
    add_debug,
    add_examples,
    complete_words,
    positive_count,
    positive_seconds,
    run_command,
)
from edge_emotion.errors import ConfigError
from train.choices import INSTALL

WORSE = 10
"""Exit code of ``compare --fail-on`` when something became worse."""

EXAMPLES: dict[str, tuple[str, ...]] = {
    "latency": ("python -m benchmarks latency mobilenet_v2 tiny --json before.json",),
    "pipeline": ("python -m benchmarks pipeline --source /dev/video0 --plot pipeline.png",),
    "accuracy": ("python -m benchmarks accuracy --data my-faces --model tiny --markdown accuracy.md",),
    "compare": ("python -m benchmarks compare before.json after.json --fail-on p90=1.1",),
}
"""Command -> calls of it, for ``--help``."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; 0 if it went well, else the exit code of the error."""
    parser = _parser()
    complete_words(parser)
    options = parser.parse_args(argv)
    options.command = erased_at_error()(options.command)
    return run_command(options)


def _parser() -> argparse.ArgumentParser:
    parser = CommandParser(prog="python -m benchmarks", description="Measure on this machine.")
    add_debug(parser)
    parser.set_defaults(install=INSTALL)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_latency(commands.add_parser("latency", help="model files by themselves: time, memory, distance to the peak"))
    _add_pipeline(commands.add_parser("pipeline", help="from frame to broker: every stage, and the daemon on cameras"))
    soak = commands.add_parser("soak", help="three cameras at full speed for minutes: memory, CPU, threads, files")
    soak.add_argument("--minutes", type=positive_minutes, default=30.0)
    soak.add_argument("--settle", type=positive_minutes, default=3.0, help="first minutes, which do not count (3)")
    soak.add_argument("--every", type=positive_seconds, default=15.0, help="seconds between two samples (15)")
    soak.add_argument("--source", default=str(CLIP), help="a video for all three (default: the demo's)")
    add_outputs(soak)
    soak.set_defaults(command=_soak)
    marks = commands.add_parser("marks", help="start, publishing, outbox, an idle scene, the daemon's own work")
    marks.add_argument("--seconds", type=positive_seconds, default=15.0, help="of each measurement that goes on (15)")
    add_outputs(marks)
    marks.set_defaults(command=_marks)
    for add in (add_accuracy, add_robustness, add_gate, add_detection, add_tracking, add_peers, add_fleet):
        add(commands)
    show = commands.add_parser("show", help="an earlier result, as a table, Markdown or a picture")
    show.add_argument("result", type=Path)
    for name, what in (("subject", "only figures of subjects that contain this"), ("metric", "only this one")):
        show.add_argument(f"--{name}", action="append", default=[], metavar="TEXT", help=f"{what}; may be repeated")
    add_outputs(show)
    show.set_defaults(command=_show)
    _add_compare(commands.add_parser("compare", help="two results of one machine: ratios and what is only noise"))
    for name, examples in EXAMPLES.items():
        add_examples(commands.choices[name], *examples)
    return parser


def _add_latency(parser: argparse.ArgumentParser) -> None:
    from benchmarks.model_speed.worker import FORMATS, Scenario

    usual = Scenario()
    parser.add_argument("models", nargs="+", metavar="MODEL", help="a shipped model or a folder; all its files")
    parser.add_argument("--backend", action="append", choices=FORMATS, help="may be repeated (default: all)")
    parser.add_argument("--threads", type=positive_count, nargs="+", default=[1], help="one or more numbers (1)")
    parser.add_argument("--rounds", type=positive_count, default=5, help="processes for each thing, in turns (5)")
    parser.add_argument(
        "--queries", type=positive_count, default=usual.queries, help=f"of each process, at least ({usual.queries})"
    )
    parser.add_argument(
        "--seconds",
        type=positive_seconds,
        default=usual.seconds,
        help=f"of each scenario, at least ({usual.seconds:g})",
    )
    parser.add_argument(
        "--limit",
        type=positive_seconds,
        help=f"seconds, at most, else INVALID ({usual.limit:g}, or twice --seconds if that is more)",
    )
    parser.add_argument("--batch", type=positive_count, default=usual.batch, help=f"when offline ({usual.batch})")
    add_outputs(parser)
    parser.set_defaults(command=_latency)


def _add_pipeline(parser: argparse.ArgumentParser) -> None:
    from benchmarks.pipeline_speed.plan import Plan

    usual = Plan()
    parser.add_argument("--clip", type=Path, default=CLIP, help="a video with a face (default: the demo's)")
    for name, where in (("faces", "in one frame"), ("cameras", "of one daemon")):
        numbers = getattr(usual, name)
        said = f"how many {where}, one or more numbers; none: leave it out ({' '.join(map(str, numbers))})"
        parser.add_argument(f"--{name}", type=positive_count, nargs="*", default=numbers, help=said)
    parser.add_argument("--source", help="one more camera for the daemon, a real one: /dev/video0, rtsp://...")
    parser.add_argument(
        "--rounds", type=positive_count, default=usual.rounds, help=f"of all, in turns ({usual.rounds})"
    )
    for name, what in (("seconds", "of each run"), ("settle", "before them, which do not count")):
        default = getattr(usual, name)
        parser.add_argument(f"--{name}", type=positive_seconds, default=default, help=f"{what} ({default:g})")
    parser.add_argument("--detector", default=usual.detector)
    parser.add_argument("--model", default=usual.model)
    parser.add_argument("--everywhere", action="store_true", help="follow no face: look at all of every picture")
    add_outputs(parser)
    parser.set_defaults(command=_pipeline)


def _add_compare(parser: argparse.ArgumentParser) -> None:
    from benchmarks.results.comparison import limit

    parser.add_argument("before", type=Path)
    parser.add_argument("after", type=Path)
    parser.add_argument(
        "--fail-on",
        type=limit,
        action="append",
        default=[],
        metavar="METRIC=FACTOR",
        help=f"exit code {WORSE} if METRIC became worse by more than FACTOR and noise: p90=1.1; may be repeated",
    )
    parser.add_argument("--unlike-machines", action="store_true", help="compare results of different machines, too")
    parser.set_defaults(command=_compare)


def positive_minutes(text: str) -> float:
    """A number of minutes, for argparse."""
    return positive_seconds(str(float(text) * 60)) / 60


def _latency(options: argparse.Namespace) -> None:
    from benchmarks.model_speed.latency import check_threads, measure_latency
    from benchmarks.model_speed.worker import Scenario

    if options.limit is None:
        options.limit = max(Scenario().limit, 2 * options.seconds)
    if options.limit < options.seconds:
        raise ConfigError(f"--limit {options.limit:g} is less than --seconds {options.seconds:g}")
    check_outputs(options)
    put_out(
        options,
        measure_latency(
            options.models,
            backends=options.backend,
            threads=check_threads(options.threads),
            rounds=options.rounds,
            scenario=Scenario(
                queries=options.queries, seconds=options.seconds, limit=options.limit, batch=options.batch
            ),
            show=show_line,
        ),
    )


def _pipeline(options: argparse.Namespace) -> None:
    from benchmarks.pipeline_speed.pipeline import measure_pipeline
    from benchmarks.pipeline_speed.plan import Plan

    check_outputs(options)
    plan = Plan.model_validate({name: getattr(options, name) for name in Plan.model_fields})
    put_out(options, measure_pipeline(options.clip, plan, show=show_line))


def _soak(options: argparse.Namespace) -> None:
    from benchmarks.pipeline_speed.soak import soak

    if options.settle >= options.minutes:
        raise ConfigError(f"--settle {options.settle:g} is not less than --minutes {options.minutes:g}")
    check_outputs(options)
    result = soak(
        options.source,
        minutes=options.minutes,
        settle=options.settle,
        every=options.every,
        show=show_line,
    )
    put_out(options, result)
    print(result.details["summary"])


def _marks(options: argparse.Namespace) -> None:
    from benchmarks.pipeline_speed.daemon_costs import measure_daemon_costs

    check_outputs(options)
    put_out(options, measure_daemon_costs(seconds=options.seconds, show=show_line))


def _show(options: argparse.Namespace) -> None:
    from benchmarks.results.results import read_result

    check_outputs(options)
    put_out(options, read_result(options.result).only(options.subject, options.metric))


def _compare(options: argparse.Namespace) -> int:
    from benchmarks.results.comparison import compare_results, comparison_text, differences
    from benchmarks.results.results import read_result

    before, after = read_result(options.before), read_result(options.after)
    comparison = compare_results(before, after, unlike=options.unlike_machines)
    failures = comparison.failures(options.fail_on)
    for line in differences(before, after):
        print(f"not the same: {line}")
    for name, result in (("before", before), ("after", after)):
        for caution in result.machine.cautions:
            print(f"{name}: {caution}")
    print(comparison_text(comparison))
    for failure in failures:
        print(f"worse: {failure}", file=sys.stderr)
    return WORSE if failures else 0
