"""Peers and our own models on the same faces and frames: accuracy in the first round, latency in every round."""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.harness.defaults import default_detector
from benchmarks.harness.interleave import interleave
from benchmarks.harness.progress import show_line
from benchmarks.peers.catalogue import NOT_MEASURED, NPM_WORKER, PEERS
from benchmarks.peers.environments import Runner, run_worker, runner_of
from benchmarks.peers.npm_worker import read_json
from benchmarks.pipeline_speed.scenes import find_alone
from benchmarks.quality.accuracy import correctness, mcnemar_notes, mcnemar_tests
from benchmarks.quality.faces import percent, scored, share
from benchmarks.quality.named_detectors import daemon_settings
from benchmarks.results.results import Measurement
from edge_emotion.cli.demo import CLIP
from edge_emotion.datatypes import Box, Face
from edge_emotion.errors import BackendUnavailable
from edge_emotion.labels import canonical
from train.data.crop import paste
from train.data.faces import Faces
from train.data.layouts.finder import chosen_face
from train.evaluation.evaluate import Answer, evaluate

Arrays = dict[str, npt.NDArray[Any]]

VIDEO = 60
"""Frames of the demo clip: the first 60 that show exactly one face, four seconds."""

KINDS = {"crop_ms": "medians", "frame_ms": "medians", "video_ms": "means"}
"""Timed quantity -> statistic per round. For a video the mean, because its frames differ in cost."""


def measure_peers(
    peers: Sequence[str],
    models: Sequence[str],
    detector: str,
    faces: Faces,
    classes: tuple[str, ...],
    *,
    frames: int,
    calls: int,
    rounds: int,
    seed: int,
    cache: Path,
) -> dict[str, Any]:
    """Measure every peer and model in one subprocess per round, interleaved (A B A B).

    ``frames`` pictures, each with another face, drawn by ``seed``, are made from the faces to measure detection and
    classification together, which is also timed on a video. Each subprocess times ``calls`` calls on one core. Peers
    that cannot be installed or run go to ``not_measured`` with the reason. Raises BackendUnavailable if all fail.
    """
    missing = dict(NOT_MEASURED)
    runners = _runners(peers, models, detector, cache, missing)
    with tempfile.TemporaryDirectory() as name:
        folder, generator = Path(name), np.random.default_rng(seed)
        pasted = faces.take(np.sort(generator.choice(len(faces), frames, replace=False)))
        (judging, timing), squares = _write_task(folder, faces, pasted, calls, detector, generator)
        first = dict.fromkeys(runners, judging)

        def run(name: str) -> Arrays:
            return _run_worker(runners[name], first.pop(name, timing), folder / "answer")

        things = {name: partial(run, name) for name in runners}
        answers = {
            name: some for name, some in interleave(things, rounds, missing, show_line, _summary).items() if some
        }
    if not answers:
        reasons = (f"{name}: {missing[name]}" for name in (*models, *peers) if name in missing)
        raise BackendUnavailable("no peer or model has answered: " + "; ".join(reasons))
    return {"not_measured": missing} | _figures(answers, models, faces, pasted, classes, squares)


def _runners(
    peers: Sequence[str], models: Sequence[str], detector: str, cache: Path, missing: dict[str, str]
) -> dict[str, Runner]:
    runners = {model: Runner(Path(sys.executable), "own_worker", (model, detector)) for model in models}
    for name in peers:
        show_line(f"environment of {name} ...")
        try:
            runners[name] = runner_of(PEERS[name], cache)
        except BackendUnavailable as error:
            missing[name] = str(error)
    return runners


def _write_task(
    folder: Path, faces: Faces, pasted: Faces, calls: int, detector: str, generator: np.random.Generator
) -> tuple[list[Path], list[Box]]:
    """Write the task files of the first round, with scores, and of later rounds; returns them and the face boxes."""
    frames = [paste(image, generator) for image in pasted.images]
    pictures = np.stack([picture if faces.images.ndim == 4 else picture[..., 0] for picture, _ in frames])
    video = np.stack([image for image, _ in find_alone(CLIP, default_detector(daemon_settings(detector).model), VIDEO)])
    files: list[Path] = []
    for judge in (True, False):
        files.append(folder / f"task{len(files)}.npz")
        np.savez(files[-1], crops=faces.images, frames=pictures, video=video, calls=calls, judge=judge)
    return files, [square for _, square in frames]


