"""Loading data sets: every layout, on small folders of real faces, and every kind of bad input."""

from __future__ import annotations

import argparse
import gzip
import json
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from support.paths import ROOT

from edge_emotion.datatypes import Box, Face, Image
from edge_emotion.errors import ModelError
from edge_emotion.labels import EMOTIONS
from edge_emotion.models.manifest import CropSpec, InputSpec
from edge_emotion.models.preprocess import align

pytest.importorskip("pandas")

import pandas as pd

from train.commands.data_options import add_data_options, read_data
from train.data.layouts import LAYOUTS, DataError, DataSet, FaceFinder, detect_layout, load
from train.data.layouts.images import report_bad
from train.data.layouts.memory_limit import available_memory, require_memory
from train.data.layouts.splits import hashed_split
from train.data.layouts.tables import face_from_text, text_size

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
    assert load(tmp_path).fingerprint() == data.fingerprint()


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
    inside = ("test/anger/.ipynb_checkpoints/x-checkpoint.png", "test/fear/__MACOSX/x.png", "test/fear/._x.png")
    for name in (".git/x.png", "__MACOSX/x.png", "test/.cache/x.png", *inside):
        write(tmp_path / name, faces[0])
    (tmp_path / "test/anger/Thumbs.db").write_bytes(b"\0")
    assert sizes(load(tmp_path)) == {"test": 4}


def test_a_data_set_may_itself_lie_in_a_hidden_folder(tmp_path: Path, faces: list[Pixels]) -> None:
    assert sizes(load(write_folders(tmp_path / ".cache/faces", faces, ["test/anger"]))) == {"test": 2}


def test_an_unknown_class_folder_is_named_with_the_known_ones(tmp_path: Path, faces: list[Pixels]) -> None:
    write_folders(tmp_path, faces, ["train/anger", "train/bored"])
    with pytest.raises(DataError, match=r"train/bored: unknown label 'bored'; .*happy.*--label-map bored=EMOTION"):
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


@pytest.mark.parametrize("skip", [False, True])
def test_every_unreadable_picture_is_listed_with_its_reason(
    skip: bool, tmp_path: Path, faces: list[Pixels], capsys: pytest.CaptureFixture[str]
) -> None:
    for number in range(5):
        (spoil(tmp_path, faces) / f"train/anger/torn{number}.jpg").write_bytes(b"no picture")
    if skip:
        note = load(tmp_path, skip_bad=True).notes[0]
    else:
        with pytest.raises(DataError) as caught:
            load(tmp_path)
        note = str(caught.value)
    assert "7 of 15 pictures" in note and note.count(".jpg") + note.count(".png") == 3
    listed = capsys.readouterr().err.splitlines()
    assert len(listed) == 7 and sum("is not a readable image" in line for line in listed) == 6
    assert sum("empty.png is empty (0 bytes)" in line for line in listed) == 1
    assert sum(f"torn{number}.jpg" in line for line in listed for number in range(5)) == 5


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
    with pytest.raises(DataError, match=r"120000 pictures of 1024 x 1024 x 3 need 703\.1 GiB"):
        load(tmp_path, size=1024, colour="bgr")


def test_a_fifth_of_the_free_memory_is_left_alone_and_pictures_are_there_twice() -> None:
    shape = (100, 100, 1)
    require_memory(40, shape, available=1_000_000)
    with pytest.raises(DataError):
        require_memory(41, shape, available=1_000_000)
    with pytest.raises(DataError):
        require_memory(40, shape, text=1, available=1_000_000)


def fake_system(root: Path, cgroup: str, files: dict[str, str]) -> Path:
    """A machine with 1000 kB available, and control groups."""
    for name, text in {"proc/meminfo": "MemAvailable: 1000 kB\n", "proc/self/cgroup": cgroup, **files}.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


V2 = {
    "sys/fs/cgroup/a/memory.max": "500000\n",
    "sys/fs/cgroup/a/memory.current": "300000\n",
    "sys/fs/cgroup/a/memory.stat": "anon 1\ninactive_file 1000\n",
}
V1 = {
    "sys/fs/cgroup/memory/memory.limit_in_bytes": "400000\n",
    "sys/fs/cgroup/memory/memory.usage_in_bytes": "100000\n",
}


