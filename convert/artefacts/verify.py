"""Verification of every artefact of a model folder against the float model, with the runtime's own backends.

Devices verify their engines with it; TensorFlow is needed only to compare with a training run.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from convert.artefacts.parity import compare_logits
from edge_emotion.backends.tflite import TfliteBackend
from edge_emotion.errors import BackendUnavailable, ConfigError, ModelError
from edge_emotion.factory.models import make_classifier
from edge_emotion.models.classifier import logit_shift
from edge_emotion.models.folder import find_model, load_manifest
from edge_emotion.models.manifest import ModelManifest, Parity
from edge_emotion.protocols import FloatArray
from train.choices import INSTALL
from train.data.faces import DataSet, Faces, Split
from train.evaluation.artefacts import artefacts
from train.evaluation.logits import logits_of
from train.evaluation.metrics import Labels, Logits


class Anatomy(NamedTuple):
    """Contents of a file. ``operators``: operator -> count, None for ONNX without the package ``onnx``.

    ``activations``: see TfliteBackend, TFLite only.
    """

    size_bytes: int
    operators: dict[str, int] | None
    activations: int | None


class Verified(NamedTuple):
    """One artefact in one backend. ``recall``: emotion -> (its own, the float model's), for emotions that occur."""

    parity: Parity
    recall: dict[str, tuple[float, float]]
    file: Anatomy


def verify(
    manifest: ModelManifest,
    folder: Path,
    reference: FloatArray,
    faces: Faces,
    *,
    split: Split,
    backend: str | None = None,
    missing: dict[str, str] | None = None,
) -> dict[str, Verified]:
    """Verify each file of a model folder in each backend available here; the keys name both.

    reference: N x L logits of the float model for the N faces, all with a clear label. The comparison is at the
    manifest's default operating point. ``backend``: the only one to use. Files whose backend is not installed go to
    ``missing`` with the reason. Raises BackendUnavailable for them without ``missing``, or if nothing else was run;
    ModelError if there is no file to run.
    """
    point = manifest.calibration.operating_points[manifest.calibration.default]
    shift = logit_shift(manifest.calibration.class_prior, point, manifest.labels)
    verified: dict[str, Verified] = {}
    anatomies: dict[str, Anatomy] = {}
    for name, entry, make in artefacts(manifest, folder, backend):
        try:
            runner = make()
        except BackendUnavailable as error:
            if missing is None:
                raise
            missing[name] = str(error)
            continue
        logits = logits_of(runner, faces, manifest.input)
        parity = compare_logits(split, logits, reference, faces.labels, shift=shift, temperature=point.temperature)
        recall = _recall(logits - shift, reference - shift, faces.labels, manifest.labels)
        if entry.file not in anatomies:
            anatomies[entry.file] = _anatomy(folder / entry.file)
        verified[name] = Verified(parity, recall, anatomies[entry.file])
        runner.close()
    if missing and not verified:
        raise BackendUnavailable("; ".join(f"{name}: {reason}" for name, reason in missing.items()))
    if not verified:
        raise ModelError(f"model {manifest.name} has no file that {backend or 'a backend here'} runs")
    return verified


def verify_model(
    model: str,
    data: DataSet,
    *,
    run: Path | None,
    split: Split,
    backend: str | None = None,
    missing: dict[str, str] | None = None,
) -> dict[str, Verified]:
    """Verify a shipped model or a model folder against the float model of ``run``, or against its own most exact file.

    ``backend``, ``missing`` and errors: see ``verify``. Raises ConfigError if there is neither run nor float file, or
    the run has other classes.
    """
    folder = find_model(model)
    manifest = load_manifest(folder)
    if not isinstance(manifest, ModelManifest):
        raise ConfigError(f"{model} is no emotion classifier")
    faces = in_order(data, manifest.labels)[split].majority()
    reference = _exact_logits(folder, manifest, faces) if run is None else _trained_logits(run, manifest, faces)
    return verify(manifest, folder, reference, faces, split=split, backend=backend, missing=missing)


def in_order(data: DataSet, labels: Sequence[str]) -> DataSet:
    """The faces of these labels, with their votes in the order of ``labels``: imported models have orders of their own.

    Raises DataError if the data set lacks one.
    """
    data = data.restrict(labels)
    columns = [data.classes.index(name) for name in labels]
    splits = {split: replace(faces, votes=faces.votes[:, columns]) for split, faces in data.splits.items()}
    return replace(data, classes=tuple(labels), splits=splits)


def _exact_logits(folder: Path, manifest: ModelManifest, faces: Faces) -> FloatArray:
    """Logits of the model's own most exact file."""
    exact = [entry.precision for entry in manifest.files if entry.format == "tflite" and entry.precision != "int8"]
    if not exact:
        raise ConfigError(f"{manifest.name} has no float file to compare with: give the training run as --run")
    classifier = make_classifier(str(folder), precision=max(exact))
    return logits_of(classifier.backend, faces, manifest.input)


def _trained_logits(run: Path, manifest: ModelManifest, faces: Faces) -> FloatArray:
    """Logits of a training run's float model, which needs TensorFlow."""
    try:
        from train.evaluation.predict import KerasBackend
        from train.runs.run_directory import load_run
    except ImportError as error:
        raise BackendUnavailable(f"to compare with a training run ({error}): {INSTALL}") from error
    trained = load_run(run)
    if trained.classes != manifest.labels:
        raise ConfigError(
            f"{run} has the classes {', '.join(trained.classes)}, {manifest.name} {', '.join(manifest.labels)}"
        )
    return logits_of(KerasBackend(trained.build()), faces, manifest.input)


def _recall(logits: Logits, reference: Logits, truth: Labels, labels: Sequence[str]) -> dict[str, tuple[float, float]]:
    right, float_right = (rows.argmax(axis=1) == truth for rows in (logits, reference))
    members = {name: truth == index for index, name in enumerate(labels)}
    return {
        name: (float(right[those].mean()), float(float_right[those].mean()))
        for name, those in members.items()
        if those.any()
    }


def _anatomy(file: Path) -> Anatomy:
    size = file.stat().st_size
    if file.suffix == ".onnx":
        return Anatomy(size, _onnx_operators(file), None)
    backend = TfliteBackend(file, plain_kernels=True)  # a delegate would hide the operators that it takes over
    return Anatomy(size, dict(Counter(backend.operators)), backend.activation_bytes)


def _onnx_operators(file: Path) -> dict[str, int] | None:
    try:
        from convert.onnx.view import load_onnx
    except ImportError:
        return None
    return dict(Counter(node.op_type for node in load_onnx(file).model.graph.node))


def describe_verified(one: Verified) -> str:
    """Recall by emotion, size and operators of an artefact, as three lines of text."""
    recall = ", ".join(f"{name} {ours:.1%} ({exact:.1%})" for name, (ours, exact) in one.recall.items())
    size = f"{one.file.size_bytes / 1e6:.2f} MB"
    if one.file.activations is not None:
        size += f", activations at once {one.file.activations / 1e3:.0f} kB"
    if one.file.operators is None:
        counts = "operators not counted: pip install onnx"
    else:
        counts = ", ".join(f"{count} {name}" for name, count in sorted(one.file.operators.items()))
    return f"    recall (float): {recall}\n    {size}\n    {counts}"