def _run_worker(runner: Runner, task: Path, answer: Path) -> Arrays:
    run_worker(runner.python, runner.worker, task, answer, runner.options)
    if runner.worker == NPM_WORKER:
        return read_json(answer.read_text(encoding="utf-8"))
    with np.load(answer) as content:
        return dict(content)


def _summary(answer: Arrays) -> str:
    return ", ".join(f"{kind[:-3]} {np.median(answer[kind]):.3g} ms" for kind in KINDS if kind in answer)


def _figures(
    answers: Mapping[str, Sequence[Arrays]],
    models: Sequence[str],
    faces: Faces,
    pasted: Faces,
    classes: tuple[str, ...],
    squares: Sequence[Box],
) -> dict[str, Any]:
    measured: dict[str, Any] = {}
    right: dict[str, npt.NDArray[np.int8]] = {}
    shared = _shared_labels(answers)
    for name, rounds in answers.items():
        first = rounds[0]
        labels = [canonical(str(label)) for label in first["labels"]]
        one: dict[str, Any] = {
            "protocol": PEERS[name].protocol
            if name in PEERS
            else "our own file, cropping and detector settings, as they ship; a video by the daemon's pipeline",
            "versions": json.loads(str(first["versions"])),
        }
        if labels and "scores" in first:
            answer = restrict(first["scores"], labels, shared, name)
            one["crops"] = evaluate(answer, faces.labels, classes).model_dump(mode="json")
            right[name] = correctness(answer, faces, classes)
        if "boxes" in first:
            one["frames"] = frame_figures(first, labels, shared, pasted.labels, classes, squares)
        for kind in KINDS:
            if kind in first:
                one[kind] = latency_figures([each[kind] for each in rounds])
        measured[name] = one
    return {
        "classes": shared,
        "peers": measured,
        "duels": mcnemar_tests(right),
        "ratios": latency_ratios(measured, models),
    }


def _shared_labels(answers: Mapping[str, Sequence[Arrays]]) -> list[str]:
    """The emotions that all peers and models with labels have in common, so that all solve the same problem."""
    known = [[canonical(str(label)) for label in rounds[0]["labels"]] for rounds in answers.values()]
    named = [labels for labels in known if labels]
    return [name for name in (named[0] if named else []) if all(name in labels for labels in named)]


def restrict(scores: npt.NDArray[Any], labels: Sequence[str], shared: Sequence[str], name: str) -> Answer:
    """Probabilities N x C of ``labels``, restricted to the columns of the ``shared`` labels, as log-probabilities."""
    columns = [labels.index(label) for label in shared]
    return Answer(name, tuple(shared), np.log(np.maximum(scores[:, columns].astype(np.float64), 1e-12)))


def frame_figures(
    answer: Arrays,
    labels: Sequence[str],
    shared: Sequence[str],
    truth: npt.NDArray[np.int64],
    classes: Sequence[str],
    squares: Sequence[Box],
) -> dict[str, Any]:
    """Share of frames whose face was found (IoU with its square at least 0.3), and accuracy on the faces found.

    ``extra`` counts the other boxes. Faces of a class that is not shared are left out of the accuracy.
    """
    found = named = hits = 0
    for frame, square in enumerate(squares):
        rows = np.flatnonzero(answer["boxes"][:, 0] == frame)
        faces = [Face(Box(*answer["boxes"][row, 1:]), 1.0) for row in rows]
        hit = chosen_face(faces, square)
        found += hit is not None
        if hit is not None and labels and classes[truth[frame]] in shared:
            scores = answer["box_scores"][rows[faces.index(hit)]]
            predicted = max(shared, key=lambda name: scores[labels.index(name)])
            named += 1
            hits += predicted == classes[truth[frame]]
    result = {"found": share(found, len(squares)), "extra": len(answer["boxes"]) - found}
    return result | ({"right": share(hits, named)} if labels else {})