@pytest.mark.parametrize(
    ("cgroup", "files", "free"),
    [
        ("", {}, 1_024_000),
        ("0::/a\n", V2, 201_000),
        (
            "0::/a/b\n",
            {**V2, "sys/fs/cgroup/a/b/memory.max": "max\n", "sys/fs/cgroup/a/b/memory.current": "1"},
            201_000,
        ),
        ("0::/a\n", {**V2, "sys/fs/cgroup/a/memory.max": "max\n"}, 1_024_000),
        ("0::/a\n", {**V2, "sys/fs/cgroup/a/memory.current": "600000\n"}, 0),
        ("4:cpu,memory:/docker/0123\n0::/\n", V1, 300_000),
    ],
)
def test_the_limit_of_a_container_counts(cgroup: str, files: dict[str, str], free: int, tmp_path: Path) -> None:
    assert available_memory(fake_system(tmp_path, cgroup, files)) == free


# Faces that must be found first


class BrightDetector:
    """Finds what is bright: one face per row of white squares, or none. Each instance serves one thread only."""

    def __init__(self) -> None:
        self._thread: int | None = None

    def detect(self, image: Image) -> Sequence[Face]:
        self._thread = self._thread or threading.get_ident()
        assert self._thread == threading.get_ident()
        contours, _ = cv2.findContours(
            (image[..., 0] == 255).astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE
        )
        return [Face(Box(*map(float, cv2.boundingRect(each))), 0.9) for each in contours]


CROP = CropSpec(margin=0.0, shift=0.0, detail=48)


