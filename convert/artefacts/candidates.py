"""The ways in which a run can become int8 files, side by side on the validation split, and the choice between them."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

import numpy as np

from convert.artefacts.parity import compare
from convert.int8.fold import require_convertible
from convert.int8.qat import calibrated, calibration_pixels, load_qat, qat_directory
from convert.int8.quantise_aware import Scheme, scales_of, unwrap
from convert.onnx.from_keras import export_graph
from convert.onnx.rules import check_onnx
from convert.onnx.write import write_onnx
from convert.tflite import write as tflite
from edge_emotion.backends.onnx import OnnxBackend
from edge_emotion.backends.tflite import TfliteBackend
from edge_emotion.errors import BackendUnavailable, ModelError
from edge_emotion.models.manifest import Parity
from edge_emotion.protocols import FloatArray, InferenceBackend
from train.data.faces import DataSet, Faces
from train.evaluation.logits import logits_of
from train.evaluation.metrics import negative_log_likelihood
from train.evaluation.operating_points import adjust
from train.evaluation.predict import KerasBackend
from train.fitting.manifest_draft import calibrate
from train.runs.run_directory import RECORD, Run

Way = Literal["post-training", "symmetric", "asymmetric"]
"""Ranges after training, for TFLite the converter's own and for ONNX symmetric ones; or quantisation-aware training
with one of two kinds of ranges."""

Judge = Callable[[FloatArray], tuple[Parity, float]]
"""From logits for the validation split to parity with the float model and the loss at their own operating point."""


class Candidate(NamedTuple):
    """An int8 file on the validation split. ``loss``: nats per face at its own default operating point.

    Both are missing where nothing here runs the file.
    """

    way: Way
    file: Path
    parity: Parity | None
    loss: float


def ways(run: Path) -> list[Way]:
    """What is there of a run: post-training always, the others where they were trained."""
    return [
        "post-training",
        *(scheme for scheme in get_args(Scheme) if (qat_directory(run, scheme) / RECORD).is_file()),
    ]


def make_judge(run: Run, faces: Faces) -> Judge:
    """The judge of a run's int8 files on validation faces that each have a clear label."""
    reference = logits_of(KerasBackend(run.build()), faces, run.recipe.input)

    def judge(logits: FloatArray) -> tuple[Parity, float]:
        return compare("validation", logits, reference, faces.labels), _loss(run, logits, faces)

    return judge


def make_tflite(run: Run, ways: Sequence[Way], data: DataSet, folder: Path, judge: Judge) -> list[Candidate]:
    """Write the int8 TFLite file of each way into a folder and measure it.

    Raises ModelError for a network that cannot be converted, before anything is made of it, and if a file is not fully
    integer; ConfigError if its training is not finished.
    """
    model, spec, faces = run.build(), run.recipe.input, data["validation"].majority()
    require_convertible(model)
    candidates = []
    for way in ways:
        file = folder / f"{run.recipe.name}_{way}.tflite"
        if way == "post-training":
            content = tflite.post_training(model, calibration_pixels(data["train"], spec), spec)
        else:
            content = tflite.quantisation_aware(load_qat(run.path, way).build())
        file.write_bytes(content)
        tflite.check_integer_only(file)
        candidates.append(Candidate(way, file, *judge(logits_of(TfliteBackend(file), faces, spec))))
    return candidates


def make_onnx(run: Run, data: DataSet, folder: Path, judge: Judge) -> list[Candidate]:
    """The same for ONNX, of which every int8 form is symmetric: fine-tuned, where that was done, and only calibrated.

    Where onnxruntime is missing only the first is made, and is not measured. Raises ModelError if a file breaks a rule.
    """
    simulated: dict[Way, Callable[[], Any]] = {"post-training": lambda: calibrated(run, data)}
    if "symmetric" in ways(run.path):
        simulated = {"symmetric": lambda: load_qat(run.path, "symmetric").build(), **simulated}
    faces, candidates = data["validation"].majority(), []
    for way, make in simulated.items():
        network = make()
        file = folder / f"{run.recipe.name}_{way}.onnx"
        write_onnx(export_graph(unwrap(network)), file, scales=scales_of(network))
        require_rules(file)
        try:
            backend: InferenceBackend = OnnxBackend(file)
        except BackendUnavailable as error:
            print(f"int8 ONNX by {way} is taken, with nothing measured: {error}", file=sys.stderr)
            return [Candidate(way, file, None, float("nan"))]
        candidates.append(Candidate(way, file, *judge(logits_of(backend, faces, run.recipe.input))))
    return candidates


def require_rules(file: Path) -> None:
    """Raises ModelError for an ONNX file that TensorRT would refuse or run slowly, with the first break of a rule."""
    found = check_onnx(file)
    if found:
        more = f", and {len(found) - 1} more" if len(found) > 1 else ""
        raise ModelError(f"{file.name}: {found[0].node}: [{found[0].rule}] {found[0].fault}; {found[0].fix}{more}")


def choose(candidates: Sequence[Candidate]) -> Candidate:
    """The one with the least loss on the validation split, which sees more than its right and wrong answers do."""
    return min(candidates, key=lambda candidate: candidate.loss)


def _loss(run: Run, logits: FloatArray, faces: Faces) -> float:
    calibration = calibrate(run, logits, faces)
    point = calibration.operating_points[calibration.default]
    adjusted = adjust(logits, np.array(calibration.class_prior), point.prior_strength, point.temperature)
    return negative_log_likelihood(adjusted, faces.labels, 1.0)
