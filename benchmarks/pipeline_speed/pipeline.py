"""The path from frame to broker: its stages on one core, and the whole daemon on one or more cameras."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.harness.conditions import Conditions, Watch
from benchmarks.harness.energy import ROOT
from benchmarks.harness.interleave import ask, in_turns
from benchmarks.pipeline_speed.pipeline_worker import Job, Kind
from benchmarks.pipeline_speed.plan import Plan
from benchmarks.pipeline_speed.runs import Run, as_measurements
from benchmarks.pipeline_speed.scenes import FPS, HEIGHT, MOST, WIDTH, Scene, make_scenes, name_faces
from benchmarks.pipeline_speed.whole_daemon import measure_cameras
from benchmarks.results.results import Result, measured, this_machine
from edge_emotion.config.source_spec import classify_source
from edge_emotion.errors import ConfigError, EdgeEmotionError, SourceError
from edge_emotion.factory.models import make_classifier
from edge_emotion.mqtt.local_broker import find_mosquitto, free_port, mosquitto

PATIENCE = 600.0
"""Seconds that a process may need beside its measurements, on a slow board."""
OWN_CAMERA = "own camera"
NO_BROKER = "it needs a broker: apt install mosquitto"


def measure_pipeline(clip: Path, plan: Plan, *, show: Callable[[str], None], root: Path = ROOT) -> Result:
    """Measure ``plan`` on a ``clip`` with a face, each thing in processes of its own, in turns; a line for each run.

    ``root`` is where the machine's sensors are looked for. What cannot be measured is said in the result. Raises
    SourceError if the clip has no frame with exactly one face, ConfigError for a plan that cannot be, ModelError for a
    model that is not there, EdgeEmotionError if nothing could be measured.
    """
    _check(plan)
    make_classifier(plan.model)  # what is wrong with it would else be said after every round
    machine, absent = this_machine(), dict[str, str]()
    for line in machine.cautions:
        show(line)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        scenes = make_scenes(clip, dict.fromkeys((1, *plan.faces)), plan.detector, folder, absent)
        if name_faces(1) in absent:
            raise SourceError(f"{clip} written anew: {absent[name_faces(1)]}")
        watch = stack.enter_context(Watch(root))
        things = dict(_things(plan, scenes, _start_broker(stack), absent))
        runs = {name: some for name, some in in_turns(things, plan.rounds, absent, show, _gist).items() if some}
    if not runs:
        raise EdgeEmotionError("nothing could be measured: " + "; ".join(f"{k}: {v}" for k, v in absent.items()))
    conditions = {name: [watch.between(run.began, run.ended) for run in some] for name, some in runs.items()}
    steady = {name: steadiness(some) for name, some in runs.items()}
    missing = {f"{what} of {name}": why for name, some in runs.items() for what, why in some[0].absent.items()}
    settings = plan.model_dump(mode="json", exclude={"source"})
    if plan.source is not None:  # a result is sent to others; the address is not for them
        settings["source"] = classify_source(plan.source)
    return measured(
        "pipeline",
        [one for name, some in runs.items() for one in as_measurements(name, some, conditions[name])],
        machine=machine,
        settings={"clip": clip.name, "size": [WIDTH, HEIGHT], **settings, "threads": 1},
        artefacts={file: sha256 for some in runs.values() for file, sha256 in some[0].artefacts.items()},
        absent=absent | missing | watch.absent,
        notes=(*_steady_notes(steady), *_slow_notes(conditions), *_scene_notes(scenes, plan)),
        details={"steady": steady},
    )


def _check(plan: Plan) -> None:
    if max(plan.faces, default=0) > MOST:
        raise ConfigError(f"--faces {max(plan.faces)}: the daemon looks at {MOST} at most")
    if not (plan.faces or plan.cameras or plan.source):
        raise ConfigError("nothing to measure: give --faces, --cameras or --source")


def steadiness(runs: Sequence[Run]) -> str:
    """``yes``, ``too short`` to tell, or ``no`` and how much slower a run became."""
    drifts = [run.drift for run in runs if run.drift is not None]
    worst = max((one.ratio for one in drifts if not one.steady), default=None)
    if worst is not None:
        return f"no, the last third took {worst:.2f} times as long as the first"
    return "yes" if len(drifts) == len(runs) else "too short"


def _things(
    plan: Plan, scenes: Sequence[Scene], port: int | None, absent: dict[str, str]
) -> Iterator[tuple[str, Callable[[], Run]]]:
    """Everything that is measured, by name; what needs a broker goes to ``absent`` without one."""
    first = scenes[0]
    shown = plan.model_copy(update={"source": None})  # everybody can read a process' arguments

    def job(kind: Kind, scene: Scene) -> Callable[[], Run]:
        return partial(_ask, Job(kind=kind, scene=scene.path, faces=scene.faces, port=port, plan=shown))

    def daemon(cameras: Mapping[str, Any]) -> Callable[[], Run]:
        return partial(measure_cameras, cameras, plan.hardest, port or 0, seconds=plan.seconds, settle=plan.settle)

    if plan.faces:
        yield "reading", job("read", first)
    yield from ((name_faces(scene.faces), job("line", scene)) for scene in scenes if scene.faces in plan.faces)
    connected: dict[str, Callable[[], Run]] = {"publishing": job("publish", first)} if plan.faces else {}
    for count in dict.fromkeys(plan.cameras):
        name = f"{count} camera" + "s" * (count > 1)
        for mode, realtime in (("full speed", False), (f"{FPS} fps", True)):
            camera = {"source": str(first.path), "loop": True, "realtime": realtime, "max_fps": 240}
            connected[f"{name}, {mode}"] = daemon({f"camera{n}": camera for n in range(count)})
    if plan.source is not None:
        camera = {"source": plan.source, "loop": True, "width": WIDTH, "height": HEIGHT, "max_fps": 240}
        connected[OWN_CAMERA] = daemon({"camera": camera})
    if port is None:
        absent |= dict.fromkeys(connected, NO_BROKER)
    else:
        yield from connected.items()


def _start_broker(stack: ExitStack) -> int | None:
    """The port of a mosquitto of our own, until the stack ends; None where it is not installed."""
    executable = find_mosquitto()
    if executable is None:
        return None
    port = free_port()
    stack.enter_context(mosquitto(executable, port))
    return port


def _ask(job: Job) -> Run:
    patience = PATIENCE + job.plan.settle + job.plan.seconds
    return Run.model_validate_json(ask("benchmarks.pipeline_speed.pipeline_worker", job.model_dump_json(), patience))


def _gist(run: Run) -> str:
    if "fps" in run.figures:
        return f"{run.figures['fps']:.1f} fps"
    return ", ".join(f"{stage} p50 {quantiles['p50']:.3f} ms" for stage, quantiles in run.stages.items())


def _steady_notes(steady: Mapping[str, str]) -> Iterator[str]:
    said = {answer: [name for name, one in steady.items() if one == answer] for answer in steady.values()}
    yield from (f"thermally steady: {answer}: {'; '.join(names)}" for answer, names in said.items())


def _slow_notes(conditions: Mapping[str, Sequence[Conditions]]) -> Iterator[str]:
    for name, some in conditions.items():
        reasons = dict.fromkeys(reason for seen in some for reason in seen.throttling or ())
        if reasons:
            yield f"caution: {name}: the processor was slowed down meanwhile: {', '.join(reasons)}"


def _scene_notes(scenes: Sequence[Scene], plan: Plan) -> Iterator[str]:
    for scene in scenes:
        yield f"{name_faces(scene.faces)}: {plan.detector} finds as many in {scene.shown} of {scene.frames} frames"
