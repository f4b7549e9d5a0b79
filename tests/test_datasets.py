"""Loading data sets: every layout, on small folders of real faces, and every kind of bad input."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from conftest import ROOT

from edge_emotion.labels import EMOTIONS

pytest.importorskip("pandas")

import pandas as pd

from train.datasets import LAYOUTS, DataError, DataSet, detect_layout, load
from train.datasets.images import Options, hashed_split, require_memory
from train.datasets.tables import face_from_text, text_size

Pixels = npt.NDArray[np.uint8]
COUNT = 60
FER_USAGE = ("Training", "Training", "PublicTest", "PrivateTest")


@pytest.fixture(scope="module")
def tables(fer_folder: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The first rows of FER2013 and FER+, dealt out to all three splits."""
    usage = [FER_USAGE[row % 4] for row in range(COUNT)]
    pixels = pd.read_csv(fer_folder / "fer2013.csv.gz", nrows=COUNT).assign(Usage=usage)
    votes = pd.read_csv(fer_folder / "fer2013new.csv", nrows=COUNT).assign(Usage=usage)
    return pixels, votes


@pytest.fixture(scope="module")
def faces(tables: tuple[pd.DataFrame, pd.DataFrame]) -> list[Pixels]:
    return [face_from_text(text, "here") for text in tables[0]["pixels"]]


def write(path: Path, image: Pixels) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), image)
    return path


def write_fer(folder: Path, tables: tuple[pd.DataFrame, pd.DataFrame], *, plus: bool) -> Path:
    tables[0].to_csv(folder / "fer2013.csv", index=False)
    if plus:
        tables[1].to_csv(folder / "fer2013new.csv", index=False)
    return folder


def write_folders(root: Path, faces: Sequence[Pixels], places: Sequence[str], *, each: int = 2) -> Path:
    for number, place in enumerate(places):
        for copy in range(each):
            write(root / place / f"{number}_{copy}.png", faces[number * each + copy])
    return root


def sizes(data: DataSet) -> dict[str, int]:
    return {split: len(part) for split, part in data.splits.items()}


# FER2013 and FER+


def test_fer_plus_is_recognised_and_keeps_its_votes(tmp_path: Path, tables: tuple[pd.DataFrame, pd.DataFrame]) -> None:
    folder = write_fer(tmp_path, tables, plus=True)
    data = load(folder)
    assert detect_layout(folder) == "fer_plus" and data.classes == EMOTIONS
    assert data["train"].images.shape[1:] == (48, 48) and (data["train"].votes.max(axis=1) < 1).any()


def test_label_votes_reach_fer_plus(tmp_path: Path, tables: tuple[pd.DataFrame, pd.DataFrame]) -> None:
    folder = write_fer(tmp_path, tables, plus=True)
    plain, further = load(folder), load(folder, label_votes=dict.fromkeys(EMOTIONS[:7], 3))
    assert not np.array_equal(plain["train"].votes, further["train"].votes)
    assert np.array_equal(plain["test"].votes, further["test"].votes)


@pytest.mark.parametrize("as_file", [False, True])
def test_fer2013_is_recognised_as_folder_and_as_file(
    as_file: bool, tmp_path: Path, tables: tuple[pd.DataFrame, pd.DataFrame]
) -> None:
    folder = write_fer(tmp_path, tables, plus=False)
    path = folder / "fer2013.csv" if as_file else folder
    assert detect_layout(path) == "fer2013"
    assert sizes(load(path)) == {"train": 30, "validation": 15, "test": 15}


def test_fer_faces_are_made_smaller_but_neither_larger_nor_coloured(
    tmp_path: Path, tables: tuple[pd.DataFrame, pd.DataFrame], faces: list[Pixels]
) -> None:
    folder = write_fer(tmp_path, tables, plus=False)
    assert np.array_equal(load(folder, size=96, colour="bgr")["train"].images[0], faces[0])
    small = load(folder, size=24)["train"].images
    assert np.array_equal(small[0], cv2.resize(faces[0], (24, 24), interpolation=cv2.INTER_AREA))


# Folders


