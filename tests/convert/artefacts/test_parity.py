"""Verification of artefacts: comparison with the float model, its limits, and model folders measured again."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.model_folders import copy_with_first_file

from edge_emotion.errors import ModelError
from edge_emotion.models.folder import MANIFEST, find_model, load_manifest
from edge_emotion.models.manifest import ModelManifest

pytest.importorskip("tf_keras")

from support.paths import SHARED

from convert.artefacts.folder import recalibrate
from convert.artefacts.parity import compare_logits, require_parity, shortfalls
from convert.artefacts.verify import verify
from convert.cli import main
from train.data.faces import DataSet
from train.evaluation.acted import ACTED, NATURAL
from train.evaluation.elsewhere import daemon_finder, load_elsewhere
from train.evaluation.logits import logits_of
from train.recipes.recipe import FER_CROP


def logits(winners: list[int], margin: float = 4.0) -> Any:
    """Logits of which the given class wins by a margin."""
    return (np.eye(3)[winners] * margin).astype(np.float32)


def test_a_model_is_its_own_equal() -> None:
    rows, truth = logits([0, 1, 2, 1]), np.array([0, 1, 2, 2])
    parity = compare_logits("test", rows, rows, truth)
    assert (parity.n, parity.accuracy, parity.float_accuracy) == (4, 0.75, 0.75)
    assert (parity.agreement, parity.mean_difference, parity.max_difference, parity.p_value) == (1.0, 0.0, 0.0, 1.0)
    assert shortfalls("same", parity) == []


def test_what_differs_is_counted() -> None:
    """Eight faces of which the float model has all right and the artefact two wrong: McNemar's p is 2 / 2**2."""
    truth = np.array([0, 1, 2, 0, 1, 2, 0, 1])
    parity = compare_logits("test", logits([1, 2, *truth[2:]]), logits(list(truth)), truth)
    assert (parity.accuracy, parity.float_accuracy, parity.agreement) == (0.75, 1.0, 0.75)
    assert parity.p_value == pytest.approx(0.5)
    difference = np.exp(4) / (np.exp(4) + 2) - 1 / (np.exp(4) + 2)
    assert parity.max_difference == pytest.approx(difference, abs=1e-5)
    assert parity.mean_difference == pytest.approx(difference * 2 * 2 / (8 * 3), abs=1e-5)


def test_both_are_compared_at_the_operating_point() -> None:
    rows, truth = logits([0], margin=1.0), np.array([1])
    parity = compare_logits("test", rows, rows, truth, shift=np.array([2.0, 0.0, 1.0]), temperature=0.5)
    assert (parity.accuracy, parity.float_accuracy) == (1.0, 1.0)


def test_the_gate_names_every_shortfall() -> None:
    truth = np.arange(300) % 3
    worse = truth.copy()
    worse[:20] = (truth[:20] + 1) % 3
    parity = compare_logits("test", logits(list(worse)), logits(list(truth)), truth)
    with pytest.raises(ModelError) as caught:
        require_parity(
            {"a.tflite": parity, "b.tflite": compare_logits("test", logits(list(truth)), logits(list(truth)), truth)}
        )
    message = str(caught.value)
    assert "a.tflite is 6.67 points less accurate than the float model, allowed are 0.5" in message
    assert "a.tflite agrees with the float model on 93.3% of the faces, needed are 95%" in message
    assert "b.tflite" not in message


@pytest.mark.numeric
def test_every_way_to_run_a_folder_is_verified(fer_plus: DataSet, tmp_path: Path) -> None:
    """The int8 file by both kinds of kernels, against itself in place of a float model."""
    folder = copy_with_first_file("tiny", tmp_path / "tiny")
    manifest = load_manifest(folder)
    assert isinstance(manifest, ModelManifest)
    faces = fer_plus["validation"].majority().take(np.arange(200))
    from edge_emotion.factory.models import make_classifier

    reference = logits_of(make_classifier("tiny").backend, faces, manifest.input)
    verified = verify(manifest, folder, reference, faces, split="validation")
    assert list(verified) == ["tiny_int8.tflite (XNNPACK)", "tiny_int8.tflite (plain kernels)"]
    delegated, plain = verified.values()
    assert delegated.parity.agreement == 1.0
    assert plain.parity.agreement >= 0.95
    assert plain.file.operators["CONV_2D"] == 17
    assert plain.file.size_bytes == (folder / "tiny_int8.tflite").stat().st_size
    assert plain.file.activations == 24 * 24 * (24 + 96 + 96), "a skip, and what its depthwise layer reads and writes"
    shares = [np.mean(faces.labels == manifest.labels.index(name)) for name in delegated.recall]
    recalled = [ours for ours, _ in delegated.recall.values()]
    assert np.dot(shares, recalled) == pytest.approx(delegated.parity.accuracy, abs=1e-5)
    assert all(ours == exact for ours, exact in delegated.recall.values()), "it is its own reference here"
    with pytest.raises(ModelError, match="no file that tensorrt runs"):
        verify(manifest, folder, reference, faces, split="validation", backend="tensorrt")


def test_a_model_without_a_float_file_needs_its_run(
    fer_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = copy_with_first_file("tiny", tmp_path / "tiny")
    assert main(["verify", str(folder), "--data", str(fer_folder)]) == 2
    assert "tiny has no float file to compare with: give the training run as --run" in capsys.readouterr().err


def test_the_shipped_manifest_is_what_recalibrate_writes(fer_plus: DataSet, tmp_path: Path) -> None:
    """Operating points, golden set and figures of tiny, on this machine: identical, except where kernels may differ."""
    sets = SHARED / "elsewhere"
    if not sets.is_dir():
        pytest.skip(f"no data sets from elsewhere at {sets}")
    shipped = find_model("tiny")
    folder = Path(shutil.copytree(shipped, tmp_path / "tiny"))
    before = load_manifest(shipped)
    assert isinstance(before, ModelManifest)
    text, strength = (shipped / MANIFEST).read_text(), re.compile(r'("accurate": \{\s*"prior_strength": )[\d.]+')
    assert strength.search(text)
    (folder / MANIFEST).write_text(strength.sub(r"\g<1>0.5", text))
    elsewhere = {
        NATURAL: load_elsewhere(NATURAL, sets / "news.zip", daemon_finder(FER_CROP)),
        ACTED: load_elsewhere(ACTED, sets / "posed.zip", None),
    }
    assert recalibrate(str(folder), fer_plus, version=before.version, elsewhere=elsewhere) == folder
    after = load_manifest(folder)
    assert isinstance(after, ModelManifest)
    points = (before.calibration.operating_points, after.calibration.operating_points)
    for name, point in points[0].items():
        assert point.prior_strength == pytest.approx(points[1][name].prior_strength, abs=0.1)
        assert point.temperature == pytest.approx(points[1][name].temperature, abs=0.05)
        assert (point.offsets or {}) == pytest.approx(points[1][name].offsets or {}, abs=0.1)
    for key, figures in after.metrics.items():
        assert figures.accuracy == pytest.approx(before.metrics[key].accuracy, abs=0.01)
    assert all("float32" in key for key in before.metrics.keys() - after.metrics.keys()), "it cannot be measured anew"
    assert after.files[0].golden is not None
