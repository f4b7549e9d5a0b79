"""Other data sets: reading them, figures over persons, and the operating point that is fitted to them."""

from __future__ import annotations

import argparse
import zipfile
from pathlib import Path

import cv2
import numpy as np
import pytest
from support.paths import SHARED

from edge_emotion.backends.constant import ConstantBackend
from edge_emotion.datatypes import EmotionScores
from edge_emotion.errors import ConfigError, ModelError
from edge_emotion.factory.models import make_classifier, make_detector
from edge_emotion.labels import EMOTIONS
from edge_emotion.models.classifier import EmotionClassifier, softmax
from edge_emotion.models.folder import find_model, load_manifest, parse_manifest
from edge_emotion.models.manifest import Calibration, ModelManifest, OperatingPoint
from train.data.faces import DataError, Faces
from train.data.layouts import FaceFinder
from train.evaluation.acted import (
    ACTED,
    CROWD,
    ECE_LIMITS,
    NATURAL,
    Sample,
    fit_expressive,
    fit_points,
    with_temperature,
)
from train.evaluation.elsewhere import Elsewhere, load_elsewhere
from train.evaluation.elsewhere_figures import measure_elsewhere, measure_points, person_interval
from train.evaluation.elsewhere_options import add_elsewhere_options, read_elsewhere
from train.evaluation.metrics import bootstrap_interval, calibration_error
from train.evaluation.operating_points import apply_point

PRIOR = (0.3, 0.25, 0.12, 0.12, 0.1, 0.04, 0.05, 0.02)


def write_set(folder: Path) -> Path:
    """Two persons, three frames each."""
    for emotion, person, level in (("happy", "S010_004", 40), ("anger", "Anna_Maria", 200)):
        (folder / emotion).mkdir(parents=True)
        for number in range(3):
            picture = np.full((60, 48, 3), level + number, np.uint8)
            cv2.imwrite(str(folder / emotion / f"{person}_000{number}.png"), picture)
    return folder


def some_set(truth: list[str], persons: list[str] | None = None) -> Elsewhere:
    labels = np.eye(8, dtype=np.float32)[[EMOTIONS.index(name) for name in truth]]
    faces = Faces(np.zeros((len(truth), 48, 48), np.uint8), labels, np.ones(len(truth), np.bool_))
    who = np.array(persons or [f"p{i}" for i in range(len(truth))])
    return Elsewhere("set", faces, who, len(truth) + 1, cropped=True)


# Reading


@pytest.mark.parametrize("packed", [False, True])
def test_a_folder_or_archive_of_emotions_is_read_with_its_persons(packed: bool, tmp_path: Path) -> None:
    path = write_set(tmp_path / "set")
    if packed:
        with zipfile.ZipFile(tmp_path / "set.zip", "w") as archive:
            for file in path.rglob("*.png"):
                archive.write(file, file.relative_to(path))
        path = tmp_path / "set.zip"
    found = load_elsewhere("acted", path, None)
    assert found.faces.images.shape == (6, 48, 48) and found.pictures == 6
    assert [EMOTIONS[label] for label in found.faces.labels] == ["anger"] * 3 + ["happiness"] * 3
    assert found.persons.tolist() == ["Anna_Maria"] * 3 + ["S010"] * 3


def test_faces_are_found_as_the_runtime_finds_them(astronaut: np.ndarray, tmp_path: Path) -> None:
    (tmp_path / "happy").mkdir()
    cv2.imwrite(str(tmp_path / "happy" / "a_1.png"), astronaut)
    cv2.imwrite(str(tmp_path / "happy" / "b_1.png"), np.full((99, 99, 3), 90, np.uint8))
    crop = make_classifier("tiny").manifest.input.crop
    assert crop is not None
    finder = FaceFinder("blazeface_back", lambda: make_detector("blazeface_back"), crop)
    found = load_elsewhere("natural", tmp_path, finder)
    assert (len(found.faces), found.pictures, found.persons.tolist()) == (1, 2, ["a"])


def test_what_is_no_set_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no face in 0 pictures"):
        load_elsewhere("x", tmp_path, None)
    with pytest.raises(DataError, match=r"cannot read .*x\.zip"):
        load_elsewhere("x", tmp_path / "x.zip", None)
    (tmp_path / "glee").mkdir()
    cv2.imwrite(str(tmp_path / "glee" / "a.png"), np.zeros((60, 60, 3), np.uint8))
    with pytest.raises(DataError, match=r"glee/a\.png: unknown label 'glee'"):
        load_elsewhere("x", tmp_path, None)
    (tmp_path / "glee" / "a.png").write_bytes(b"broken")
    with pytest.raises(DataError, match=r"glee/a\.png is not a readable image"):
        load_elsewhere("x", tmp_path, None)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--elsewhere", "a=x", "--cropped", "b"], "--cropped b: no such --elsewhere"),
        (["--elsewhere", "a=x", "--elsewhere", "a=y"], "a name is there twice"),
    ],
)
def test_options_that_contradict_each_other_are_refused(words: list[str], message: str) -> None:
    parser = argparse.ArgumentParser()
    add_elsewhere_options(parser, "any")
    with pytest.raises(ConfigError, match=message):
        read_elsewhere(parser.parse_args(words), make_classifier("tiny").manifest.input)


