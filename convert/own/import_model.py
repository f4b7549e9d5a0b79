"""A finished network of other origin as a model folder: its ends adapted, its output proven, its quality measured."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from convert.artefacts.folder import with_golden_sets
from convert.artefacts.write_folder import write_model
from convert.own.description import InputText, Layout
from convert.own.measure import Measured, measure
from convert.own.source import NetworkFile, found_layout
from edge_emotion.backends.onnx import OnnxBackend
from edge_emotion.backends.tflite import TfliteBackend
from edge_emotion.errors import ConfigError, ModelError
from edge_emotion.models.classifier import check_shapes
from edge_emotion.models.manifest import (
    Calibration,
    CropSpec,
    InputSpec,
    ModelFile,
    ModelManifest,
    OperatingPoint,
    Training,
)
from edge_emotion.models.preprocess import normalise
from edge_emotion.models.self_test import PROBES, no_logits, self_test_inputs
from edge_emotion.protocols import FloatArray, InferenceBackend
from edge_emotion.system.atomic_file import sha256
from train.data.faces import DataSet
from train.fitting.manifest_draft import INTENDED_USE, LIMITS

READABLE = ".h5, .hdf5, .keras, a SavedModel folder, .tflite, .onnx"
DEFAULT_COLOUR = {1: "gray", 3: "rgb"}
PLAIN, CALIBRATED = "plain", "calibrated"
"""Operating points: the network's own probabilities, and those with a temperature fitted to the validation split."""


@dataclass(frozen=True)
class Facts:
    """What a network's owner says about it. ``own_labels``: those of the labels that are none of our emotions."""

    name: str
    version: str
    labels: tuple[str, ...]
    own_labels: tuple[str, ...]
    input: InputText
    margin: float
    shift: float
    detail: int | None
    licence: str


@dataclass(frozen=True)
class Imported:
    """A network whose ends are adapted. ``notes``: what was found and done, a line each."""

    file: Path
    manifest: ModelManifest
    notes: tuple[str, ...]


def import_model(
    source: Path, facts: Facts, out: Path, data: Callable[[InputSpec], DataSet] | None = None
) -> tuple[ModelManifest, tuple[str, ...]]:
    """Write the model folder ``out`` of a network; returns its manifest, and what was found, a line each.

    ``data`` loads the faces to measure it on, as the input needs them. Raises ConfigError for facts that do not fit,
    ModelError for a network that cannot be used; then nothing is written.
    """
    _require_free(out)
    with tempfile.TemporaryDirectory() as name:
        imported = adapt(source, facts, Path(name))
        manifest, notes = imported.manifest, imported.notes
        if data is not None:
            backend = backend_of(imported)
            measured = measure(manifest, backend, data(manifest.input))
            manifest, notes = _with_figures(manifest, measured), (*notes, *measured.notes)
        manifest = with_golden_sets(manifest, imported.file.parent)
        write_model(out, manifest, {imported.file.name: imported.file.read_bytes()})
    return manifest, notes


def adapt(source: Path, facts: Facts, folder: Path) -> Imported:
    """A file in ``folder`` that takes N x H x W x C and gives logits, with a manifest without figures."""
    network, notes = _open(source, facts.input)
    spec = _input_spec(source, network, facts, notes)
    softmax, sigmoid = network.remove_softmax(), network.ends_in_sigmoid()
    if softmax:
        notes.append("output: the softmax at the end was removed; the runtime computes it")
    network.flatten_output(len(facts.labels))
    imported = _written(network, facts, spec, source, folder, notes)
    outputs = _probe(imported)
    if not np.ptp(outputs, axis=0).any():
        raise ModelError(f"{source} gives the same values for each drawn face: is --input right, and is it trained?")
    reason = no_logits(outputs) or ("values of a sigmoid" if sigmoid and not softmax else None)
    if reason is None:
        if not softmax:
            notes.append("output: logits, as they are")
        return Imported(imported.file, imported.manifest, tuple(notes))
    if softmax or not np.isfinite(outputs).all():
        raise ModelError(f"{source} gives {reason} for the drawn faces of the self-test")
    network.take_logarithm()
    notes.append(f"output: {reason}: their logarithm is taken, of which the runtime's softmax makes them again")
    return _written(network, facts, spec, source, folder, notes)