def scene(*squares: tuple[int, int, int]) -> Pixels:
    """A dark picture with white squares: left, top, side. Above the middle of each a line in grey."""
    image = np.full((150, 200, 3), 20, np.uint8)
    for left, top, side in squares:
        image[top : top + side, left : left + side] = 255
        image[top + side // 4, left + 2 : left + side - 2] = 90
    return image


def test_the_found_face_is_cut_out_as_the_runtime_does(tmp_path: Path) -> None:
    picture = scene((10, 110, 30), (90, 20, 80))
    write(tmp_path / "test/anger/scene.png", picture)
    data = load(tmp_path, size=64, colour="bgr", finder=FaceFinder("bright", BrightDetector, CROP))
    sharp = CROP.model_copy(update={"detail": 64})
    assert np.array_equal(data["test"].images[0], align(picture, Face(Box(90, 20, 80, 80), 1.0), sharp))
    assert data.name.endswith("faces found by bright")
    grey = load(tmp_path, size=64, finder=FaceFinder("bright", BrightDetector, CROP))["test"].images
    assert grey.shape == (1, 64, 64)


def test_every_thread_has_a_detector_of_its_own(tmp_path: Path) -> None:
    for number in range(40):
        write(tmp_path / f"test/anger/{number}.png", scene((number, 20, 60)))
    assert sizes(load(tmp_path, finder=FaceFinder("bright", BrightDetector, CROP))) == {"test": 40}


def test_a_picture_without_a_face_counts_as_unreadable(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(tmp_path / "test/anger/face.png", scene((10, 20, 60)))
    write(tmp_path / "test/anger/nobody.png", scene())
    finder = FaceFinder("bright", BrightDetector, CROP)
    with pytest.raises(DataError, match=r"1 of 2 pictures cannot be read .*nobody\.png: no face found"):
        load(tmp_path, finder=finder)
    assert "nobody.png: no face found" in capsys.readouterr().err
    assert sizes(load(tmp_path, finder=finder, skip_bad=True)) == {"test": 1}


def test_a_box_of_the_data_set_says_which_face_is_meant(tmp_path: Path, faces: list[Pixels]) -> None:
    rows = [affectnet_row("9/a.png", 1, (8, 18, 34, 34)), affectnet_row("9/b.png", 1, (150, 5, 30, 30))]
    write_affectnet(tmp_path, faces, [affectnet_row("9/c.png", 2, (90, 40, 80, 80))], rows)
    picture = scene((10, 20, 30), (90, 40, 80))
    for name in "abc":
        write(tmp_path / f"Manually_Annotated_Images/9/{name}.png", picture)
    data = load(tmp_path, finder=FaceFinder("bright", BrightDetector, CROP), skip_bad=True, colour="bgr")
    assert np.array_equal(data["test"].images, [align(picture, Face(Box(10, 20, 30, 30), 1.0), CROP)])
    assert any(r"b.png: no face found at (150, 5, 30, 30)" in note for note in data.notes)


def test_faces_are_not_sought_in_faces(
    tmp_path: Path, tables: tuple[pd.DataFrame, pd.DataFrame], faces: list[Pixels]
) -> None:
    finder = FaceFinder("bright", BrightDetector, CROP)
    write_fer(tmp_path, tables, plus=True)
    (tmp_path / "faces.csv").write_text(f"label,pixels\nanger,{' '.join(map(str, faces[0].ravel()))}\n")
    for path, layout in ((tmp_path, "fer_plus"), (tmp_path, "fer2013"), (tmp_path / "faces.csv", "csv")):
        with pytest.raises(DataError, match="its faces are cut out already; leave out --detect"):
            load(path, layout=layout, finder=finder)


def parsed(*words: str | Path) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add_data_options(parser, split="validation", detect=True)
    return parser.parse_args([*map(str, words)])


def model_input(size: int, crop: CropSpec | None) -> InputSpec:
    return InputSpec(height=size, width=size, channels=3, colour="rgb", scale=1, offset=0, crop=crop)


def test_the_option_detect_cuts_real_faces_as_sharp_as_the_model_sees(tmp_path: Path, astronaut: Image) -> None:
    for number in range(3):
        write(tmp_path / f"test/happy/{number}.png", astronaut)
    crop = CropSpec(margin=0.12, shift=-0.1, detail=160)
    data = read_data(parsed("--data", tmp_path, "--detect", "blazeface_back"), [model_input(160, crop)])
    face = data["test"].images[0]
    assert face.shape == (160, 160, 3)
    where = cv2.minMaxLoc(cv2.matchTemplate(astronaut, cv2.resize(face, (110, 110)), cv2.TM_CCOEFF_NORMED))[3]
    assert abs(where[0] + 55 - 295) < 30 and abs(where[1] + 55 - 110) < 30


def test_models_that_frame_faces_differently_do_not_share_found_faces(tmp_path: Path, faces: list[Pixels]) -> None:
    options = parsed("--data", write_folders(tmp_path, faces, ["test/anger"]), "--detect", "blazeface_back")
    other = CROP.model_copy(update={"margin": 0.2})
    for inputs in ([model_input(48, None)], [model_input(48, CROP), model_input(48, other)]):
        with pytest.raises(DataError, match="frame a face in the same way"):
            read_data(options, inputs)
    with pytest.raises(ModelError, match="no_such_detector"):
        read_data(parsed("--data", tmp_path, "--detect", "no_such_detector"), [model_input(48, CROP)])


def test_notes_go_to_stderr_so_that_json_stays_json(
    tmp_path: Path, faces: list[Pixels], capsys: pytest.CaptureFixture[str]
) -> None:
    read_data(parsed("--data", spoil(tmp_path, faces), "--skip-bad"), [model_input(48, CROP)])
    printed = capsys.readouterr()
    assert printed.out == "" and "skipped 2 of 10 pictures" in printed.err


@pytest.mark.parametrize(
    ("name", "split"), [("PublicTest", "validation"), ("PrivateTest", "test"), ("dev", "validation")]
)
def test_splits_have_the_same_names_in_options_and_in_folders(name: str, split: str, tmp_path: Path) -> None:
    assert parsed("--data", tmp_path, "--split", name).split == split


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
    data = load(write_folders(tmp_path, faces, places), layout="rafdb")
    assert data.classes == EMOTIONS[:7] and len(data["test"]) == 14
    assert data.classes[data["test"].labels[0]] == "surprise"
    with pytest.raises(DataError, match="only with --layout rafdb"):
        load(tmp_path)


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
        root.mkdir(parents=True, exist_ok=True)
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


def test_an_empty_annotation_of_affectnet_is_named(tmp_path: Path, faces: list[Pixels]) -> None:
    write(tmp_path / "train_set/images/7.jpg", faces[0])
    (tmp_path / "train_set/annotations").mkdir()
    (tmp_path / "train_set/annotations/7_exp.npy").write_bytes(b"")
    with pytest.raises(DataError, match=r"7_exp\.npy, the label of 7\.jpg, cannot be read"):
        load(tmp_path)


def test_lists_that_are_no_text_are_named(tmp_path: Path, faces: list[Pixels]) -> None:
    write_affectnet(tmp_path / "a", faces, [affectnet_row("1/a.png", 1)], [affectnet_row("1/b.png", 1)])
    write_rafdb(tmp_path / "r", faces, ["train_00001.jpg 1"])
    for file in (tmp_path / "a/training.csv", tmp_path / "r/basic/EmoLabel/list_patition_label.txt"):
        file.write_bytes(b"\x80\xff\n")
        with pytest.raises(DataError, match=f"cannot read .*{file.name}"):
            load(tmp_path / file.relative_to(tmp_path).parts[0])


@pytest.mark.parametrize(
    ("row", "words"),
    [
        (affectnet_row("1/b.png", 11), "b.png: unknown label '11'"),
        (affectnet_row("1/b.png", "inf"), "b.png: unknown label 'inf'"),
        (affectnet_row("1/b.png", 1).replace(",20,", ",inf,"), "'inf 10 48 48' is no face box"),
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
        ("label,pixels\nanger,1 2 3 256", "row 2: a pixel is 256, but they go from 0 to 255"),
        ("label,pixels\nanger,1 2 x 3", "row 2: pixels must be whole numbers"),
        ("label,pixels\nanger,1 2 -1 3", "row 2: pixels must be whole numbers"),
        ("label,pixels\nanger,1 2 1.5 3", "row 2: pixels must be whole numbers"),
        ("label,pixels\nanger,1 2 3 99999999999999999999", "row 2: a pixel is"),
        ("label,pixels\nanger,", "row 2: 0 pixels"),
        ("label,pixels\n", "holds no picture"),
    ],
)
def test_a_wrong_row_of_a_csv_is_named(text: str, words: str, tmp_path: Path) -> None:
    (tmp_path / "list.csv").write_text(text)
    with pytest.raises(DataError, match=words):
        load(tmp_path / "list.csv")


# Layouts


def test_pixels_of_a_csv_that_cannot_be_read_are_counted_and_skipped_only_when_asked(tmp_path: Path) -> None:
    rows = ["fear,0 1 2,train", "fear,1 2 3 4,train", "fear,5 6 7 800,train", "happy,9 9 9 9,validation"]
    (tmp_path / "faces.csv").write_text("\n".join(["label,pixels,split", *rows]) + "\n")
    words = r"faces\.csv: 2 of 4 pictures cannot be read \(.*row 2: 3 pixels are no square .*row 4: a pixel is 800"
    with pytest.raises(DataError, match=words):
        load(tmp_path)
    data = load(tmp_path, skip_bad=True)
    assert sizes(data) == {"train": 1, "validation": 1}
    assert data.notes[0].startswith("skipped 2 of 4 pictures that cannot be read: ")


def test_a_model_that_says_nothing_of_crops_gets_faces_of_its_own_size(tmp_path: Path) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (200, 200, 3), np.uint8)
    write(tmp_path / "train/fear/a.png", picture)
    data = read_data(parsed("--data", tmp_path), [model_input(160, None)])
    assert next(iter(data.splits.values())).images.shape == (1, 160, 160, 3)


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


@pytest.mark.parametrize("left", [0, 2, 400])
def test_a_packed_table_that_was_cut_off_is_named(
    left: int, tmp_path: Path, tables: tuple[pd.DataFrame, pd.DataFrame]
) -> None:
    packed = gzip.compress(tables[0].to_csv(index=False).encode())
    (tmp_path / "fer2013.csv.gz").write_bytes(packed[:left])
    with pytest.raises(DataError, match=r"cannot read .*fer2013\.csv\.gz"):
        load(tmp_path)


def test_the_size_that_a_table_cut_off_claims_is_not_believed(tmp_path: Path) -> None:
    packed = gzip.compress(b"emotion,pixels,Usage\n" + bytes(100_000))
    (tmp_path / "fer2013.csv.gz").write_bytes(packed[:-8] + b"\xff\xff\xff\xff")
    with pytest.raises(DataError, match=r"cannot read .*fer2013\.csv\.gz"):
        load(tmp_path, size=1024, colour="bgr")


def test_loading_folders_needs_neither_tensorflow_nor_pandas(tmp_path: Path, faces: list[Pixels]) -> None:
    write_folders(tmp_path, faces, ["train/anger", "train/fear", "val/fear"])
    code = (
        "import sys, json; from pathlib import Path; from train.data.layouts import load; load(Path(sys.argv[1]));"
        "print(json.dumps([name for name in ('tensorflow', 'tf_keras', 'pandas') if name in sys.modules]))"
    )
    done = subprocess.run([sys.executable, "-c", code, tmp_path], cwd=ROOT, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == []


def test_of_very_many_faults_the_first_hundred_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    report_bad("d", [f"fault {number}" for number in range(30_000)], 30_000, skip=True)
    lines = capsys.readouterr().err.splitlines()
    assert (len(lines), lines[99], lines[100]) == (101, "fault 99", "and 29900 more")
