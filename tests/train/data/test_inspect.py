"""Inspecting data: counts, copies within and across splits, agreement, pictures."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from edge_emotion.cli.terminal import add_debug, run_command

pytest.importorskip("pandas")

import train.data.duplicates
from train.commands.inspect_data import add_inspect, compare_labels, draw, inspect
from train.data.duplicates import drop_copies, find_copies, take_prints
from train.data.faces import DataError, DataSet, Faces
from train.data.inspection import CopyReport, Inspection, inspection_text
from train.data.layouts import load

Pixels = npt.NDArray[np.uint8]
CLASSES = "neutral", "happiness", "surprise"


@pytest.fixture(scope="module")
def faces(fer_plus: DataSet) -> Pixels:
    """40 faces, all different."""
    return fer_plus["test"].images[:40]


def labelled(images: Sequence[Pixels] | Pixels, labels: Sequence[int]) -> Faces:
    votes = np.eye(len(CLASSES), dtype=np.float32)[list(labels)]
    return Faces(np.stack(list(images)), votes, np.ones(len(votes), np.bool_))


def two_splits(train: Faces, test: Faces) -> DataSet:
    return DataSet("made up", "by hand", CLASSES, {"train": train, "test": test})


def report(found: Inspection, kind: str, first: str, second: str) -> CopyReport:
    return next(part for part in found.copies if (part.kind, part.first, part.second) == (kind, first, second))


def jpeg(image: Pixels) -> Pixels:
    return np.asarray(cv2.imdecode(cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 40])[1], 0), np.uint8)


# Copies


def test_faces_that_are_different_are_no_copies(faces: Pixels) -> None:
    prints = take_prints(labelled(faces, [0] * 40))
    assert {kind: found.pairs for kind, found in find_copies(prints, prints).items()} == {
        "exact": 0,
        "near": 0,
        "mirrored": 0,
    }


def test_each_kind_of_copy_is_found_across_splits_and_counted_once(faces: Pixels) -> None:
    darker = (faces[2] * 0.8).astype(np.uint8)
    copies = [faces[0], jpeg(faces[1]), darker, faces[3][:, ::-1], faces[30]]
    data = two_splits(labelled(faces[:20], [0] * 20), labelled(copies, [0, 1, 0, 1, 0]))
    found = inspect(data)
    counts = {
        part.kind: (part.pairs, part.in_first, part.in_second, part.disagree)
        for part in found.copies
        if (part.first, part.second) == ("train", "test")
    }
    assert counts == {"exact": (1, 1, 1, 0), "near": (2, 2, 2, 1), "mirrored": (1, 1, 1, 1)}


def test_copies_within_a_split_are_counted_by_face_and_by_pair(faces: Pixels) -> None:
    images = [faces[0], faces[0], faces[0], faces[1], jpeg(faces[1])]
    found = inspect(two_splits(labelled(images, [0, 0, 1, 2, 1]), labelled(faces[5:6], [0])))
    exact, near = report(found, "exact", "train", "train"), report(found, "near", "train", "train")
    assert (exact.pairs, exact.in_first, exact.in_second, exact.disagree) == (3, 3, 3, 3)
    assert (near.pairs, near.in_first, near.in_second, near.disagree) == (1, 2, 2, 2)


def test_only_faces_with_another_label_disagree(faces: Pixels) -> None:
    train = labelled([faces[0], faces[0], faces[1]], [0, 0, 0])
    found = inspect(two_splits(train, labelled([faces[0], faces[1]], [0, 1])))
    assert report(found, "exact", "train", "test").disagree == 1
    assert report(found, "exact", "train", "train").disagree == 0


def test_only_clear_copies_count_as_clear(faces: Pixels) -> None:
    test = replace(labelled(faces[:2], [0, 0]), clear=np.array([True, False]))
    part = report(inspect(two_splits(labelled(faces[:2], [0, 0]), test)), "exact", "train", "test")
    assert (part.in_second, part.clear) == (2, 1)


def test_pictures_of_one_colour_are_no_near_copies(faces: Pixels) -> None:
    flat = [np.full((48, 48), value, np.uint8) for value in (0, 90, 200)]
    found = inspect(two_splits(labelled(flat, [0, 1, 2]), labelled(faces[:1], [0])))
    assert report(found, "near", "train", "train").pairs == 0
    assert found.splits["train"].brightness.flat == 3 and found.splits["test"].brightness.flat == 0


def test_colour_pictures_are_compared_by_their_grey(faces: Pixels) -> None:
    grey = [cv2.cvtColor(jpeg(face), cv2.COLOR_GRAY2BGR) for face in faces[:3]]
    colour = labelled(grey, [0, 0, 0])
    assert find_copies(take_prints(labelled(faces[:3], [0, 0, 0])), take_prints(colour))["near"].second.all()


def test_tiles_change_nothing(fer_plus: DataSet, monkeypatch: pytest.MonkeyPatch) -> None:
    prints = take_prints(fer_plus["validation"].take(np.arange(1500)))
    whole = find_copies(prints, prints)
    monkeypatch.setattr(train.data.duplicates, "TILE", 333)
    tiled = find_copies(prints, prints)
    assert whole["near"].pairs > 0
    for kind in whole:
        assert whole[kind].pairs == tiled[kind].pairs
        assert np.array_equal(whole[kind].first, tiled[kind].first)
        assert np.array_equal(whole[kind].first_differs, tiled[kind].first_differs)


def test_training_copies_are_the_rows_to_leave_out(faces: Pixels) -> None:
    data = two_splits(labelled(faces[:10], [0] * 10), labelled([faces[7], jpeg(faces[4]), faces[2][:, ::-1]], [0] * 3))
    for near, copies in ((True, [2, 4, 7]), (False, [7])):
        clean, _ = drop_copies(data, near=near)
        assert np.array_equal(clean["train"].images, np.delete(faces[:10], copies, axis=0))


def test_copies_are_left_out_and_counted_by_kind(faces: Pixels) -> None:
    copies = [faces[7], jpeg(faces[7]), jpeg(faces[4]), faces[2][:, ::-1]]
    data = two_splits(labelled(faces[:20], [0] * 20), labelled(copies, [0] * 4))
    clean, line = drop_copies(data, near=True)
    assert np.array_equal(clean["train"].images, np.delete(faces[:20], [2, 4, 7], axis=0))
    assert clean["test"] is data["test"]
    assert line.startswith("left out 3 of 20 training faces") and line.endswith("1 exact, 1 near, 1 mirrored")
    exact, line = drop_copies(data, near=False)
    assert len(exact["train"]) == 19 and line.endswith("1 exact")


def test_without_copies_nothing_is_left_out_or_said(faces: Pixels) -> None:
    data = two_splits(labelled(faces[:10], [0] * 10), labelled(faces[10:20], [0] * 10))
    assert drop_copies(data, near=True) == (data, "")


def test_pictures_that_all_look_alike_are_not_left_out_as_copies(faces: Pixels) -> None:
    generator = np.random.default_rng(0)
    studio = [np.clip(faces[0] + generator.normal(0, 5, (48, 48)), 0, 255).astype(np.uint8) for _ in range(5)]
    data = two_splits(labelled([*studio[:3], *faces[1:8]], [0] * 10), labelled(studio[3:], [0, 0]))
    with pytest.raises(DataError, match=r"3 of 10 training faces .*--group-by session.*--set copies=exact"):
        drop_copies(data, near=True)
    assert len(drop_copies(data, near=False)[0]["train"]) == 10


def test_fer_plus_has_the_known_copies_across_its_splits(fer_plus: DataSet) -> None:
    found = inspect(fer_plus, near=False)
    assert report(found, "exact", "train", "validation").clear == 251
    assert report(found, "exact", "train", "test").clear == 259
    assert {part.kind for part in found.copies} == {"exact"}


# Counts, agreement, brightness


def test_counts_votes_and_agreement_of_a_split(faces: Pixels) -> None:
    votes = np.array([[0.5, 0.5, 0], [0, 1, 0], [0.2, 0.8, 0], [0, 0, 1]], np.float32)
    split = Faces(faces[:4], votes, np.array([False, True, True, True]))
    part = inspect(two_splits(split, labelled(faces[9:10], [0]))).splits["train"]
    assert part.n == 4 and part.clear == 3
    assert part.count == {"neutral": 1, "happiness": 2, "surprise": 1}
    assert part.clear_count == {"neutral": 0, "happiness": 2, "surprise": 1}
    assert part.votes == pytest.approx({"neutral": 0.7, "happiness": 2.3, "surprise": 1.0})
    assert part.agreement.winner_share == pytest.approx((0.5 + 1 + 0.8 + 1) / 4)
    assert part.agreement.by_class == pytest.approx({"neutral": 0.5, "happiness": 0.9, "surprise": 1.0})
    assert part.agreement.entropy == pytest.approx((1 + 0.7219) / 4, abs=1e-3)
    assert part.agreement.clear == 0.75 and part.agreement.histogram[5] == 0.25 and part.agreement.histogram[9] == 0.5


def test_brightness_is_in_grey_levels(faces: Pixels) -> None:
    halves = np.zeros((48, 48), np.uint8)
    halves[:, 24:] = 200
    light = inspect(two_splits(labelled([halves], [0]), labelled(faces[:1], [0]))).splits["train"].brightness
    assert (light.mean, light.contrast, light.mean_spread, light.flat) == (100, 100, 0, 0)


def test_a_second_labelling_is_compared_by_picture(faces: Pixels) -> None:
    ours = two_splits(labelled(faces[:4], [0, 1, 2, 0]), labelled(faces[9:10], [0]))
    theirs = two_splits(labelled(faces[[3, 2, 1, 0, 0, 5]], [1, 2, 1, 0, 0, 0]), labelled(faces[8:9], [0]))
    found = compare_labels(ours, theirs)
    assert (found.n, found.agree) == (3, 0.6667)  # face 0 is there twice, face 9 is not there
    assert found.confusion["neutral"] == {"neutral": 0, "happiness": 1, "surprise": 0}


def test_the_text_names_every_class_split_and_note(faces: Pixels) -> None:
    data = two_splits(labelled(faces[:6], [0, 0, 1, 1, 2, 2]), labelled(faces[:2], [0, 0]))
    text = inspection_text(inspect(replace(data, notes=("skipped 1 of 9 pictures",)), other=data))
    assert all(word in text for word in (*CLASSES, "train", "test", "skipped 1 of 9 pictures"))
    assert "2 faces of test (2 clear, 0 with another label), 2 of train" in text
    assert "100.0% of 8 clear faces" in text


# Pictures and the command


def test_the_contact_sheet_shows_faces_of_each_class_in_its_row(faces: Pixels) -> None:
    dark, light = np.full((48, 48), 10, np.uint8), np.full((48, 48), 240, np.uint8)
    data = two_splits(labelled([dark, light, light], [0, 2, 2]), labelled(faces[:1], [0]))
    drawn = draw(data, inspect(data))
    sheet = drawn["contact_sheet.png"]
    assert sheet.shape[0] == 2 * 68  # no row for happiness, of which there is no face
    assert sheet[30, 140].tolist() == [10] * 3 and sheet[68 + 30, 140 + 68].tolist() == [240] * 3
    assert sheet[30, 140 + 68].tolist() == [255] * 3
    assert drawn["histograms.png"].shape[2] == 3 and np.ptp(drawn["histograms.png"]) > 200


def run(*arguments: str | Path) -> int:
    parser = argparse.ArgumentParser()
    add_debug(parser)
    add_inspect(parser.add_subparsers(required=True))
    return run_command(parser.parse_args([*map(str, arguments)]))


@pytest.fixture
def folder(tmp_path: Path, faces: Pixels) -> Path:
    for number, image in enumerate(faces[:12]):
        place = tmp_path / "faces" / ("train", "val")[number % 2] / ("happy", "sad", "angry")[number % 3]
        place.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(place / f"{number}.png"), image)
    return tmp_path / "faces"


def test_the_command_prints_json_and_writes_no_picture_unasked(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    before = set(tmp_path.rglob("*"))
    assert run("inspect", folder, "--json") == 0
    found = Inspection.model_validate_json(capsys.readouterr().out)
    assert found.fingerprint == load(folder).fingerprint()
    assert found.splits["train"].n == found.splits["validation"].n == 6
    assert set(tmp_path.rglob("*")) == before


def test_the_command_writes_what_it_found_where_asked(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out" / "here"
    assert run("inspect", folder, "--layout", "folders", "--exact-only", "--out", out) == 0
    assert "happiness" in capsys.readouterr().out
    assert {path.name for path in out.iterdir()} == {"inspection.json", "contact_sheet.png", "histograms.png"}
    assert json.loads((out / "inspection.json").read_text())["classes"] == ["happiness", "sadness", "anger"]
    assert cv2.imread(str(out / "contact_sheet.png")).shape[0] == 3 * 68


def test_a_folder_that_cannot_be_made_is_said_before_the_search(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    assert run("inspect", folder, "--out", tmp_path / "file" / "out") == 2
    printed = capsys.readouterr()
    assert "cannot make the folder" in printed.err and printed.out == ""


def test_the_command_lists_bad_pictures_and_ends_with_one_line(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "train/happy/broken.jpg").write_bytes(b"no picture")
    assert run("inspect", folder) == 7
    listed, error = capsys.readouterr().err.splitlines()
    assert "broken.jpg is not a readable image" in listed and error.startswith("error: ")
    assert run("inspect", folder, "--skip-bad") == 0
    assert "skipped 1 of 13 pictures" in capsys.readouterr().out