def backend_of(imported: Imported) -> InferenceBackend:
    """The runtime's backend for the file."""
    return OnnxBackend(imported.file) if imported.file.suffix == ".onnx" else TfliteBackend(imported.file)


def _require_free(out: Path) -> None:
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ConfigError(f"--out {out} exists already: give another folder, or remove it")


def _open(source: Path, text: InputText) -> tuple[NetworkFile, list[str]]:
    """The network in a form that the runtime reads, and notes."""
    if not source.exists():
        raise ConfigError(f"there is no file {source}")
    suffix = source.suffix.lower()
    if suffix == ".onnx":
        from convert.own.onnx_file import OnnxFile

        return OnnxFile(source), []
    from convert.own.tflite_file import TfliteFile

    if suffix in (".tflite", ".lite"):
        return TfliteFile(source.read_bytes(), source), []
    if suffix not in (".h5", ".hdf5", ".keras") and not (source / "saved_model.pb").is_file():
        raise ConfigError(f"{source} is none of {READABLE}")
    from convert.own.keras_files import as_tflite, load_network

    loaded = load_network(source)
    if len(loaded.shape) != 3:
        raise ModelError(f"{source} takes {len(loaded.shape) + 1} axes: a batch of pictures has four")
    layout = found_layout(source, loaded.shape, text.layout)
    network = TfliteFile(as_tflite(loaded, _axes(_sizes(source, loaded.shape, layout, text), layout), source), source)
    if not loaded.rescales:
        return network, []
    network.own_range = (1.0, 0.0)
    return network, ["input: the network has a layer that rescales pixels of 0..255"]


def _sizes(source: Path, shape: tuple[int | None, ...], layout: Layout, text: InputText) -> tuple[int, int, int]:
    """Height, width and channels. Raises ConfigError where ``--input`` differs, or where the size stands nowhere."""
    found = shape if layout == "NHWC" else (shape[1], shape[2], shape[0])
    given = (*(text.size or (None, None)), text.channels)
    for own, said in zip(found, given, strict=True):
        if own is not None and said is not None and own != said:
            raise ConfigError(f"--input says {_by(given)}, and {source} takes {_by(found)} (height, width, channels)")
    height, width, channels = (own if own is not None else said for own, said in zip(found, given, strict=True))
    if height is None or width is None:
        raise ConfigError(f"{source} takes pictures of any size: give one of them, such as --input 48x48x1")
    if channels is None:
        channels = 1 if text.colour == "gray" else 3
    if channels not in (1, 3):
        raise ModelError(f"{source} takes {channels} channels: only 1 (grey) and 3 (colour) can be used")
    return height, width, channels


def _axes(sizes: tuple[int, int, int], layout: Layout) -> tuple[int, int, int]:
    height, width, channels = sizes
    return sizes if layout == "NHWC" else (channels, height, width)


def _input_spec(source: Path, network: NetworkFile, facts: Facts, notes: list[str]) -> InputSpec:
    """The manifest's input. What it cannot express goes into the network: layout, and scales by channel."""
    text = facts.input
    layout = found_layout(source, network.shape, text.layout)
    height, width, channels = shape = _sizes(source, network.shape, layout, text)
    if not all(16 <= side <= 1024 for side in (height, width)):
        raise ModelError(f"{source} takes {height} x {width} pixels: each side must have 16 to 1024")
    scale, offset = _range(source, network, text)
    colour = text.colour or DEFAULT_COLOUR[channels]
    if (colour == "gray") != (channels == 1):
        raise ConfigError(f"--input says {colour}, and {source} takes {channels} channels")
    if len(scale) > channels:
        raise ConfigError(f"--input: {len(scale)} values of mean and deviation for {channels} channel")
    by_channel = scale if len(set(scale)) > 1 or len(set(offset)) > 1 else ()
    network.prepend(shape, layout, by_channel, offset if by_channel else ())
    written = "by channel, inside the network" if by_channel else f"pixel * {scale[0]:.6g} + {offset[0]:.6g}"
    notes.append(f"input: {height} x {width} {colour}, {layout}, {written}")
    detail = min(max(facts.detail or max(height, width), 16), 512)
    return InputSpec.model_validate(
        {
            "height": height, "width": width, "channels": channels, "colour": colour,
            "scale": 1.0 if by_channel else scale[0], "offset": 0.0 if by_channel else offset[0],
            "crop": CropSpec(margin=facts.margin, shift=facts.shift, detail=detail),
        }
    )  # fmt: skip


