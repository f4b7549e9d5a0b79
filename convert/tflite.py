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
from edge_emotion.errors import ModelError
from edge_emotion.golden import golden_inputs
from edge_emotion.labels import EMOTIONS
from edge_emotion.manifest import (
    MANIFEST,
    Calibration,
    Golden,
    InputSpec,
    Metrics,
    ModelFile,
    ModelManifest,
    OperatingPoint,
    Training,
    dump_manifest,
    sha256,
    write_text,
)
from edge_emotion.preprocess import normalise
from train.datasets import Faces, Split
from train.evaluate import KerasBackend, logits_of, measure_classifier
from train.fit import load_run, model_pixels
from train.keras import tf
from train.metrics import fit_temperature
from train.recipes import Recipe

CALIBRATION_FACES = 512
GOLDEN_SEED, GOLDEN_COUNT = 20, 8

INTENDED_USE = (
    "Telling which expression a face shows, on the device, for art, research and home automation with the consent "
    "of the people in view."
)
LIMITS = (
    "An expression is not a felt emotion. Trained on web pictures at 48 px labelled by ten people each; groups, ages "
    "and situations that are rare there are recognised worse. Not for decisions about people, not at work or in "
    "education (EU AI Act, Article 5(1)(f)), not for identification."
)


def convert(run: Path, data: dict[Split, Faces], models: Path, *, version: str) -> Path:
    """Quantise a run's best model and write the model folder that ships. Returns the folder.

    Calibrated on pictures of the Training split, temperature fitted on PublicTest, figures on PrivateTest.
    Raises ConfigError for a directory that is no run, ModelError if the result is not fully integer.
    """
    model, recipe, record = load_run(run)
    spec = recipe.input
    with tempfile.TemporaryDirectory() as workshop:
        file = Path(workshop) / f"{recipe.name}_int8.tflite"
        file.write_bytes(quantise(model, calibration_pixels(data["train"], spec), spec))
        check_integer_only(file)
        backend = TfliteBackend(file)
        manifest = _manifest(
            recipe, record, file, _calibrate(backend, data, spec), _golden(file, backend, spec), version
        )
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


def _calibrate(backend: TfliteBackend, data: dict[Split, Faces], spec: InputSpec) -> Calibration:
    """Class prior of the training votes, temperature fitted on PublicTest."""
    validation = data["validation"].majority()
    temperature = fit_temperature(logits_of(backend, validation, spec), validation.labels)
    prior = data["train"].votes.mean(axis=0)
    return Calibration(
        class_prior=tuple(round(float(share), 5) for share in prior),
        operating_points={"accurate": OperatingPoint(prior_strength=0.0, temperature=temperature)},
        default="accurate",
    )


def _figures(
    manifest: ModelManifest, backend: TfliteBackend, model: Any, data: dict[Split, Faces]
) -> dict[str, Metrics]:
    """By split and precision. The test split is measured here, once, and nothing is chosen by it."""
    validation, test = data["validation"].majority(), data["test"].majority()
    return {
        "validation/int8": measure_classifier(EmotionClassifier(manifest, backend), validation),
        "test/int8": measure_classifier(EmotionClassifier(manifest, backend), test),
        "test/float32": measure_classifier(EmotionClassifier(manifest, KerasBackend(model)), test),
    }


def _manifest(
    recipe: Recipe, record: dict[str, Any], file: Path, calibration: Calibration, golden: Golden, version: str
) -> ModelManifest:
    entry = ModelFile(
        format="tflite", precision="int8", file=file.name, sha256=sha256(file), input_type="int8", output_type="int8"
    )
    training = Training(
        dataset=record["dataset"],
        protocol="majority",
        recipe=recipe.name,
        seed=record["recipe"]["seed"],
        epochs=record["recipe"]["epochs"],
        start=record["start"],
        commit=record.get("commit", "unknown"),
    )
    return ModelManifest(
        schema=1,
        name=recipe.name,
        version=version,
        task="emotion-classification",
        input=recipe.input,
        labels=EMOTIONS,
        calibration=calibration,
        files=(entry,),
        training=training,
        metrics={},
        golden=golden,
        licence="Apache-2.0",
        intended_use=INTENDED_USE,
        limits=LIMITS,
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
