from __future__ import annotations

import numpy as np
import pytest

from train.metrics import bootstrap_interval, calibration_error, confusion, fit_temperature, measure

TRUTH = np.array([0, 0, 0, 1, 1, 2])
PREDICTED = np.array([0, 0, 1, 1, 1, 0])


def certain(predicted: np.ndarray, confidence: float = 0.9) -> np.ndarray:
    rest = (1 - confidence) / 2
    return np.where(np.eye(3, dtype=bool)[predicted], confidence, rest)


def test_the_confusion_matrix_counts_truth_by_prediction() -> None:
    assert confusion(TRUTH, PREDICTED, 3).tolist() == [[2, 1, 0], [0, 2, 0], [1, 0, 0]]


def test_figures_are_those_computed_by_hand() -> None:
    figures = measure(TRUTH, certain(PREDICTED), ("a", "b", "c"))
    assert (figures.n, figures.count) == (6, {"a": 3, "b": 2, "c": 1})
    assert figures.accuracy == pytest.approx(4 / 6, abs=1e-4)
    assert figures.recall == {"a": pytest.approx(0.6667), "b": 1.0, "c": 0.0}
    assert figures.macro_f1 == pytest.approx((4 / 6 + 4 / 5 + 0) / 3, abs=1e-4)
    assert figures.ece == pytest.approx(0.9 - 4 / 6, abs=1e-4)


def test_a_class_that_does_not_occur_has_no_recall_and_does_not_count() -> None:
    figures = measure(np.array([0, 0, 1]), certain(np.array([0, 0, 1])), ("a", "b", "c"))
    assert figures.recall == {"a": 1.0, "b": 1.0}
    assert figures.macro_f1 == 1.0


def test_the_interval_agrees_with_the_normal_approximation() -> None:
    right = np.arange(3153) < 2696
    low, high = bootstrap_interval(right)
    p = right.mean()
    half = 1.96 * np.sqrt(p * (1 - p) / len(right))
    assert (low, high) == (pytest.approx(p - half, abs=0.002), pytest.approx(p + half, abs=0.002))


def test_calibrated_probabilities_have_no_error() -> None:
    generator = np.random.default_rng(0)
    confidence = generator.uniform(0.5, 1, 200_000)
    truth = (generator.uniform(size=200_000) > confidence).astype(np.int64)
    assert calibration_error(np.stack([confidence, 1 - confidence], axis=1), truth) < 0.005


def test_the_temperature_that_was_put_in_is_found() -> None:
    generator = np.random.default_rng(0)
    logits = generator.normal(0, 2, (20_000, 4))
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    truth = np.array([generator.choice(4, p=row) for row in probabilities])
    assert fit_temperature(logits * 1.7, truth) == pytest.approx(1.7, abs=0.05)
