"""Faces of pictures without labels, and teachers' predictions for them, cached and used in training."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from support.fer_files import fer_plus

from edge_emotion.detectors.scripted import ScriptedDetector
from edge_emotion.factory.models import make_classifier, make_detector
from edge_emotion.labels import EMOTIONS
from edge_emotion.models.preprocess import align
from train.data.faces import DataError, DataSet, Faces
from train.data.layouts import FaceFinder
from train.data.pictures import cut_faces
from train.data.pseudo_labels import LABELLED, PseudoLabels, add_pseudo_labels, mean_answer, read_pseudo_labels

RANDOM = np.random.default_rng(7)


def faces(count: int, seed: int) -> Faces:
    random = np.random.default_rng(seed)
    votes = random.dirichlet(np.ones(8), count).astype(np.float32)
    return Faces(random.integers(0, 256, (count, 48, 48)).astype(np.uint8), votes, np.ones(count, np.bool_))


def labelled(images: np.ndarray, path: Path, classes: tuple[str, ...] = EMOTIONS) -> np.ndarray:
    answers = RANDOM.dirichlet(np.ones(len(classes)), len(images)).astype(np.float32)
    PseudoLabels(images, answers, classes, ("tiny (sha256 0123456789ab)",)).write(path)
    return answers


@pytest.fixture
def data() -> DataSet:
    return DataSet("noise", "majority", EMOTIONS, {"train": faces(6, 1), "validation": faces(3, 2)})


# Cutting faces


def test_faces_are_cut_as_the_runtime_cuts_them(astronaut: np.ndarray, tmp_path: Path) -> None:
    detector = make_detector("blazeface_back")
    crop = make_classifier("tiny").manifest.input.crop
    assert crop is not None
    (tmp_path / "below").mkdir()
    cv2.imwrite(str(tmp_path / "below" / "a.png"), astronaut)
    cv2.imwrite(str(tmp_path / "b.png"), np.full((200, 200, 3), 128, np.uint8))
    (tmp_path / "c.jpg").write_bytes(b"broken")
    cut = cut_faces(tmp_path, FaceFinder("blazeface_back", lambda: make_detector("blazeface_back"), crop), 48)
    assert (cut.pictures, cut.without_face, cut.unreadable) == (3, 1, 1)
    expected = cv2.cvtColor(align(astronaut, detector.detect(astronaut)[0], crop), cv2.COLOR_BGR2GRAY)
    assert np.array_equal(cut.images[0], expected)


def test_a_folder_without_faces_is_an_error(tmp_path: Path) -> None:
    finder = FaceFinder("none", lambda: ScriptedDetector([]), make_classifier("tiny").manifest.input.crop)  # type: ignore[arg-type]
    with pytest.raises(DataError, match="holds no pictures"):
        cut_faces(tmp_path, finder, 48)
    cv2.imwrite(str(tmp_path / "a.png"), np.zeros((60, 60, 3), np.uint8))
    with pytest.raises(DataError, match="no face found in 1 pictures"):
        cut_faces(tmp_path, finder, 48)


# The file


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    images = faces(5, 3).images
    answers = labelled(images, tmp_path / "f.npz")
    found = read_pseudo_labels(tmp_path / "f.npz")
    assert np.array_equal(found.images, images) and found.answers is not None
    assert np.allclose(found.answers, answers) and found.classes == EMOTIONS
    assert found.teachers == ("tiny (sha256 0123456789ab)",)
    assert [path.name for path in tmp_path.iterdir()] == ["f.npz"]


def test_a_damaged_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "f.npz"
    with pytest.raises(DataError, match=r"cannot read faces from .*f\.npz"):
        read_pseudo_labels(path)
    labelled(faces(5, 3).images, path)
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(DataError, match=r"cannot read faces from .*f\.npz"):
        read_pseudo_labels(path)
    np.savez(path, images=faces(2, 3).images, answers=np.full((2, 8), np.nan), classes=EMOTIONS, teachers=())
    with pytest.raises(DataError, match="answers are not 2 distributions over 8 classes"):
        read_pseudo_labels(path)


def test_the_mean_answer_is_of_probabilities() -> None:
    first, second = np.array([[0.0, 0.0]], np.float32), np.array([[np.log(3), 0.0]], np.float32)
    assert mean_answer([first, second]) == pytest.approx(np.array([[0.625, 0.375]]))


# Learning from it


def test_known_faces_share_their_votes_and_others_are_added(data: DataSet, tmp_path: Path) -> None:
    train, more = data["train"], faces(4, 9)
    known = labelled(train.images[[4, 1]], tmp_path / "known.npz")
    fresh = labelled(more.images, tmp_path / "fresh.npz")
    merged = add_pseudo_labels(data, [tmp_path / "known.npz", tmp_path / "fresh.npz"], 0.7)
    votes = merged["train"].votes
    assert len(votes) == 10
    assert np.allclose(votes[[4, 1]], 0.3 * train.votes[[4, 1]] + 0.7 * known)
    assert np.array_equal(votes[[0, 2, 3, 5]], train.votes[[0, 2, 3, 5]])
    assert np.allclose(votes[6:], fresh) and np.array_equal(merged["train"].images[6:], more.images)
    assert merged["validation"] is data["validation"]
    assert merged.name.startswith(f"noise{LABELLED}2 faces (known.npz, sha256 ") and "4 faces (fresh.npz" in merged.name


def test_what_does_not_fit_the_data_set_is_refused(data: DataSet, tmp_path: Path) -> None:
    path = tmp_path / "f.npz"
    PseudoLabels(faces(2, 3).images).write(path)
    with pytest.raises(DataError, match="faces without answers: 'python -m train pseudo-label' gives them"):
        add_pseudo_labels(data, [path], 0.5)
    labelled(faces(2, 3).images, path, EMOTIONS[:7])
    with pytest.raises(DataError, match="contempt"):
        add_pseudo_labels(data, [path], 0.5)
    labelled(np.zeros((2, 96, 96), np.uint8), path)
    with pytest.raises(DataError, match="its faces are of 96 x 96, those of noise of 48 x 48"):
        add_pseudo_labels(data, [path], 0.5)


def test_faces_that_the_data_set_measures_with_are_not_learned_from(data: DataSet, tmp_path: Path) -> None:
    from train.data.duplicates import drop_copies

    leaked = labelled(np.concatenate([data["validation"].images, faces(2, 11).images]), tmp_path / "f.npz")
    merged, _ = drop_copies(add_pseudo_labels(data, [tmp_path / "f.npz"], 0.5), near=False)
    assert len(merged["train"]) == 8
    assert np.allclose(merged["train"].votes[6:], leaked[3:])


@pytest.mark.usefixtures("shallow_tiny")
def test_a_run_learns_from_the_answers_of_a_shipped_model(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("tf_keras")
    from train.commands.cli import main
    from train.runs.run_directory import load_run

    folder, crops, answers = fer_plus(tmp_path / "fer", per_class=4), tmp_path / "c.npz", tmp_path / "a.npz"
    PseudoLabels(faces(40, 5).images).write(crops)
    assert main(["pseudo-label", "tiny", "--crops", str(crops), "--out", str(answers)]) == 0
    expected = make_classifier("tiny")
    found = read_pseudo_labels(answers)
    assert found.answers is not None and found.teachers[0].startswith(f"tiny {expected.manifest.version} (sha256 ")
    run = ["fit", "--recipe", "tiny", "--data", str(folder), "--run", str(tmp_path / "run"), "--epochs", "1"]
    assert main([*run, "--set", "batch_size=8", "--set", "copies=exact", "--pseudo-labels", str(answers)]) == 0
    record = load_run(tmp_path / "run").record
    assert "pseudo-labels of 40 faces (a.npz, sha256 " in record["dataset"]
    assert record["recipe"]["distill"] == 0.7
    assert main(["pseudo-label", "tiny", "--out", str(answers)]) == 2
    assert "give either --data or --crops" in capsys.readouterr().err


def test_answers_of_both_views_are_averaged(tmp_path: Path) -> None:
    pytest.importorskip("tf_keras")
    from train.commands.cli import main

    crops, both, one = (tmp_path / name for name in ("c.npz", "both.npz", "one.npz"))
    images = faces(3, 5).images
    PseudoLabels(images).write(crops)
    assert main(["pseudo-label", "tiny", "--crops", str(crops), "--out", str(both)]) == 0
    halves = []
    for turned in (images, images[:, :, ::-1]):
        PseudoLabels(np.ascontiguousarray(turned)).write(crops)
        assert main(["pseudo-label", "tiny", "--crops", str(crops), "--no-mirror", "--out", str(one)]) == 0
        halves.append(read_pseudo_labels(one).answers)
    assert np.allclose(read_pseudo_labels(both).answers, np.mean(halves, axis=0), atol=1e-6)


def test_a_student_keeps_the_fingerprint_of_what_is_held_out(data: DataSet, tmp_path: Path) -> None:
    labelled(faces(2, 3).images, tmp_path / "f.npz")
    merged = add_pseudo_labels(data, [tmp_path / "f.npz"], 0.5)
    assert merged.fingerprint(["validation"]) == data.fingerprint(["validation"])
    assert replace(merged, name=data.name).fingerprint(["train"]) != data.fingerprint(["train"])
