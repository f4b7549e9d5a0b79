"""FER2013 and FER+ from their published tables."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from support.fer_files import fer_plus

from edge_emotion.labels import EMOTIONS

pytest.importorskip("pandas")

from train.data.layouts import DataError, DataSet, load, load_fer2013, load_fer_plus
from train.data.layouts.fer import FER2013_CLASSES
from train.data.layouts.label_maps import FER2013


def test_the_splits_have_the_published_sizes(fer_plus: DataSet) -> None:
    assert {split: int(faces.clear.sum()) for split, faces in fer_plus.splits.items()} == {
        "train": 25060,
        "validation": 3199,
        "test": 3153,
    }


def test_votes_are_distributions_and_single_votes_are_dropped(fer_plus: DataSet) -> None:
    for faces in fer_plus.splits.values():
        assert faces.images.shape[1:] == (48, 48)
        assert faces.votes.sum(axis=1) == pytest.approx(np.ones(len(faces)), abs=1e-5)
        assert faces.votes[faces.votes > 0].min() >= 0.19


def test_a_clear_winner_holds_more_than_half(fer_plus: DataSet) -> None:
    assert fer_plus["test"].majority().votes.max(axis=1).min() > 0.5


def write_tables(folder: Path, pixels: list[str], votes: list[str]) -> Path:
    with gzip.open(folder / "fer2013.csv.gz", "wt") as file:
        file.write("\n".join(pixels) + "\n")
    (folder / "fer2013new.csv").write_text("\n".join(votes) + "\n")
    return folder


PIXELS = ["emotion,pixels,Usage"] + [
    f"0,{' '.join(['7'] * 2304)},{split}" for split in ("Training", "PublicTest", "PrivateTest")
]
VOTES = [
    "Usage,Image name,neutral,happiness,surprise,sadness,anger,disgust,fear,contempt,unknown,NF",
    "Training,a.png,6,4,0,0,0,0,0,0,0,0",
    "PublicTest,b.png,0,9,1,0,0,0,0,0,0,0",
    "PrivateTest,c.png,0,0,0,0,0,0,10,0,0,0",
]


def with_pixel(value: str) -> list[str]:
    """The table with another value for one pixel of its second row."""
    return [*PIXELS[:2], PIXELS[2].replace("7 7", f"7 {value}", 1), *PIXELS[3:]]


def test_the_smallest_possible_tables_are_read(tmp_path: Path) -> None:
    small = load_fer_plus(write_tables(tmp_path, PIXELS, VOTES))
    assert small["train"].votes[0, :2] == pytest.approx([0.6, 0.4])
    assert small["validation"].votes[0, 1] == 1
    assert small["test"].labels[0] == EMOTIONS.index("fear")


@pytest.mark.parametrize(
    ("pixels", "votes", "message"),
    [
        (PIXELS, [VOTES[0].replace("fear", "terror"), *VOTES[1:]], r"lacks the columns \['fear'\]"),
        (PIXELS, [VOTES[0], VOTES[2], VOTES[1], VOTES[3]], "do not list the same rows"),
        (PIXELS[:3], VOTES[:3], "no usable row in the split PrivateTest"),
        ([PIXELS[0], "0,1 2 3,Training", *PIXELS[2:]], VOTES, "row 2: 3 pixels instead of 2304"),
        (PIXELS, [VOTES[0].replace("Image name", "Name"), *VOTES[1:]], r"fer2013new\.csv lacks .*'Image name'"),
        (PIXELS, [*VOTES[:2], VOTES[2].replace(",9,", ",many,"), VOTES[3]], r"new\.csv, row 3: 'many' is no number"),
        (PIXELS, [*VOTES[:2], VOTES[2].replace(",9,", ",,"), VOTES[3]], r"row 3: 'nan' is no number .*happiness"),
        (PIXELS, [*VOTES[:2], VOTES[2].replace(",9,", ",-9,"), VOTES[3]], r"row 3: '-9' is no number"),
        (PIXELS, [*VOTES[:2], VOTES[2].replace(",9,", ",inf,"), VOTES[3]], r"row 3: 'inf' is no number"),
        (with_pixel("-1"), VOTES, r"fer2013\.csv\.gz, row 3: pixels must be whole numbers from 0 to 255"),
        (with_pixel("1.5"), VOTES, r"fer2013\.csv\.gz, row 3: pixels must be whole numbers"),
        (with_pixel("300"), VOTES, r"fer2013\.csv\.gz, row 3: a pixel is 300"),
    ],
)
def test_malformed_tables_are_refused(tmp_path: Path, pixels: list[str], votes: list[str], message: str) -> None:
    with pytest.raises(DataError, match=message):
        load_fer_plus(write_tables(tmp_path, pixels, votes))


def test_fer2013_has_its_own_seven_classes(fer_folder: Path) -> None:
    data = load_fer2013(fer_folder)
    assert data.classes == FER2013_CLASSES == EMOTIONS[:7]
    assert {split: len(faces) for split, faces in data.splits.items()} == {
        "train": 28709,
        "validation": 3589,
        "test": 3589,
    }
    disgust = data["train"].labels == data.classes.index("disgust")
    assert int(disgust.sum()) == pytest.approx(436, rel=0.03)
    assert data["test"].clear.all()


def test_the_numbers_of_fer2013_become_names(tmp_path: Path) -> None:
    rows = [f"{number},{' '.join([str(number)] * 2304)},Training" for number in range(7)]
    rest = [line for line in PIXELS[1:] if "Training" not in line]
    data = load_fer2013(write_tables(tmp_path, ["emotion,pixels,Usage", *rows, *rest], VOTES))
    names = {
        int(image[0, 0]): data.classes[label]
        for image, label in zip(data["train"].images, data["train"].labels, strict=True)
    }
    assert tuple(names[number] for number in range(7)) == FER2013


def test_fer2013s_label_can_count_as_further_votes_in_training_only(tmp_path: Path) -> None:
    """The first face: 6 neutral, 4 happiness, and FER2013's label is anger."""
    folder = write_tables(tmp_path, PIXELS, VOTES)
    data = load_fer_plus(folder, label_votes={"anger": 2, "fear": 5})
    anger = EMOTIONS.index("anger")
    assert data["train"].votes[0, anger] == pytest.approx(2 / 12)
    assert data["validation"].votes[0, anger] == 0
    assert "anger 2, fear 5" in data.name


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (["9,1 2,Training"], "row 2: unknown label 9"),
        (["0,1 2,Training", "angry,1 2,Training"], "row 3: unknown label angry"),
        (["0,1 2,Training", "0,1 2,Traning"], "row 3: unknown Usage 'Traning'"),
        ([], "no usable row in the split"),
    ],
)
def test_malformed_fer2013_is_refused(tmp_path: Path, rows: list[str], message: str) -> None:
    path = tmp_path / "fer2013.csv"
    path.write_text("\n".join(["emotion,pixels,Usage", *rows]) + "\n")
    with pytest.raises(DataError, match=message):
        load_fer2013(path)


