"""Logits of face crops, by anything that runs a model. Needs no TensorFlow: devices measure themselves by it."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from edge_emotion.models.manifest import InputSpec
from edge_emotion.models.preprocess import normalise, to_input
from edge_emotion.protocols import FloatArray, InferenceBackend
from train.data.faces import Faces

BATCH = 64


def model_pixels(images: npt.NDArray[np.uint8], spec: InputSpec) -> npt.NDArray[np.uint8]:
    """Face crops N x h x w (x 3) as the model takes them: uint8 N x H x W x C, by the runtime's preprocessing."""
    return np.stack([to_input(image, spec) for image in images])


def logits_of(backend: InferenceBackend, faces: Faces, spec: InputSpec) -> FloatArray:
    """Logits of already cropped faces: N x L. What the model takes is in memory for one batch at a time."""
    batches = (faces.images[i : i + BATCH] for i in range(0, len(faces), BATCH))
    return np.concatenate([backend.run(normalise(model_pixels(images, spec), spec))[0] for images in batches])