def _range(source: Path, network: NetworkFile, text: InputText) -> tuple[tuple[float, ...], tuple[float, ...]]:
    if text.scale is not None and text.offset is not None:
        return text.scale, text.offset
    if network.own_range is None:
        raise ConfigError(
            f"{source} does not show the range of the values that it takes: give it, such as --input 0..1 for "
            "pixels / 255 (or -1..1, 0..255, imagenet)"
        )
    return network.own_range[:1], network.own_range[1:]


def _written(
    network: NetworkFile, facts: Facts, spec: InputSpec, source: Path, folder: Path, notes: Sequence[str]
) -> Imported:
    """Write the file, and check that it gives as many values as there are labels."""
    file = folder / f"{facts.name}.{network.format}"
    file.write_bytes(network.content())
    manifest = _manifest(network, facts, spec, source, file)
    imported = Imported(file, manifest, tuple(notes))
    backend = backend_of(imported)
    if backend.output_shapes != ((len(facts.labels),),):
        count = " and ".join(" x ".join(map(str, shape)) for shape in backend.output_shapes)
        raise ConfigError(
            f"{source} gives {count} values, and --labels has {len(facts.labels)}: {', '.join(facts.labels)}"
        )
    check_shapes(manifest, backend)
    taken, given = backend.types  # type: ignore[attr-defined]
    entry = manifest.files[0].model_copy(update={"input_type": taken, "output_type": given})
    return Imported(file, manifest.model_copy(update={"files": (entry,)}), tuple(notes))


def _probe(imported: Imported) -> FloatArray:
    """The model's outputs, PROBES x ..., for the drawn faces of the self-test."""
    spec = imported.manifest.input
    return backend_of(imported).run(normalise(self_test_inputs(spec, range(PROBES)), spec))[0]


def _manifest(network: NetworkFile, facts: Facts, spec: InputSpec, source: Path, file: Path) -> ModelManifest:
    return ModelManifest(
        schema=1,
        name=facts.name,
        version=facts.version,
        task="emotion-classification",
        input=spec,
        labels=facts.labels,
        own_labels=facts.own_labels or None,
        files=(
            ModelFile(
                format=network.format, precision=network.precision, file=file.name, sha256=sha256(file),
                input_type="float32", output_type="float32",
            ),
        ),
        licence=facts.licence,
        intended_use=INTENDED_USE,
        limits=LIMITS,
        calibration=Calibration(
            class_prior=(1 / len(facts.labels),) * len(facts.labels),
            operating_points={PLAIN: OperatingPoint()},
            default=PLAIN,
        ),
        training=Training(
            dataset="not stated", protocol="not stated", recipe=f"imported from {source.name}", seed=0, epochs=0,
            start="not stated", commit="not stated",
        ),
        metrics={},
    )  # fmt: skip


def _with_figures(manifest: ModelManifest, measured: Measured) -> ModelManifest:
    points = dict(manifest.calibration.operating_points)
    if measured.temperature is not None:
        points[CALIBRATED] = OperatingPoint(temperature=measured.temperature)
    calibration = manifest.calibration.model_copy(update={"operating_points": points})
    return manifest.model_copy(update={"calibration": calibration, "metrics": measured.metrics})


def _by(sizes: Sequence[int | None]) -> str:
    return " x ".join("any" if size is None else str(size) for size in sizes)