def test_split_folders_count_and_aliases_become_canonical(tmp_path: Path, faces: list[Pixels]) -> None:
    places = [f"{split}/{name}" for split in ("Training", "valid", "test") for name in ("Happy", "sad", "neutral")]
    data = load(write_folders(tmp_path, faces, places))
    assert detect_layout(tmp_path) == "folders"
    assert data.classes == ("neutral", "happiness", "sadness")
    assert sizes(data) == {"train": 6, "validation": 6, "test": 6}
    assert np.array_equal(data["train"].labels, [1, 1, 0, 0, 2, 2])
    assert np.array_equal(data["train"].images[0], faces[0])
    assert data["train"].clear.all() and data["train"].votes.max() == data["train"].votes.sum(axis=1).max() == 1


def test_without_splits_a_hash_of_the_path_decides(tmp_path: Path, faces: list[Pixels]) -> None:
    for number in range(COUNT):
        write(tmp_path / ("anger", "fear")[number % 2] / f"{number}.png", faces[number])
    data = load(tmp_path)
    keys = [path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.png")]
    for split, count in sizes(data).items():
        assert count == sum(hashed_split(key) == split for key in keys)
    assert load(tmp_path).fingerprint == data.fingerprint


def test_the_hash_gives_eighty_ten_and_ten_percent() -> None:
    splits = [hashed_split(f"anger/{number}.png") for number in range(10_000)]
    assert [splits.count(name) / 10_000 for name in ("train", "validation", "test")] == pytest.approx(
        [0.8, 0.1, 0.1], abs=0.01
    )


def test_a_published_test_stays_whole_and_validation_comes_out_of_train(tmp_path: Path, faces: list[Pixels]) -> None:
    for number in range(COUNT):
        split = "test" if number < 10 else "train"
        write(tmp_path / split / ("anger", "fear")[number % 2] / f"{number}.png", faces[number])
    found = sizes(load(tmp_path))
    assert found["test"] == 10 and found["validation"] > 0 and found["train"] + found["validation"] == COUNT - 10


def test_pictures_that_are_not_square_lose_what_is_beside_the_middle(tmp_path: Path, faces: list[Pixels]) -> None:
    wide = cv2.copyMakeBorder(faces[0], 0, 0, 9, 9, cv2.BORDER_CONSTANT, value=255)
    write(tmp_path / "test/anger/wide.png", wide)
    assert np.array_equal(load(tmp_path)["test"].images[0], faces[0])


def test_pictures_are_resized_as_for_the_models(tmp_path: Path, faces: list[Pixels]) -> None:
    write(tmp_path / "test/anger/face.png", faces[0])
    images = load(tmp_path, size=24, colour="bgr")["test"].images
    assert images.shape == (1, 24, 24, 3)
    assert np.array_equal(images[0, :, :, 0], cv2.resize(faces[0], (24, 24), interpolation=cv2.INTER_AREA))


def test_hidden_folders_and_other_files_are_no_classes_and_no_pictures(tmp_path: Path, faces: list[Pixels]) -> None:
    write_folders(tmp_path, faces, ["test/anger", "test/fear"])
    for name in (".git/x.png", "__MACOSX/x.png", "test/.cache/x.png"):
        write(tmp_path / name, faces[0])
    (tmp_path / "test/anger/Thumbs.db").write_bytes(b"\0")
    assert sizes(load(tmp_path)) == {"test": 4}


def test_an_unknown_class_folder_is_named_with_the_known_ones(tmp_path: Path, faces: list[Pixels]) -> None:
    write_folders(tmp_path, faces, ["train/anger", "train/bored"])
    with pytest.raises(DataError, match=r"train/bored: unknown label 'bored'; known are neutral, .*happy"):
        load(tmp_path)


def test_an_empty_class_folder_is_refused(tmp_path: Path, faces: list[Pixels]) -> None:
    write_folders(tmp_path, faces, ["train/anger"])
    (tmp_path / "train/fear").mkdir()
    with pytest.raises(DataError, match=r"train/fear holds no picture"):
        load(tmp_path)


def test_two_folders_for_one_split_are_refused(tmp_path: Path, faces: list[Pixels]) -> None:
    with pytest.raises(DataError, match="dev and val both mean validation"):
        load(write_folders(tmp_path, faces, ["train/anger", "val/anger", "dev/anger"]))


# Pictures that cannot be read


def spoil(folder: Path, faces: Sequence[Pixels]) -> Path:
    write_folders(folder, faces, ["train/anger", "val/fear"], each=4)
    (folder / "train/anger/broken.jpg").write_bytes(b"no picture")
    (folder / "val/fear/empty.png").write_bytes(b"")
    return folder


def test_unreadable_pictures_are_counted_and_named(tmp_path: Path, faces: list[Pixels]) -> None:
    with pytest.raises(DataError, match=r"2 of 10 pictures cannot be read \(.*broken\.jpg.*empty\.png"):
        load(spoil(tmp_path, faces))


def test_unreadable_pictures_are_skipped_when_asked_and_noted(tmp_path: Path, faces: list[Pixels]) -> None:
    data = load(spoil(tmp_path, faces), skip_bad=True)
    assert sizes(data) == {"train": 4, "validation": 4}
    assert np.array_equal(data["validation"].images, faces[4:8])
    assert (
        len(data.notes) == 1 and data.notes[0].startswith("skipped 2 of 10 pictures") and "broken.jpg" in data.notes[0]
    )


def test_a_class_of_which_nothing_can_be_read_is_refused_even_then(tmp_path: Path, faces: list[Pixels]) -> None:
    write_folders(tmp_path, faces, ["train/anger"])
    (tmp_path / "train/fear").mkdir()
    (tmp_path / "train/fear/broken.png").write_bytes(b"no picture")
    with pytest.raises(DataError, match="no readable picture of fear is left"):
        load(tmp_path, skip_bad=True)


def test_too_many_pictures_for_the_memory_are_refused_before_one_is_read(tmp_path: Path) -> None:
    rows = "missing.png,anger,test\n" * 120_000
    (tmp_path / "list.csv").write_text("path,label,split\n" + rows)
    with pytest.raises(DataError, match=r"120000 pictures of 1024 x 1024 x 3 need 351\.6 GiB"):
        load(tmp_path, size=1024, colour="bgr")


def test_a_fifth_of_the_free_memory_is_left_alone() -> None:
    options = Options(size=100)
    require_memory(80, options, available=1_000_000)
    with pytest.raises(DataError):
        require_memory(81, options, available=1_000_000)
    with pytest.raises(DataError):
        require_memory(80, options, text=1, available=1_000_000)


# RAF-DB


def write_rafdb(root: Path, faces: Sequence[Pixels], lines: Sequence[str]) -> Path:
    label_file = root / "basic/EmoLabel/list_patition_label.txt"
    label_file.parent.mkdir(parents=True)
    label_file.write_text("\n".join(lines) + "\n")
    for number, line in enumerate(lines):
        name = line.split()[0].removesuffix(".jpg")
        write(root / f"basic/Image/aligned/{name}_aligned.jpg", faces[number])
    return root


def test_rafdb_as_published(tmp_path: Path, faces: list[Pixels]) -> None:
    lines = [f"test_{number:04}.jpg {number}" for number in range(1, 8)]
    data = load(write_rafdb(tmp_path, faces, [*lines, "train_00001.jpg 4"]))
    assert detect_layout(tmp_path) == detect_layout(tmp_path / "basic") == "rafdb"
    assert data.classes == EMOTIONS[:7] and len(data["test"]) == 7
    named = [data.classes[column] for column in data["test"].labels]
    assert named == ["surprise", "fear", "disgust", "happiness", "sadness", "anger", "neutral"]
    assert np.abs(data["test"].images[0].astype(int) - faces[0]).mean() < 5


def test_rafdb_in_numbered_folders(tmp_path: Path, faces: list[Pixels]) -> None:
    places = [f"DATASET/{split}/{number}" for split in ("train", "test") for number in range(1, 8)]
    data = load(write_folders(tmp_path, faces, places))
    assert detect_layout(tmp_path) == detect_layout(tmp_path / "DATASET") == "rafdb"
    assert data.classes == EMOTIONS[:7] and len(data["test"]) == 14
    assert data.classes[data["test"].labels[0]] == "surprise"


@pytest.mark.parametrize(
    ("line", "words"),
    [("train_00002.jpg 8", "line 2: unknown label '8'; RAF-DB has 1 surprise"), ("photo.jpg 1", "line 2: expected")],
)
def test_a_wrong_line_of_rafdb_is_named(line: str, words: str, tmp_path: Path, faces: list[Pixels]) -> None:
    with pytest.raises(DataError, match=words):
        load(write_rafdb(tmp_path, faces, ["train_00001.jpg 1", line]))


# AffectNet


def affectnet_row(name: str, expression: object, box: tuple[int, int, int, int] = (20, 10, 48, 48)) -> str:
    return ",".join(map(str, (name, *box, "1;2;3", expression, 0.1, 0.2)))


def write_affectnet(
    root: Path, faces: Sequence[Pixels], training: Sequence[str], validation: Sequence[str], *, header: bool = True
) -> Path:
    columns = "subDirectory_filePath,face_x,face_y,face_width,face_height,facial_landmarks,expression,valence,arousal"
    for name, rows in (("training.csv", training), ("validation.csv", validation)):
        lines = [columns, *rows] if header or name == "training.csv" else rows
        (root / name).write_text("\n".join(lines) + "\n")
    for number, row in enumerate([*training, *validation]):
        around = cv2.copyMakeBorder(faces[number], 10, 12, 20, 2, cv2.BORDER_CONSTANT, value=0)
        write(root / "Manually_Annotated_Images" / row.split(",")[0], around)
    return root


@pytest.mark.parametrize("header", [True, False])
def test_affectnet_lists_are_cut_to_the_face_and_validation_is_the_test(
    header: bool, tmp_path: Path, faces: list[Pixels]
) -> None:
    validation = [affectnet_row(f"9/{label}.png", label) for label in range(11)]
    data = load(write_affectnet(tmp_path, faces[1:], [affectnet_row("1/a.png", 1)], validation, header=header))
    assert detect_layout(tmp_path) == "affectnet" and "validation" in data.protocol
    named = [data.classes[column] for column in data["test"].labels]
    assert named == ["neutral", "happiness", "sadness", "surprise", "fear", "disgust", "anger", "contempt"]
    assert np.array_equal(data["test"].images, faces[2:10])
    assert data.notes == ("left out 3 pictures labelled none, uncertain or no face",)


def test_affectnet_sets_with_one_annotation_per_picture(tmp_path: Path, faces: list[Pixels]) -> None:
    for number in range(12):
        place = tmp_path / ("train_set" if number < 8 else "val_set")
        write(place / f"images/{number}.jpg", faces[number])
        (place / "annotations").mkdir(exist_ok=True)
        np.save(place / f"annotations/{number}_exp.npy", np.array(str(number % 8)))
    data = load(tmp_path)
    assert detect_layout(tmp_path) == "affectnet"
    assert data.classes == EMOTIONS and len(data["test"]) == 4
    assert {data.classes[column] for column in data["test"].labels} == {"neutral", "happiness", "sadness", "surprise"}


def test_a_missing_annotation_of_affectnet_is_named(tmp_path: Path, faces: list[Pixels]) -> None:
    write(tmp_path / "train_set/images/7.jpg", faces[0])
    (tmp_path / "train_set/annotations").mkdir()
    with pytest.raises(DataError, match=r"7_exp\.npy, the label of 7\.jpg, cannot be read"):
        load(tmp_path)


@pytest.mark.parametrize(
    ("row", "words"),
    [
        (affectnet_row("1/b.png", 11), "b.png: unknown label '11'"),
        (affectnet_row("1/b.png", "happy"), "b.png: unknown label 'happy'"),
        (affectnet_row("1/b.png", 1).replace(",20,", ",left,"), "'left 10 48 48' is no face box"),
        (affectnet_row("1/b.png", 1, (200, 0, 10, 10)), "1 of 2 pictures cannot be read .*outside of the picture"),
    ],
)
def test_a_wrong_row_of_affectnet_is_named(row: str, words: str, tmp_path: Path, faces: list[Pixels]) -> None:
    with pytest.raises(DataError, match=words):
        load(write_affectnet(tmp_path, faces, [affectnet_row("1/a.png", 1)], [row]))


# CSV


def test_a_csv_of_paths(tmp_path: Path, faces: list[Pixels]) -> None:
    for number, name in enumerate("abc"):
        write(tmp_path / f"pictures/{name}.png", faces[number])
    rows = ["pictures/a.png,Happy,Train", "pictures/b.png,anger,dev", "pictures/c.png,happiness,testing"]
    (tmp_path / "list.csv").write_text("\n".join(["Image,Emotion,Set", *rows]) + "\n")
    for path in (tmp_path, tmp_path / "list.csv"):
        data = load(path)
        assert detect_layout(path) == "csv" and data.classes == ("happiness", "anger")
        assert [data[split].labels.tolist() for split in data.splits] == [[0], [1], [0]]
        assert np.array_equal(data["validation"].images[0], faces[1])


def test_a_csv_of_pixels_without_splits(tmp_path: Path, faces: list[Pixels]) -> None:
    rows = [f"{('anger', 'fear')[n % 2]},{' '.join(map(str, face.ravel()))}" for n, face in enumerate(faces)]
    (tmp_path / "faces.csv").write_text("\n".join(["label,pixels", *rows]) + "\n")
    data = load(tmp_path / "faces.csv")
    assert sum(sizes(data).values()) == COUNT and len(data["train"]) > len(data["test"]) > 0
    first = next(face for face in faces if hashed_split(" ".join(map(str, face.ravel()))) == "train")
    assert np.array_equal(data["train"].images[0], first)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("path,label\na.png,bored", "list.csv, row 2: unknown label 'bored'"),
        ("path,label,split\na.png,anger,later", "list.csv, row 2: unknown split 'later'; known are train"),
        ("path,label\n", "holds no picture"),
        ("path,label\nmissing.png,anger", r"1 of 1 pictures cannot be read .*missing\.png"),
        ("label,pixels\nanger,1 2 3", "row 2: 3 pixels are no square"),
        ("label,pixels\nanger,1 2 3 256", "row 2: 4 pixels are no square"),
        ("label,pixels\nanger,1 2 x 3", "row 2: pixels must be whole numbers"),
        ("label,pixels\nanger,", "row 2: 0 pixels"),
        ("label,pixels\n", "holds no picture"),
    ],
)
def test_a_wrong_row_of_a_csv_is_named(text: str, words: str, tmp_path: Path) -> None:
    (tmp_path / "list.csv").write_text(text)
    with pytest.raises(DataError, match=words):
        load(tmp_path / "list.csv")