# Figures


def test_figures_count_false_alarms_only_where_the_model_is_sure() -> None:
    data = some_set(["neutral", "neutral", "neutral", "anger"])
    probabilities = np.full((4, 8), 0.05)
    for row, (column, value) in enumerate([(1, 0.65), (2, 0.3), (0, 0.65), (4, 0.65)]):
        probabilities[row, column] = value
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    figures = measure_elsewhere(probabilities, data)
    assert (figures.n, figures.pictures, figures.persons) == (4, 5, 4)
    assert figures.accuracy == 0.5 and figures.mean_recall == pytest.approx((1 / 3 + 1) / 2, abs=1e-4)
    assert figures.false_alarms == pytest.approx(1 / 3, abs=1e-4)
    assert figures.recall == {"neutral": 0.3333, "anger": 1.0} and figures.count["fear"] == 0
    assert measure_elsewhere(probabilities[3:], some_set(["anger"])).false_alarms is None


def test_the_interval_widens_where_few_persons_give_many_faces() -> None:
    right = np.random.default_rng(1).random(300) < 0.7
    alone = person_interval(right, np.arange(300).astype(str))
    assert alone == pytest.approx(bootstrap_interval(right), abs=0.012)
    ordered = np.sort(right)
    together = person_interval(ordered, np.repeat(np.arange(10), 30).astype(str))
    assert together[1] - together[0] > 2 * (alone[1] - alone[0])


def test_every_operating_point_is_measured_as_the_runtime_answers() -> None:
    manifest = make_classifier("tiny").manifest
    logits = np.array([0.0, 3.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0], np.float32)
    points = {
        "plain": OperatingPoint(),
        "angry": OperatingPoint(offsets={"anger": 4.0}),
    }
    calibration = Calibration(class_prior=PRIOR, operating_points=points, default="plain")
    classifier = EmotionClassifier(
        manifest.model_copy(update={"calibration": calibration}), ConstantBackend((48, 48, 1), [logits])
    )
    figures = measure_points(classifier, some_set(["anger", "happiness"]))
    assert figures["plain"].recall == {"happiness": 1.0, "anger": 0.0}
    assert figures["angry"].recall == {"happiness": 0.0, "anger": 1.0}


# Offsets in the manifest


def test_offsets_are_added_before_the_temperature_divides() -> None:
    manifest = make_classifier("tiny").manifest
    point = OperatingPoint(prior_strength=0.5, offsets={"fear": 1.5}, temperature=0.5)
    calibration = Calibration(class_prior=PRIOR, operating_points={"p": point}, default="p")
    changed = manifest.model_copy(update={"calibration": calibration})
    logits = np.linspace(-2, 2, 8, dtype=np.float32)
    (row,) = EmotionClassifier(changed, ConstantBackend((48, 48, 1), [logits])).scores(logits[None])
    shifted = logits - 0.5 * np.log(PRIOR)
    shifted[EMOTIONS.index("fear")] += 1.5
    assert row.probabilities == pytest.approx(softmax(shifted[None].astype(np.float64) / 0.5)[0])
    assert softmax(apply_point(logits[None], PRIOR, point, EMOTIONS))[0] == pytest.approx(row.probabilities)
    few = EmotionClassifier(changed, ConstantBackend((48, 48, 1), [logits]), classes=["fear", "anger"])
    assert few.scores(logits[None])[0].as_dict()["fear"] == pytest.approx(
        row.as_dict()["fear"] / (row.as_dict()["fear"] + row.as_dict()["anger"])
    )


def test_an_offset_of_a_stranger_is_refused_and_manifests_without_offsets_stay_valid() -> None:
    folder = find_model("tiny")
    manifest = load_manifest(folder)
    assert isinstance(manifest, ModelManifest)
    text = (folder / "manifest.json").read_text()
    wrong = text.replace('"prior_strength": 0.6,', '"prior_strength": 0.6, "offsets": {"boredom": 1.0},')
    assert wrong != text
    with pytest.raises(ModelError, match="operating point balanced has an offset for boredom, which is not a label"):
        parse_manifest(wrong, folder / "manifest.json")


# Fitting


def drawn(seed: int, counts: list[int], shift: dict[str, float], sharp: float) -> Sample:
    """Logits of a model that favours the right emotion, shifted by ``-shift`` and made overconfident by ``sharp``."""
    random = np.random.default_rng(seed)
    truth = np.repeat(np.arange(8), counts)
    logits = random.normal(0, 1.0, (len(truth), 8))
    logits[np.arange(len(truth)), truth] += 1.8
    for name, value in shift.items():
        logits[:, EMOTIONS.index(name)] -= value
    return Sample((logits * sharp).astype(np.float32), truth)