def test_a_file_that_is_no_table_is_refused(tmp_path: Path) -> None:
    (tmp_path / "fer2013.csv.gz").write_bytes(b"not gzip")
    (tmp_path / "fer2013new.csv").write_text("\n".join(VOTES))
    with pytest.raises(DataError, match="cannot read"):
        load_fer_plus(tmp_path)


@pytest.mark.parametrize("load_table", [load_fer_plus, load_fer2013])
def test_rows_whose_pixels_cannot_be_read_are_counted_and_skipped_only_when_asked(
    load_table: Callable[..., DataSet], tmp_path: Path
) -> None:
    spoilt = [PIXELS[1].replace("7 7", "7 300", 1), PIXELS[1].replace("7 7", "7 -1", 1)]
    pixels = [PIXELS[0], *spoilt, PIXELS[1], PIXELS[1], *PIXELS[2:]]
    folder = write_tables(tmp_path, pixels, [VOTES[0], *[VOTES[1]] * 4, *VOTES[2:]])
    words = r"2 of 6 pictures cannot be read \(.*row 2: a pixel is 300.*row 3: pixels must be whole .*--skip-bad"
    with pytest.raises(DataError, match=words):
        load_table(folder)
    data = load_table(folder, skip_bad=True)
    assert {split: len(faces) for split, faces in data.splits.items()} == {"train": 2, "validation": 1, "test": 1}
    assert data["train"].votes.shape[0] == 2
    assert data.notes[0].startswith("skipped 2 of 6 pictures that cannot be read: ")


def test_a_split_of_which_nothing_can_be_read_is_refused_even_then(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no usable row in the split PublicTest"):
        load_fer_plus(write_tables(tmp_path, with_pixel("300"), VOTES), skip_bad=True)


def test_the_faces_that_are_held_are_counted_not_those_that_a_model_makes_of_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """48 faces: 0.2 MB as they are, 14 MB at 224 pixels in colour."""
    monkeypatch.setattr("train.data.layouts.memory_limit.available_memory", lambda: 2_000_000)
    data = load(fer_plus(tmp_path / "fer"), size=224, colour="bgr")
    assert data["train"].images.shape == (16, 48, 48)


@pytest.mark.parametrize("as_file", [False, True])
def test_kaggles_table_is_fer2013(as_file: bool, tmp_path: Path) -> None:
    """Its columns are in another order and begin with spaces."""
    fields = [line.split(",") for line in PIXELS[1:]]
    lines = ["emotion, Usage, pixels", *(f"{label},{usage},{pixels}" for label, pixels, usage in fields)]
    path = tmp_path / "icml_face_data.csv"
    path.write_text("\n".join(lines) + "\n")
    data = load(path if as_file else tmp_path)
    assert data.name == "FER2013" and {split: len(faces) for split, faces in data.splits.items()} == {
        "train": 1,
        "validation": 1,
        "test": 1,
    }
