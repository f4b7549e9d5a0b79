from __future__ import annotations

import numpy as np
import pytest

from edge_emotion.labels import EMOTIONS
from train.data.faces import DataError
from train.evaluation.metrics import (
    balanced_accuracy,
    bootstrap_interval,
    calibration_error,
    confusion,
    fit_temperature,
    macro_f1,
    mcnemar,
    measure,
    wilson_interval,
)
from train.evaluation.model_figures import Figures, compute_figures, reliability, subset_figures
from train.evaluation.operating_points import (
    Choice,
    CurvePoint,
    adjust,
    choose_operating_points,
    choose_point,
    operating_curve,
)

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


def sure(predicted: np.ndarray, classes: int = 3) -> np.ndarray:
    return np.eye(classes)[predicted] * 2.0


def test_the_figures_are_those_computed_by_hand() -> None:
    figures = compute_figures(TRUTH, sure(PREDICTED), ("a", "b", "c"))
    assert (figures.n, figures.classes) == (6, ("a", "b", "c"))
    assert figures.confusion == ((2, 1, 0), (0, 2, 0), (1, 0, 0))
    assert figures.rates.tolist() == [[pytest.approx(2 / 3), pytest.approx(1 / 3), 0], [0, 1, 0], [1, 0, 0]]
    assert figures.accuracy == pytest.approx(4 / 6, abs=1e-4)
    assert figures.balanced_accuracy == pytest.approx((2 / 3 + 1 + 0) / 3, abs=1e-4)
    assert figures.macro_f1 == pytest.approx((4 / 6 + 4 / 5 + 0) / 3, abs=1e-4)
    confidence = np.exp(2) / (np.exp(2) + 2)
    assert figures.ece == pytest.approx(confidence - 4 / 6, abs=1e-4)
    assert figures.nll == pytest.approx(-(4 * np.log(confidence) + 2 * np.log(confidence / np.exp(2))) / 6, abs=1e-4)
    (place,) = figures.reliability
    assert place.confidence == pytest.approx(confidence, abs=1e-4)
    assert (place.accuracy, place.count) == (pytest.approx(0.6667, abs=1e-4), 6)


def test_a_class_has_precision_recall_and_f1() -> None:
    figures = compute_figures(TRUTH, sure(PREDICTED), ("a", "b", "c"))
    a, b, c = (figures.per_class[name] for name in "abc")
    assert (a.n, a.precision, a.recall, a.f1) == (3, 0.66667, 0.66667, 0.66667)
    assert (b.n, b.precision, b.recall, b.f1) == (2, 0.66667, 1.0, 0.8)
    assert (c.n, c.precision, c.recall, c.f1) == (1, None, 0.0, 0.0)


def test_figures_go_through_json() -> None:
    figures = compute_figures(TRUTH, sure(PREDICTED), ("a", "b", "c"))
    assert Figures.model_validate_json(figures.model_dump_json()) == figures


def test_nothing_is_said_of_a_class_that_does_not_occur() -> None:
    absent = compute_figures(np.array([0, 1]), sure(np.array([0, 1])), ("a", "b", "c"))
    assert absent.per_class["c"].model_dump() == dict.fromkeys(("precision", "recall", "f1", "interval")) | {"n": 0}
    assert (absent.balanced_accuracy, absent.macro_f1) == (1.0, 1.0)


def test_no_face_at_all_is_an_error() -> None:
    with pytest.raises(DataError, match="no face of a, b"):
        compute_figures(np.zeros(0, np.int64), np.zeros((0, 2)), ("a", "b"))


def test_seven_class_balance_leaves_out_contempt() -> None:
    contempt = EMOTIONS.index("contempt")
    truth = np.array([*range(8), contempt])
    predicted = np.where(truth == contempt, 0, truth)
    figures = compute_figures(truth, sure(predicted, 8), EMOTIONS)
    assert figures.balanced_accuracy == pytest.approx(7 / 8)
    assert figures.balanced_accuracy_7 == 1.0
    assert figures.balanced_accuracy_7_interval == (1.0, 1.0)
    assert compute_figures(TRUTH, sure(PREDICTED), ("a", "b", "c")).balanced_accuracy_7 is None


def test_intervals_of_means_agree_with_resampling_the_faces() -> None:
    generator = np.random.default_rng(3)
    truth = generator.choice(3, 300, p=(0.7, 0.25, 0.05))
    predicted = np.where(generator.uniform(size=300) < 0.7, truth, generator.choice(3, 300))
    figures = compute_figures(truth, sure(predicted), ("a", "b", "c"))
    rows = generator.integers(0, 300, (3000, 300))
    matrices = np.stack([confusion(truth[some], predicted[some], 3) for some in rows])
    for ours, values in (
        (figures.balanced_accuracy_interval, balanced_accuracy(matrices)),
        (figures.macro_f1_interval, macro_f1(matrices)),
    ):
        assert ours == pytest.approx(tuple(np.quantile(values, (0.025, 0.975))), abs=0.012)


def test_the_second_guess_counts_for_top_2() -> None:
    logits = np.array([[3.0, 2, 1], [1, 2, 3], [3, 2, 1], [2, 3, 1]])
    figures = compute_figures(np.array([1, 0, 0, 2]), logits, ("a", "b", "c"))
    assert figures.top2 == 0.5
    assert figures.top2_interval == (0.0, 1.0)  # of four draws with a chance of a half, 6 % are all hits