# Layouts


def test_an_unknown_layout_says_what_was_looked_for(tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        load(tmp_path)
    assert all(f"{name}: " in str(caught.value) for name in LAYOUTS) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("act", "words"),
    [
        (lambda path: load(path / "absent"), "absent does not exist"),
        (lambda path: load(path, layout="imagenet"), "no layout 'imagenet'; there are: auto, fer_plus"),
        (lambda path: load(path, size=4), "faces of 4 pixels in 'gray': give 16 to 1024"),
        (lambda path: load(path, layout="folders"), "holds no class folders"),
        (lambda path: load(path, layout="rafdb"), "holds neither basic/EmoLabel"),
        (lambda path: load(path, layout="affectnet"), "holds neither training.csv"),
        (lambda path: load(path, layout="csv"), "must be or hold one CSV file"),
        (lambda path: load(path, layout="fer_plus"), "must hold fer2013.csv"),
        (lambda path: load(path, layout="fer2013"), "must be or hold fer2013.csv"),
    ],
)
def test_what_is_not_there_is_said(act: Callable[[Path], DataSet], words: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=words):
        act(tmp_path)


def test_the_size_of_a_packed_table_is_known_without_unpacking(tmp_path: Path) -> None:
    (tmp_path / "a.csv.gz").write_bytes(gzip.compress(b"x" * 12_345))
    (tmp_path / "a.csv").write_bytes(b"x" * 54_321)
    assert (text_size(tmp_path / "a.csv.gz"), text_size(tmp_path / "a.csv")) == (12_345, 54_321)


def test_loading_folders_needs_neither_tensorflow_nor_pandas(tmp_path: Path, faces: list[Pixels]) -> None:
    write_folders(tmp_path, faces, ["train/anger", "train/fear", "val/fear"])
    code = (
        "import sys, json; from pathlib import Path; from train.datasets import load; load(Path(sys.argv[1]));"
        "print(json.dumps([name for name in ('tensorflow', 'tf_keras', 'pandas') if name in sys.modules]))"
    )
    done = subprocess.run([sys.executable, "-c", code, tmp_path], cwd=ROOT, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == []
