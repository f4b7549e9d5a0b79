"""What is a picture of a data set, what its numbers mean, and that nothing is left out or guessed in silence."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip("pandas")

from edge_emotion.datatypes import Image
from train.commands.cli import main
from train.commands.data_options import add_data_options
from train.data.faces import DataError, DataSet
from train.data.layouts import detect_layout, load
from train.data.layouts.label_maps import parse_label_map


def image(seed: int) -> Image:
    return np.random.default_rng(seed).integers(0, 256, (48, 48, 3), np.uint8)


def encoded(ending: str, seed: int = 0) -> bytes:
    return cv2.imencode(ending, image(seed))[1].tobytes()


def write_classes(root: Path, places: Sequence[str], count: int = 2) -> Path:
    for at, place in enumerate(places):
        (root / place).mkdir(parents=True)
        for number in range(count):
            (root / place / f"{number}.png").write_bytes(encoded(".png", 10 * at + number))
    return root


def emotions(data: DataSet, split: str = "test") -> list[str]:
    return [data.classes[column] for column in data[split].labels]  # type: ignore[index]


def total(data: DataSet) -> int:
    return sum(map(len, data.splits.values()))


def test_a_picture_is_one_by_its_content_whatever_it_is_called(tmp_path: Path) -> None:
    folder = write_classes(tmp_path, ["test/fear"], 0) / "test/fear"
    for number, name in enumerate(("a.jfif", "a.jpe", "a", "a.heic", "a.JPG", "a.txt", "a.png.bak")):
        (folder / name).write_bytes(encoded(".jpg", number))
    for ending in (".png", ".bmp", ".webp", ".tiff", ".gif", ".ppm"):
        (folder / f"b{ending}").write_bytes(encoded(ending))
    (folder / "c.pgm").write_bytes(b"P5\n# grey\n20 16\n255\n" + bytes(320))
    data = load(tmp_path)
    assert total(data) == 14 and data.notes == ()


def test_what_is_no_picture_is_counted_and_named_on_one_line(tmp_path: Path) -> None:
    folder = write_classes(tmp_path, ["test/fear"]) / "test/fear"
    (folder / "Thumbs.db").write_bytes(b"0")
    (folder / "gone.png").symlink_to("nowhere")
    (folder / "two\nlines.txt").write_bytes(b"0")
    os.mkfifo(folder / "pipe.png")
    (note,) = load(tmp_path).notes
    names = r"test/fear/Thumbs.db, test/fear/gone.png, test/fear/pipe.png, ..."
    assert note == f"left out 4 files that are no pictures: {names}"
    (folder / "0.png").unlink()
    (folder / "1.png").unlink()
    with pytest.raises(DataError, match=r"holds no picture; fill it or remove it \(left out 4 files .*two|pipe"):
        load(tmp_path)


def test_linked_folders_are_read_once_and_loops_end(tmp_path: Path) -> None:
    root = write_classes(tmp_path / "set", ["test/fear"])
    write_classes(tmp_path, ["elsewhere"], 3)
    (root / "test/fear/more").symlink_to(tmp_path / "elsewhere")
    (root / "test/fear/loop").symlink_to(root / "test/fear")
    assert len(load(root)["test"]) == 5


def test_names_of_any_bytes_are_read_and_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tmp_path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xe4"))
    folder = write_classes(tmp_path, ["fear", "anger"], 12) / "fear"
    latin = os.fsencode(folder) + b"/Fr\xf6hlich"
    for name in (latin + b".png", os.fsencode(folder) + b"/two\nlines.png", latin + b"x" * 200):
        Path(os.fsdecode(name)).write_bytes(encoded(".png"))
    assert total(load(tmp_path)) == 27
    Path(os.fsdecode(latin + b".txt")).write_bytes(b"0")
    Path(os.fsdecode(latin + b".jpg")).write_bytes(b"torn")
    assert main(["inspect", str(tmp_path)]) == 7
    error = capsys.readouterr().err
    assert r"1 of 28 pictures cannot be read (" in error and r"Fr\udcf6hlich.jpg is not a" in error
    assert main(["inspect", str(tmp_path), "--skip-bad", "--json", "--out", str(tmp_path / "fear/.look")]) == 0
    assert r"left out 1 file that is no picture: fear/Fr\\udcf6hlich.txt" in capsys.readouterr().out


@pytest.mark.parametrize("places", [["train/1", "train/2", "test/1"], ["0", "1"], ["test/5"]])
def test_the_meaning_of_numbered_folders_is_asked_for(places: list[str], tmp_path: Path) -> None:
    write_classes(tmp_path, places)
    assert detect_layout(tmp_path) == "folders"
    with pytest.raises(DataError, match=r"/\d: the label '\d' is a number, .*: give --label-map NUMBER=EMOTION,"):
        load(tmp_path)


def test_a_label_map_gives_numbers_and_names_a_meaning(tmp_path: Path) -> None:
    write_classes(tmp_path, ["test/5", "test/7", "test/Bored", "test/happy"], 1)
    data = load(tmp_path, label_map=parse_label_map("5=happy, 7=surprise,bored=neutral"))
    assert emotions(data) == ["happiness", "surprise", "neutral", "happiness"]
    with pytest.raises(DataError, match="unknown label '7'; known are 5, neutral"):
        load(tmp_path, label_map={"5": "fear"})
    (tmp_path / "list.csv").write_text("path,label,split\ntest/5/0.png,5,test\n")
    assert emotions(load(tmp_path / "list.csv", label_map={"5": "fear"})) == ["fear"]
    with pytest.raises(DataError, match="row 2: the label '5' is a number"):
        load(tmp_path / "list.csv")


def test_published_numbers_have_names() -> None:
    assert [parse_label_map(name)["1"] for name in ("fer2013", "rafdb", "affectnet")] == [
        "disgust",
        "surprise",
        "happiness",
    ]


@pytest.mark.parametrize("text", ["", "1", "1=", "=fear", "1=fear,", "1=fear,1=anger", "1=bored", "rafdb2"])
def test_a_wrong_label_map_is_refused(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    parser = argparse.ArgumentParser()
    add_data_options(parser)
    with pytest.raises(SystemExit) as caught:
        parser.parse_args(["--data", "x", f"--label-map={text}"])
    assert caught.value.code == 2 and "argument --label-map: " in capsys.readouterr().err


def test_a_label_map_for_known_labels_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="--label-map is for folders and csv, the labels of rafdb are known"):
        load(tmp_path, layout="rafdb", label_map={"1": "fear"})


def kaggle(folder: Path, name: str = "train.csv") -> Path:
    rows = [f'{number},"{" ".join(map(str, image(number)[..., 0].ravel()))}"' for number in range(7)]
    (folder / name).write_text("\n".join(["emotion,pixels", *rows]) + "\n")
    return folder / name


@pytest.mark.parametrize("layout", ["auto", "fer2013", "csv"])
def test_fer2013_without_splits_is_read_by_its_numbers_and_that_is_noted(layout: str, tmp_path: Path) -> None:
    path = kaggle(tmp_path)
    (tmp_path / "test.csv").write_text("pixels\n1 2 3 4\n")
    for place in (path, tmp_path) if layout != "fer2013" else (path,):
        data = load(place, layout=layout)
        assert total(data) == 7 and len(data.classes) == 7
        assert "numbers of FER2013 (0 anger, 1 disgust, 2 fear, 3 happiness" in data.notes[0]
    found = {emotion for split in data.splits for emotion in emotions(data, split)}
    assert found == set(data.classes)


def test_other_numbers_in_such_a_table_are_told_apart(tmp_path: Path) -> None:
    path = kaggle(tmp_path)
    chosen = load(path, label_map=parse_label_map("0=fear,1=fear,2=fear,3=fear,4=fear,5=fear,6=anger"))
    assert chosen.classes == ("anger", "fear") and chosen.notes == ()
    path.write_text(path.read_text().replace("emotion", "label"))
    with pytest.raises(DataError, match="row 2: the label '0' is a number"):
        load(path)
    path.write_text(path.read_text().replace("label", "emotion") + "7,1 2 3 4\n")
    with pytest.raises(DataError, match="row 9: unknown label '7'; known are 0, 1"):
        load(path)