def latency_figures(rounds: Sequence[npt.NDArray[Any]]) -> dict[str, Any]:
    """Quantiles of all calls in ms; ``medians`` and ``means`` by round; ``spread``: relative range of the medians."""
    medians = [float(np.median(one)) for one in rounds]
    p50, p90, p99 = np.quantile(np.concatenate(rounds), (0.5, 0.9, 0.99)).round(4).tolist()
    return {
        "p50": p50,
        "p90": p90,
        "p99": p99,
        "n": int(sum(map(len, rounds))),
        "medians": [round(one, 4) for one in medians],
        "means": [round(float(np.mean(one)), 4) for one in rounds],
        "spread": round((max(medians) - min(medians)) / median(medians), 4),
    }


def latency_ratios(measured: Mapping[str, Any], models: Sequence[str]) -> list[dict[str, Any]]:
    """Time of each peer over time of each model, for the same input: median, lowest and highest of the rounds."""
    rows = []
    for model in (name for name in models if name in measured):
        for peer in (name for name in measured if name not in models):
            for kind, of in KINDS.items():
                if kind in measured[peer]:
                    ours, theirs = measured[model][kind][of], measured[peer][kind][of]
                    each = [b / a for a, b in zip(ours, theirs, strict=True)]
                    bounds = {"ratio": round(median(each), 3), "low": round(min(each), 3), "high": round(max(each), 3)}
                    calls = measured[peer][kind]["n"] // len(each)
                    rows.append({"model": model, "peer": peer, "of": kind, "rounds": each, "calls": calls} | bounds)
    return rows


def peers_measurements(measured: Mapping[str, Any]) -> Iterator[Measurement]:
    """The measurements in ``measure_peers``' result: of peers and models, then how many times faster ours are."""
    for name, one in measured["peers"].items():
        if "crops" in one:
            crops = one["crops"]
            yield scored(name, "crops right", crops["accuracy"], n=crops["n"], interval=crops["accuracy_interval"])
            interval = crops["macro_f1_interval"]
            yield scored(name, "crops macro-F1", crops["macro_f1"], n=crops["n"], interval=interval)
        for key, metric in (("found", "frames found"), ("right", "right if found")):
            if key in one.get("frames", {}):
                yield from percent(name, metric, one["frames"][key])
        for kind, of in KINDS.items():
            if (took := one.get(kind)) is not None:
                runs, metric = tuple(took[of]), kind.replace("_ms", " p50" if of == "medians" else " mean")
                yield Measurement(
                    subject=name, metric=metric, unit="ms", better="lower", runs=runs, n=took["n"] // len(runs)
                )
    for row in measured["ratios"]:
        yield Measurement(
            subject=f"{row['peer']} against {row['model']}",
            metric=f"{row['of'].removesuffix('_ms')} ratio",
            unit="x",
            better="higher",
            runs=tuple(row["rounds"]),
            n=row["calls"],
        )


def peers_notes(measured: Mapping[str, Any]) -> Iterator[str]:
    """Notes on ``measure_peers``' result: shared classes, protocols, ratios and McNemar tests, a line each."""
    yield f"classes shared by all: {', '.join(measured['classes'])}"
    for name, one in measured["peers"].items():
        versions = ", ".join(f"{package} {number}" for package, number in one["versions"].items())
        elsewhere = f"; boxes elsewhere: {one['frames']['extra']}" if "frames" in one else ""
        yield f"{name}: {one['protocol']} ({versions}){elsewhere}"
    for row in measured["ratios"]:
        yield (
            f"{row['peer']} takes {row['ratio']:.1f} times as long as {row['model']} ({row['low']:.1f} to "
            f"{row['high']:.1f}) for a {row['of'].removesuffix('_ms').replace('video', 'frame of a video')}"
        )
    yield from mcnemar_notes(measured["duels"])
