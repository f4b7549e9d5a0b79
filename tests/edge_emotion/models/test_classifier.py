from __future__ import annotations

import numpy as np
import pytest
from support.values import face, frame

from edge_emotion.backends.constant import ConstantBackend
from edge_emotion.errors import ConfigError, ModelError
from edge_emotion.factory.models import make_classifier
from edge_emotion.labels import EMOTIONS
from edge_emotion.models.classifier import EmotionClassifier
from edge_emotion.models.manifest import Calibration, ModelManifest, OperatingPoint

LOGITS = np.array([1.0, 2.0, 0.5, 0.0, -1.0, -2.0, -0.5, -3.0], np.float32)


@pytest.fixture(scope="module")
def manifest() -> ModelManifest:
    """The shipped one, with a calibration whose effects can be computed by hand."""
    prior = (0.3, 0.3, 0.1, 0.1, 0.1, 0.05, 0.03, 0.02)
    points = {"plain": OperatingPoint(), "cold": OperatingPoint(prior_strength=0.5, temperature=0.5)}
    calibration = Calibration(class_prior=prior, operating_points=points, default="plain")
    return make_classifier("mobilenet_v2").manifest.model_copy(update={"calibration": calibration})


def constant(shape: tuple[int, ...] = (96, 96, 1), logits: np.ndarray = LOGITS) -> ConstantBackend:
    return ConstantBackend(shape, [logits])


def test_scores_are_the_softmax_of_the_logits(manifest: ModelManifest) -> None:
    (result,) = EmotionClassifier(manifest, constant()).scores(LOGITS[None])
    expected = np.exp(LOGITS) / np.exp(LOGITS).sum()
    assert result.labels == EMOTIONS
    assert result.probabilities == pytest.approx(expected, abs=1e-6)


def test_an_operating_point_adjusts_by_prior_and_temperature(manifest: ModelManifest) -> None:
    (result,) = EmotionClassifier(manifest, constant(), operating_point="cold").scores(LOGITS[None])
    adjusted = (LOGITS - 0.5 * np.log(manifest.calibration.class_prior)) / 0.5
    assert result.probabilities == pytest.approx(np.exp(adjusted) / np.exp(adjusted).sum(), abs=1e-6)


def test_a_class_subset_is_renormalised(manifest: ModelManifest) -> None:
    (all_of_them,) = EmotionClassifier(manifest, constant()).scores(LOGITS[None])
    (three,) = EmotionClassifier(manifest, constant(), classes=["happy", "sad", "angry"]).scores(LOGITS[None])
    assert three.labels == ("happiness", "sadness", "anger")
    assert sum(three.probabilities) == pytest.approx(1)
    before, after = all_of_them.as_dict(), three.as_dict()
    assert after["happiness"] / after["sadness"] == pytest.approx(before["happiness"] / before["sadness"])


def test_all_due_faces_are_one_batch(manifest: ModelManifest) -> None:
    backend = constant()
    faces = [face(100), face(200), face(300)]
    assert len(EmotionClassifier(manifest, backend).classify(frame(0).image, faces)) == 3
    assert backend.batch_sizes == [3]


def test_no_faces_cost_nothing(manifest: ModelManifest) -> None:
    backend = constant()
    assert EmotionClassifier(manifest, backend).classify(frame(0).image, []) == []
    assert backend.batch_sizes == []


def test_huge_logits_do_not_overflow(manifest: ModelManifest) -> None:
    (result,) = EmotionClassifier(manifest, constant()).scores(LOGITS[None] * 1e4)
    assert result.emotion == "happiness"
    assert result.confidence == pytest.approx(1)


def test_an_unknown_operating_point_lists_the_known_ones(manifest: ModelManifest) -> None:
    with pytest.raises(ConfigError, match=r"'hot'; it has: plain, cold"):
        EmotionClassifier(manifest, constant(), operating_point="hot")


@pytest.mark.parametrize(
    ("backend", "message"),
    [
        (constant(shape=(48, 48, 1)), "takes 48 x 48 x 1 pixels, its manifest says 96 x 96 x 1"),
        (constant(logits=LOGITS[:7]), "gives 7 values, its manifest lists 8 labels"),
    ],
)
def test_a_model_of_another_shape_is_refused(manifest: ModelManifest, backend: ConstantBackend, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        EmotionClassifier(manifest, backend)