def test_the_interval_of_a_share_is_wilsons() -> None:
    # Newcombe 1998, table I: 81 of 263, 15 of 148, 0 of 20, 1 of 29.
    published = {
        (81, 263): (0.2553, 0.3662),
        (15, 148): (0.0624, 0.1605),
        (0, 20): (0, 0.1611),
        (1, 29): (0.0061, 0.1718),
    }
    for (hits, n), interval in published.items():
        assert wilson_interval(hits, n) == pytest.approx(interval, abs=5e-5)


def test_reliability_bins_hold_confidence_accuracy_and_count() -> None:
    probabilities = np.array([[0.95, 0.05], [0.91, 0.09], [0.62, 0.38], [0.3, 0.7]])
    bins = reliability(probabilities, np.array([0, 1, 0, 1]))
    assert [(b.confidence, b.accuracy, b.count) for b in bins] == [(0.62, 1, 1), (0.7, 1, 1), (0.93, 0.5, 2)]


def test_a_subset_is_told_apart_by_its_own_logits() -> None:
    labels = ("neutral", "happiness", "surprise", "sadness", "anger")
    logits = np.array([[9.0, 1, 0, 2, 3], [9, 4, 0, 2, 3], [9, 0, 5, 0, 0], [9, 0, 0, 4, 3]])
    figures = subset_figures(np.array([4, 1, 2, 4]), logits, labels, ("anger", "happy", "sadness"))
    assert figures.classes == ("happiness", "sadness", "anger")
    assert figures.confusion == ((1, 0, 0), (0, 0, 0), (0, 1, 1))


def test_two_models_are_compared_by_the_faces_that_only_one_has_right() -> None:
    # 1 against 9 of 10 fair coins: 2 * (1 + 10) / 1024.
    a = np.array([True] * 9 + [False] + [True] * 50 + [False] * 7)
    b = np.array([False] * 9 + [True] + [True] * 50 + [False] * 7)
    assert mcnemar(a, b) == mcnemar(b, a) == pytest.approx(22 / 1024)
    assert mcnemar(a, a) == 1.0
    assert mcnemar(a[8:], b[8:]) == 1.0


def test_mcnemar_is_exact_for_thousands_of_faces() -> None:
    stats = pytest.importorskip("scipy.stats")
    a, b = np.arange(4000) < 2100, np.arange(4000) >= 2100
    assert mcnemar(a, b) == pytest.approx(stats.binomtest(1900, 4000).pvalue, rel=1e-9)


PRIOR = np.array([0.8, 0.15, 0.05])
SKEWED = np.array([0] * 80 + [1] * 15 + [2] * 5)


def skewed_logits(shift: float) -> np.ndarray:
    """Every rare face leads by ``shift`` on its class, but the prior speaks for class 0."""
    return np.eye(3)[SKEWED] * shift + np.log(PRIOR)


def test_the_curve_finds_what_the_prior_hides() -> None:
    curve = operating_curve(skewed_logits(2.0), SKEWED, PRIOR, (0.0, 0.5, 1.0))
    # At 0 a lead of 2 beats log(0.8 / 0.15) = 1.67 but not log(0.8 / 0.05) = 2.77; at half strength it beats both.
    assert curve == [(0.0, 0.95, pytest.approx(2 / 3)), (0.5, 1.0, 1.0), (1.0, 1.0, 1.0)]


def test_the_curve_counts_only_the_columns_that_it_is_told() -> None:
    (point,) = operating_curve(skewed_logits(2.0), SKEWED, PRIOR, (0.0,), columns=(0, 1))
    assert point == (0.0, 0.95, 1.0)


def test_a_point_is_chosen_within_the_allowed_loss_of_accuracy() -> None:
    curve = [CurvePoint(0.0, 0.860, 0.70), CurvePoint(0.25, 0.858, 0.73), CurvePoint(0.5, 0.84, 0.77)]
    curve += [CurvePoint(0.75, 0.821, 0.80), CurvePoint(1.0, 0.75, 0.83)]
    assert choose_point(curve, Choice(0.003, 0)).strength == 0.25
    assert choose_point(curve, Choice(0.04, 0)).strength == 0.75
    assert choose_point(curve, Choice(0.0, 0)).strength == 0.0


def test_a_lucky_point_of_the_curve_is_not_chosen_when_neighbours_count() -> None:
    balanced = (0.70, 0.84, 0.70, 0.78, 0.80, 0.81, 0.80, 0.79)
    curve = [CurvePoint(i / 10, 0.86, value) for i, value in enumerate(balanced)]
    assert choose_point(curve, Choice(0.04, 0)).strength == 0.1
    assert choose_point(curve, Choice(0.04, 1)).strength == 0.5


def test_operating_points_carry_the_temperature_of_their_adjusted_logits() -> None:
    generator = np.random.default_rng(1)
    prior = np.array([0.85, 0.1, 0.05])
    calm = generator.normal(0, 1.5, (20_000, 3)) + np.log(prior)
    probabilities = np.exp(calm) / np.exp(calm).sum(axis=1, keepdims=True)
    truth = (generator.uniform(size=(20_000, 1)) > probabilities.cumsum(axis=1)).sum(axis=1)
    points = choose_operating_points(calm * 1.7, truth, prior, ("neutral", "anger", "fear"))
    assert list(points) == ["accurate", "balanced"]
    assert points["accurate"].prior_strength < points["balanced"].prior_strength
    for point in points.values():
        adjusted = adjust(calm * 1.7, prior, point.prior_strength)
        assert point.temperature == fit_temperature(adjusted, truth)
    assert adjust(calm, prior, 1.0, 2.0) == pytest.approx((calm - np.log(prior)) / 2)