SAMPLES = {
    CROWD: drawn(1, [300, 200, 90, 90, 80, 20, 30, 10], {}, 1.0),
    NATURAL: drawn(2, [200, 150, 100, 50, 80, 0, 0, 0], {"anger": 0.5}, 1.5),
    ACTED: drawn(3, [0, 90, 100, 50, 70, 90, 40, 0], {"anger": 1.5, "neutral": -1.5}, 2.0),
}


def right(sample: Sample, point: OperatingPoint) -> float:
    predicted = apply_point(sample.logits, PRIOR, point, EMOTIONS).argmax(axis=1)
    return float((predicted == sample.truth).mean())


def test_the_expressive_point_hears_acted_faces_better_without_losing_the_natural_ones() -> None:
    balanced = OperatingPoint(prior_strength=0.2)
    point = fit_expressive(SAMPLES, PRIOR, balanced, EMOTIONS)
    assert point.offsets is not None and "neutral" not in point.offsets
    assert right(SAMPLES[ACTED], point) > right(SAMPLES[ACTED], balanced) + 0.02
    assert right(SAMPLES[NATURAL], point) > right(SAMPLES[NATURAL], balanced) - 0.02
    assert fit_expressive(SAMPLES, PRIOR, balanced, EMOTIONS) == point


def test_the_temperature_keeps_each_set_near_its_limit() -> None:
    point = with_temperature(SAMPLES, PRIOR, OperatingPoint(temperature=0.4), EMOTIONS)
    excess = {
        temperature: max(
            calibration_error(
                softmax(apply_point(one.logits, PRIOR, OperatingPoint(temperature=temperature), EMOTIONS)), one.truth
            )
            / ECE_LIMITS[key]
            for key, one in SAMPLES.items()
        )
        for temperature in (0.4, point.temperature, 1.9)
    }
    assert min(excess, key=lambda temperature: excess[temperature]) == point.temperature


def test_the_natural_point_keeps_what_it_says() -> None:
    points = {"accurate": OperatingPoint(prior_strength=0.1), "balanced": OperatingPoint(prior_strength=0.6)}
    fitted = fit_points(SAMPLES, PRIOR, points, EMOTIONS)
    assert list(fitted) == ["accurate", "balanced", "expressive"]
    assert {name: fitted[name].prior_strength for name in points} == {"accurate": 0.1, "balanced": 0.6}
    assert fitted["accurate"].offsets is None


def test_the_likely_emotions_hold_the_truth_nine_times_in_ten_on_every_set() -> None:
    points = {"accurate": OperatingPoint(prior_strength=0.1), "balanced": OperatingPoint(prior_strength=0.6)}
    for name, point in fit_points(SAMPLES, PRIOR, points, EMOTIONS).items():
        assert point.likely_from is not None
        for key, one in SAMPLES.items():
            answers = softmax(apply_point(one.logits, PRIOR, point, EMOTIONS))
            rows = [EmotionScores(EMOTIONS, tuple(row)).likely(point.likely_from) for row in answers.tolist()]
            held = np.mean([EMOTIONS[label] in row for label, row in zip(one.truth, rows, strict=True)])
            assert held >= 0.9 or (name == "accurate" and key == ACTED)
            assert all(row[0] == EMOTIONS[best] for best, row in zip(answers.argmax(axis=1), rows, strict=True))


def test_coverage_is_measured_where_a_manifest_names_likely_emotions() -> None:
    manifest = make_classifier("tiny").manifest
    logits = np.log([0.5, 0.3, 0.05, 0.05, 0.04, 0.03, 0.02, 0.01]).astype(np.float32)
    points = {"with": OperatingPoint(likely_from=0.2), "without": OperatingPoint()}
    calibration = Calibration(class_prior=PRIOR, operating_points=points, default="with")
    changed = manifest.model_copy(update={"calibration": calibration})
    classifier = EmotionClassifier(changed, ConstantBackend((48, 48, 1), [logits]))
    figures = measure_points(classifier, some_set(["neutral", "happiness", "anger", "anger"]))
    assert (figures["with"].coverage, figures["with"].likely) == (0.5, 2.0)
    assert figures["without"].coverage is None
    assert classifier.likely(classifier.scores(logits[None])[0]) == ("neutral", "happiness")


# The sets themselves


def test_the_development_sets_are_what_their_description_says() -> None:
    posed = SHARED / "elsewhere" / "posed.zip"
    if not posed.is_file():
        pytest.skip(f"no data set at {posed}")
    data = load_elsewhere("acted", posed, None)
    count = dict(zip(EMOTIONS, np.bincount(data.faces.labels, minlength=8).tolist(), strict=True))
    assert (len(data.faces), len(np.unique(data.persons))) == (981, 118)
    assert (count["surprise"], count["contempt"], count["neutral"]) == (249, 54, 0)
