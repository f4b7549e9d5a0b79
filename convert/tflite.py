"""Full-integer TFLite by post-training quantisation, with its manifest and figures."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edge_emotion.backends.tflite import TfliteBackend
from edge_emotion.classifier import EmotionClassifier
from edge_emotion.errors import ConfigError, ModelError
from edge_emotion.golden import golden_inputs
from edge_emotion.manifest import (
    MANIFEST,
    Calibration,
    Golden,
    InputSpec,
    Metrics,
    ModelFile,
    ModelManifest,
    dump_manifest,
    sha256,
    write_text,
)
from edge_emotion.preprocess import normalise
from train.batches import model_pixels
from train.draft import calibrate, facts
from train.evaluate import measure_logits
from train.faces import DataSet, Faces
from train.keras import tf
from train.predict import KerasBackend, logits_of
from train.run_directory import Run, load_run

CALIBRATION_FACES = 512
GOLDEN_SEED, GOLDEN_COUNT = 20, 8


def convert(run: Path, data: DataSet, models: Path, *, version: str) -> Path:
    """Quantise a run's best model and write the model folder that ships. Returns the folder.

    Calibrated on pictures of the training split, operating points chosen on the validation split, figures on the test
    split. Raises ConfigError for a directory that is no finished run, ModelError if the result is not fully integer.
    """
    trained = load_run(run)
    if not trained.finished:
        raise ConfigError(f"{run} is not finished: give its train fit command again, it goes on where it stopped")
    model, recipe, spec = trained.build(), trained.recipe, trained.recipe.input
    data = data.restrict(trained.classes)
    if data.fingerprint(split for split in data.splits if split != "train") != trained.record.get("held_out"):
        raise ConfigError(f"{run} was trained on {trained.record['dataset']}, and --data is not that data set")
    with tempfile.TemporaryDirectory() as workshop:
        file = Path(workshop) / f"{recipe.name}_int8.tflite"
        file.write_bytes(quantise(model, calibration_pixels(data["train"], spec), spec))
        check_integer_only(file)
        backend = TfliteBackend(file)
        validation = data["validation"].majority()
        calibration = calibrate(trained, logits_of(backend, validation, spec), validation)
        manifest = _manifest(trained, file, calibration, _golden(file, backend, spec), version)
        manifest = manifest.model_copy(update={"metrics": _figures(manifest, backend, model, data)})
        return _publish(file, manifest, models)


def _publish(file: Path, manifest: ModelManifest, models: Path) -> Path:
    """Put a checked file and its manifest into their folder, each whole or not at all."""
    folder = models / manifest.name
    folder.mkdir(parents=True, exist_ok=True)
    beside = folder / (file.name + ".part")
    shutil.copyfile(file, beside)
    beside.replace(folder / file.name)
    write_text(folder / MANIFEST, dump_manifest(manifest))
    return folder


def _figures(manifest: ModelManifest, backend: TfliteBackend, model: Any, data: DataSet) -> dict[str, Metrics]:
    """By split, precision and operating point, where that is not the default.

    The test split is measured here, once, and nothing is chosen by it.
    """
    figures = {}
    for key, split, runner in (
        ("validation/int8", data["validation"], backend),
        ("test/int8", data["test"], backend),
        ("test/float32", data["test"], KerasBackend(model)),
    ):
        faces = split.majority()
        logits = logits_of(runner, faces, manifest.input)
        for point in manifest.calibration.operating_points:
            classifier = EmotionClassifier(manifest, runner, operating_point=point)
            suffix = "" if point == manifest.calibration.default else f"/{point}"
            figures[key + suffix] = measure_logits(classifier, logits, faces.labels)
    return figures


def _manifest(run: Run, file: Path, calibration: Calibration, golden: Golden, version: str) -> ModelManifest:
    entry = ModelFile(
        format="tflite", precision="int8", file=file.name, sha256=sha256(file), input_type="int8", output_type="int8"
    )
    return ModelManifest(
        **facts(run), version=version, calibration=calibration, files=(entry,), metrics={}, golden=golden
    )


def quantise(model: Any, pixels: npt.NDArray[np.uint8], spec: InputSpec) -> bytes:
    """int8 in, int8 out, per-channel weights, by the TensorFlow converter; ``pixels`` N x H x W x C calibrate it."""

    def representative() -> Any:
        for picture in pixels:
            yield [normalise(picture[None], spec)]

    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = representative
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = converter.inference_output_type = tf.int8
    return bytes(converter.convert())


def calibration_pixels(faces: Faces, spec: InputSpec) -> npt.NDArray[np.uint8]:
    """Evenly spread pictures of a split, as the model sees them, and the two extremes: all black and all white.

    The extremes fix the input range to that of pixels, so that the int8 input is pixel - 128 exactly.
    """
    rows = np.linspace(0, len(faces) - 1, min(CALIBRATION_FACES, len(faces))).astype(np.int64)
    extremes = np.stack([np.full(spec.shape, value, np.uint8) for value in (0, 255)])
    return np.concatenate([extremes, model_pixels(faces.images[rows], spec)])


def check_integer_only(file: Path) -> None:
    """Raises ModelError if a tensor between input and output is a float, or the input is not pixel - 128."""
    backend = TfliteBackend(file, plain_kernels=True)
    floats = [tensor["name"] for tensor in backend.tensors if np.issubdtype(tensor["dtype"], np.floating)]
    if floats:
        raise ModelError(f"{file.name} is not fully integer: {len(floats)} float tensors, the first is {floats[0]}")
    scale, zero_point = backend.input_quantization
    if zero_point != 0 or abs(scale * 128 - 1) > 0.01:
        raise ModelError(f"{file.name} reads pixels at scale {scale}, zero point {zero_point}, expected 1/128 and 0")


def _golden(file: Path, backend: TfliteBackend, spec: InputSpec) -> Golden:
    """Expected outputs by the default kernels; the tolerance is three times the distance to the plain ones."""
    batch = normalise(golden_inputs(spec, GOLDEN_SEED, GOLDEN_COUNT), spec)
    expected = backend.run(batch)[0]
    distance = float(np.abs(TfliteBackend(file, plain_kernels=True).run(batch)[0] - expected).max())
    return Golden(
        seed=GOLDEN_SEED,
        precision="int8",
        tolerance=round(max(0.3, 3 * distance), 2),
        expected=tuple(tuple(round(float(v), 4) for v in row) for row in expected),
    )
