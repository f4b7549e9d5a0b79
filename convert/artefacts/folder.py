"""Writing of the model folder that ships: files, manifest, self-tests, figures."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from convert.artefacts.candidates import Candidate, Way, choose, make_judge, make_onnx, make_tflite, ways
from convert.artefacts.golden_set import make_golden
from convert.artefacts.parity import parity_line, require_parity, shortfalls
from convert.artefacts.verify import in_order, verify
from convert.artefacts.write_folder import write_model
from convert.tflite import write as tflite
from edge_emotion.backends.onnx import OnnxBackend
from edge_emotion.backends.tflite import TfliteBackend
from edge_emotion.errors import BackendUnavailable, ModelError
from edge_emotion.models.classifier import EmotionClassifier
from edge_emotion.models.folder import checked_file, find_model, load_manifest
from edge_emotion.models.manifest import Calibration, Golden, Metrics, ModelFile, ModelManifest
from edge_emotion.protocols import FloatArray, InferenceBackend
from edge_emotion.system.atomic_file import sha256
from train.data.faces import DataSet, Faces
from train.evaluation.acted import CROWD, Sample, fit_points
from train.evaluation.elsewhere import Elsewhere
from train.evaluation.elsewhere_figures import measure_points
from train.evaluation.evaluate import measure_logits
from train.evaluation.logits import logits_of
from train.evaluation.operating_points import choose_operating_points
from train.evaluation.predict import KerasBackend
from train.fitting.manifest_draft import NO_LICENCE, calibrate, facts
from train.runs.run_directory import Run, load_run


def convert(
    run: Path,
    data: DataSet,
    models: Path,
    *,
    version: str,
    licence: str = NO_LICENCE,
    way: Way | None = None,
    gate: bool = False,
) -> Path:
    """Write the model folder of a run: int8 and float16 TFLite, int8 ONNX, and their manifest. Returns the folder.

    TFLite's int8 is made by ``way``, or by the best available quantisation; ONNX by the better of its two. Everything
    is chosen on the validation split; the test split is measured once, at the end. Raises ConfigError for a directory
    without a finished run on this data, ModelError for a faulty file. With ``gate`` also ModelError for a file that
    loses too much against the float model, and BackendUnavailable for one that cannot be run here; without it both are
    only reported. After an error nothing is written.
    """
    trained = load_run(run)
    trained.require_trained_on(data)
    data = data.restrict(trained.classes)
    with tempfile.TemporaryDirectory() as name:
        workshop = Path(name)
        int8, explicit = _quantised(trained, data, [way] if way else ways(run), workshop)
        files = _write_files(trained, int8, explicit, workshop)
        manifest = _manifest(facts(trained, licence), trained, data, files, workshop, version)
        manifest = _measured(manifest, trained, data, workshop)
        for name, parity in manifest.parity.items():
            print(parity_line(name, parity))
        if gate:
            _require_proof(manifest)
        else:
            _warn(manifest)
        return _publish(workshop, manifest, models)


def recalibrate(
    model: str, data: DataSet, *, version: str, elsewhere: Mapping[str, Elsewhere] = MappingProxyType({})
) -> Path:
    """Choose operating points, self-tests and figures of a model folder again; its files stay. Returns the folder.

    With the sets NATURAL and ACTED in ``elsewhere`` also the point ``expressive``, and temperatures that fit these
    sets.

    For changes of the runtime's preprocessing or of the operating points. Without the float model, its figures stay
    those of the conversion, and comparisons with it, which are no longer valid, are dropped. Raises ModelError for a
    folder without a classifier or an invalid version, BackendUnavailable for a file that cannot be run here; then
    nothing is written.
    """
    folder = find_model(model)
    manifest = load_manifest(folder)
    if not isinstance(manifest, ModelManifest):
        raise ModelError(f"{folder} is no emotion classifier but does {manifest.task}")
    data, int8 = in_order(data, manifest.labels), TfliteBackend(checked_file(folder, manifest.file("int8", "tflite")))
    validation, test = data["validation"].majority(), data["test"].majority()
    logits = logits_of(int8, validation, manifest.input)
    prior = manifest.calibration.class_prior
    points = choose_operating_points(logits, validation.labels, np.array(prior), manifest.labels)
    outside = {name: logits_of(int8, one.faces, manifest.input) for name, one in elsewhere.items()}
    if elsewhere:
        samples = {CROWD: Sample(logits, validation.labels)}
        samples |= {name: Sample(outside[name], one.faces.labels) for name, one in elsewhere.items()}
        points = fit_points(samples, prior, points, manifest.labels)
    calibration = Calibration(class_prior=prior, operating_points=points, default=next(iter(points)))
    manifest = manifest.model_copy(update={"calibration": calibration, "version": version})
    metrics = {
        **{key: figures for key, figures in manifest.metrics.items() if key == "test/float32"},
        **_figures(manifest, "validation/int8", int8, logits, validation),
        **_figures(manifest, "test/int8", int8, logits_of(int8, test, manifest.input), test),
    }
    for name, one in elsewhere.items():
        metrics |= _outside_figures(manifest, f"{name}/int8", int8, outside[name], one)
    manifest = with_golden_sets(manifest, folder).model_copy(update={"metrics": metrics, "parity": {}})
    _require_golden_sets(manifest)
    return write_model(folder, manifest)


def _quantised(run: Run, data: DataSet, ways: Sequence[Way], workshop: Path) -> tuple[Candidate, Candidate]:
    """The best int8 TFLite file and the best int8 ONNX file; prints a table of all candidates."""
    judge = make_judge(run, data["validation"].majority())
    forms = make_tflite(run, ways, data, workshop, judge), make_onnx(run, data, workshop, judge)
    for candidate in (*forms[0], *forms[1]):
        if candidate.parity is not None:
            name = f"{candidate.file.suffix[1:]} {candidate.way}"
            print(f"{parity_line(name, candidate.parity)}, loss {candidate.loss:.4f}")
    return choose(forms[0]), choose(forms[1])


def _write_files(run: Run, int8: Candidate, explicit: Candidate, workshop: Path) -> tuple[ModelFile, ...]:
    """Write the files; int8 comes first, because the runtime tries them in this order."""
    name = run.recipe.name
    half = workshop / f"{name}_float16.tflite"
    half.write_bytes(tflite.floating(run.build(), half=True))
    whole, onnx = (one.file.rename(workshop / f"{name}_int8{one.file.suffix}") for one in (int8, explicit))
    return (
        ModelFile(
            format="tflite", precision="int8", file=whole.name, sha256=sha256(whole), input_type="int8",
            output_type="int8", quantisation=int8.way,
        ),
        ModelFile(
            format="tflite", precision="float16", file=half.name, sha256=sha256(half), input_type="float32",
            output_type="float32",
        ),
        ModelFile(
            format="onnx", precision="int8", file=onnx.name, sha256=sha256(onnx), input_type="float32",
            output_type="float32", quantisation=explicit.way,
        ),
    )  # fmt: skip


def _require_proof(manifest: ModelManifest) -> None:
    """The gate: raises for a file without self-test or parity, and for a model that recognises one emotion only."""
    _require_golden_sets(manifest)
    if faults := _collapsed(manifest):
        raise ModelError("; ".join(faults))
    require_parity(manifest.parity)


def _collapsed(manifest: ModelManifest) -> list[str]:
    """A line for each split and precision in which all faces that are recognised have the same emotion."""
    faults = []
    for key, figures in manifest.metrics.items():
        found = [name for name, recall in figures.recall.items() if recall > 0]
        if len(figures.recall) > 1 and len(found) < 2:
            only = f"only {found[0]}" if found else "no emotion"
            faults.append(
                f"{key}: of {len(figures.recall)} emotions in {figures.n} faces it recognises {only}: train it anew"
            )
    return faults


def _require_golden_sets(manifest: ModelManifest) -> None:
    lacking = ", ".join(entry.file for entry in manifest.files if entry.golden is None)
    if lacking:
        raise BackendUnavailable(f"{lacking} cannot be run here: pip install onnxruntime")


def _warn(manifest: ModelManifest) -> None:
    """Print the faults that the gate would raise."""
    parity = [fault for name, one in manifest.parity.items() for fault in shortfalls(name, one)]
    for fault in (*_collapsed(manifest), *parity):
        print(f"warning: {fault}; convert all would refuse it", file=sys.stderr)


def _manifest(
    known: dict[str, Any], run: Run, data: DataSet, files: tuple[ModelFile, ...], workshop: Path, version: str
) -> ModelManifest:
    """The manifest, calibrated on the validation split for the first file, with self-tests, without figures."""
    validation = data["validation"].majority()
    logits = logits_of(TfliteBackend(workshop / files[0].file), validation, run.recipe.input)
    manifest = ModelManifest(
        **known, version=version, calibration=calibrate(run, logits, validation), files=files, metrics={}
    )
    return with_golden_sets(manifest, workshop)


def with_golden_sets(manifest: ModelManifest, folder: Path) -> ModelManifest:
    """The manifest with a self-test for each file that can be run here."""
    files = tuple(entry.model_copy(update={"golden": _golden(manifest, folder, entry)}) for entry in manifest.files)
    return manifest.model_copy(update={"files": files})


def _golden(manifest: ModelManifest, folder: Path, entry: ModelFile) -> Golden | None:
    file = folder / entry.file
    if entry.format == "tflite":
        return make_golden(manifest, TfliteBackend(file), TfliteBackend(file, plain_kernels=True))
    try:
        # The other kernels are those of its optimisations.
        return make_golden(manifest, OnnxBackend(file, optimise=False), OnnxBackend(file))
    except BackendUnavailable as error:
        print(f"{entry.file} gets no golden set: {error}", file=sys.stderr)
        return None


def _measured(manifest: ModelManifest, run: Run, data: DataSet, workshop: Path) -> ModelManifest:
    """The manifest with figures by split, precision and operating point, and with parity on the test split.

    The test split is measured here, once, and nothing is chosen by it.
    """
    spec, int8 = manifest.input, TfliteBackend(workshop / manifest.file("int8").file)
    validation, test = data["validation"].majority(), data["test"].majority()
    reference = logits_of(KerasBackend(run.build()), test, spec)
    metrics = {
        **_figures(manifest, "validation/int8", int8, logits_of(int8, validation, spec), validation),
        **_figures(manifest, "test/int8", int8, logits_of(int8, test, spec), test),
        **_figures(manifest, "test/float32", int8, reference, test),
    }
    here = manifest.model_copy(update={"files": tuple(entry for entry in manifest.files if entry.golden)})
    parity = {name: one.parity for name, one in verify(here, workshop, reference, test, split="test").items()}
    return manifest.model_copy(update={"metrics": metrics, "parity": parity})


def _figures(
    manifest: ModelManifest, key: str, backend: InferenceBackend, logits: FloatArray, faces: Faces
) -> dict[str, Metrics]:
    """Key of each operating point -> metrics of these logits at it; the default point has the plain key."""
    default = manifest.calibration.default
    return {
        key if point == default else f"{key}/{point}": measure_logits(
            EmotionClassifier(manifest, backend, operating_point=point), logits, faces.labels
        )
        for point in manifest.calibration.operating_points
    }


def _outside_figures(
    manifest: ModelManifest, key: str, backend: InferenceBackend, logits: FloatArray, data: Elsewhere
) -> dict[str, Metrics]:
    """As ``_figures`` on another data set; the interval of the accuracy is over persons."""
    default, figures = manifest.calibration.default, _figures(manifest, key, backend, logits, data.faces)
    for point, one in measure_points(EmotionClassifier(manifest, backend), data, logits).items():
        name = key if point == default else f"{key}/{point}"
        more = {"interval": one.interval, "false_alarms": one.false_alarms, "coverage": one.coverage}
        figures[name] = figures[name].model_copy(update=more)
    return figures


def _publish(workshop: Path, manifest: ModelManifest, models: Path) -> Path:
    """Move the checked files and their manifest into their folder, and remove files of an earlier conversion."""
    names = [entry.file for entry in manifest.files]
    folder = write_model(models / manifest.name, manifest, {name: (workshop / name).read_bytes() for name in names})
    for path in folder.iterdir():
        if path.name not in names and path.suffix in (".tflite", ".onnx"):
            path.unlink()
    return folder
