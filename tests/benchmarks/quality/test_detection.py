"""Photographs with boxes: how they are read, how faces and boxes are matched and counted, and the command."""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from support.paths import SHARED

from benchmarks.cli import main
from benchmarks.quality.boxed_pictures import BoxedPicture, BoxedPictures, windows_without_faces
from benchmarks.quality.detection import UPRIGHT, detection_measurements, match, measure_detection
from benchmarks.results.results import read_result
from edge_emotion.datatypes import Box, Face, Image
from edge_emotion.detectors.scripted import ScriptedDetector
from train.data.faces import DataError

ASTRONAUT = Box(245, 62, 88, 104)
"""Forehead to chin, by eye."""


def folder_of(root: Path, pictures: dict[str, tuple[Image, Sequence[Box]]], *, zipped: bool = False) -> Path:
    rows = ["picture,x,y,width,height"]
    contents = {name: cv2.imencode(".png", image)[1].tobytes() for name, (image, _) in pictures.items()}
    for name, (_, boxes) in pictures.items():
        rows += [f"{name},{box.x},{box.y},{box.width},{box.height}" for box in boxes]
    (root / "boxes.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    if zipped:
        with zipfile.ZipFile(root / "pictures.zip", "w") as archive:
            for name, content in contents.items():
                archive.writestr(name, content)
    else:
        for name, content in contents.items():
            (root / name).write_bytes(content)
    return root


def grey(height: int = 480, width: int = 640) -> Image:
    return np.full((height, width, 3), 90, np.uint8)


def scripted(*boxes: Box) -> ScriptedDetector:
    return ScriptedDetector([[Face(box, 0.9) for box in boxes]])


def measure(root: Path, detector: ScriptedDetector) -> dict[str, Any]:
    measured: dict[str, Any] = measure_detection({"one": detector}, BoxedPictures(root), seed=0)["detectors"]["one"]
    return measured


@pytest.mark.parametrize("zipped", [False, True])
def test_pictures_come_as_files_or_in_an_archive(tmp_path: Path, zipped: bool) -> None:
    boxes = [Box(10, 20, 30, 40), Box(100.5, 20, 30, 40)]
    root = folder_of(tmp_path, {"a.png": (grey(), boxes), "b.png": (grey(200, 300), boxes[:1])}, zipped=zipped)
    pictures = list(BoxedPictures(root))
    assert [(one.name, one.image.shape, one.boxes) for one in pictures] == [
        ("a.png", (480, 640, 3), tuple(boxes)),
        ("b.png", (200, 300, 3), tuple(boxes[:1])),
    ]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("picture,x,y,width\na.png,1,2,3\n", r"has no column height: its columns must be picture,x,y,width,height"),
        (
            "picture,x,y,width,height\na.png,1,2,3,4\na.png,1,2,x,4\n",
            r"boxes\.csv, line 3: expected a picture and four",
        ),
        ("picture,x,y,width,height\na.png,1,2,3\n", r"boxes\.csv, line 2: expected"),
        ("picture,x,y,width,height\na.png,1,2,-3,4\n", r"line 2: .* the last two not below 0"),
        ("picture,x,y,width,height\na.png,1,2,nan,4\n", r"line 2: expected"),
        ("picture,x,y,width,height\n", r"boxes\.csv holds no box"),
        ("picture,x,y,width,height\nb.png,1,2,3,4\n", r"names b\.png, which is neither in .*pictures\.zip nor a file"),
    ],
)
def test_a_table_that_cannot_be_used_is_one_line(tmp_path: Path, content: str, message: str) -> None:
    root = folder_of(tmp_path, {"a.png": (grey(), [])})
    (root / "boxes.csv").write_text(content, encoding="utf-8")
    with pytest.raises(DataError, match=message) as error:
        BoxedPictures(root)
    assert "\n" not in str(error.value)


def test_a_folder_that_is_not_there_and_a_bad_archive_are_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["detection", "--data", str(tmp_path / "none")]) == 7
    assert capsys.readouterr().err.startswith(f"error: cannot read {tmp_path / 'none' / 'boxes.csv'}: No such file")
    root = folder_of(tmp_path, {"a.png": (grey(), [Box(1, 2, 3, 4)])})
    (root / "pictures.zip").write_bytes(b"junk")
    assert main(["detection", "--data", str(root)]) == 7
    assert f"{root / 'pictures.zip'} cannot be read" in capsys.readouterr().err


def test_a_picture_that_is_none_and_a_box_outside_are_named(tmp_path: Path) -> None:
    root = folder_of(tmp_path, {"a.png": (grey(), [Box(1, 2, 3, 4)]), "b.png": (grey(), [Box(640, 2, 30, 40)])})
    pictures = BoxedPictures(root)
    with pytest.raises(DataError, match=r"a box of b\.png lies outside of its 640 x 480"):
        list(pictures)
    (root / "a.png").write_bytes(b"")
    with pytest.raises(DataError, match=r"a\.png is not a readable image"):
        list(pictures)


def test_a_face_is_found_once_by_the_box_that_overlaps_it_most() -> None:
    face = Box(100, 100, 50, 50)
    near, nearer, far = Box(110, 100, 50, 50), Box(105, 100, 50, 50), Box(140, 140, 50, 50)
    assert match([near, nearer, far], [Box(300, 300, 40, 40), face]) == {1: 1}
    assert match([near, nearer], [face, Box(112, 100, 50, 50)]) == {1: 0, 0: 1}
    assert match([], [face]) == match([face], []) == {}


def test_recall_and_precision_are_counted_by_size(tmp_path: Path) -> None:
    """Two of three faces are found, one box is wrong; a face of 12 px counts neither as a face nor as a box."""
    small, middle, large, tiny = (
        Box(20, 20, 30, 20),
        Box(200, 20, 50, 50),
        Box(400, 200, 120, 160),
        Box(20, 300, 12, 9),
    )
    root = folder_of(tmp_path, {"a.png": (grey(), [small, middle, large, tiny])})
    one = measure(root, scripted(large, tiny, small, Box(300, 400, 70, 70)))
    assert (one["recall"]["hits"], one["recall"]["n"]) == (2, 3)
    assert (one["precision"]["hits"], one["precision"]["n"]) == (2, 3)
    assert {name: (band["hits"], band["n"]) for name, band in one["recall_by_size"].items() if band["n"]} == {
        "24-39 px": (1, 1),
        "40-59 px": (0, 1),
        "150+ px": (1, 1),
    }
    assert one["precision_by_size"]["60-99 px"]["share"] == 0
    assert one["found"] == "101"
    assert {name: (of["hits"], of["n"]) for name, of in one["targets"].items()} == dict.fromkeys(
        (UPRIGHT, "rolled 30", "rolled 45", "rolled 60", "light 0.12", "light 0.06"), (1, 1)
    )


def test_sizes_are_those_of_a_picture_that_is_fitted(tmp_path: Path) -> None:
    root = folder_of(tmp_path, {"a.png": (grey(960, 1280), [Box(100, 100, 60, 80)])})
    one = measure(root, scripted())
    assert one["recall_by_size"]["40-59 px"]["n"] == 1 and not one["targets"]


def test_windows_without_faces_hold_none_and_every_box_there_is_false(tmp_path: Path) -> None:
    image = grey()
    image[150:250, 280:360] = 255
    face = Box(280, 150, 80, 100)
    windows = windows_without_faces(BoxedPicture("a", image, (face,)), np.random.default_rng(0), 2)
    assert len(windows) == 2 and all(window.shape == (480, 640, 3) and window.max() == 90 for window in windows)
    assert not windows_without_faces(BoxedPicture("a", image, (Box(0, 0, 640, 480),)), np.random.default_rng(0), 2)
    one = measure(folder_of(tmp_path, {"a.png": (image, [face])}), scripted(Box(1, 1, 50, 50), Box(99, 1, 50, 50)))
    assert (one["false_boxes"], one["clean_windows"]["hits"], one["clean_windows"]["n"]) == (4, 0, 2)


def test_the_time_of_a_search_is_that_of_the_processor_by_what_is_to_be_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One detector takes 2 ms, the other one 8 ms, and 2 ms more where there is a face."""
    clock = [0.0]
    monkeypatch.setattr("benchmarks.quality.detection.time.process_time", lambda: clock[0])

    class Slow:
        def __init__(self, seconds: float, more: float) -> None:
            self._seconds, self._more = seconds, more

        def detect(self, image: Image) -> Sequence[Face]:
            clock[0] += self._seconds + self._more * bool((image == 255).any())
            return ()

    image = grey()
    image[150:250, 280:360] = 255
    face = Box(280, 150, 80, 100)
    pictures: dict[str, tuple[Image, Sequence[Box]]] = {f"{number}.png": (image, [face]) for number in range(4)}
    pictures["two.png"] = image, [face, face]
    measured = measure_detection(
        {"quick": Slow(0.002, 0), "thorough": Slow(0.008, 0.002)}, BoxedPictures(folder_of(tmp_path, pictures)), seed=0
    )
    figures = {(one.subject, one.metric): one for one in detection_measurements(measured)}
    assert {key: figure.runs for key, figure in figures.items() if "face" in key[1]} == {
        ("quick", "CPU time, no face"): (2.0,) * 4,
        ("quick", "CPU time, one face"): (2.0,) * 4,
        ("thorough", "CPU time, no face"): (8.0,) * 4,
        ("thorough", "quick over it, no face"): (0.25,) * 4,
        ("thorough", "CPU time, one face"): (10.0,) * 4,
        ("thorough", "quick over it, one face"): (0.2,) * 4,
    }


def test_the_command_measures_every_detector_on_the_same_pictures(
    astronaut: Image, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root, file = folder_of(tmp_path, {"a.png": (astronaut, [ASTRONAUT])}), tmp_path / "d.json"
    names = ("blazeface_back", "blazeface_short")
    options = [option for name in (*names, "haar") for option in ("--detector", name)]
    assert main(["detection", "--data", str(root), *options, "--json", str(file)]) == 0
    assert "recall" in capsys.readouterr().out
    result = read_result(file)
    for name in names:
        recall = result.find(name, "recall, 100-149 px")
        assert recall is not None and (recall.value, recall.n) == (100, 1)
        rolled = result.find(name, "found, rolled 45")
        assert rolled is not None and rolled.value == 100
    opencv = result.find("haar", "recall, 100-149 px")
    assert opencv is not None and opencv.value == 100
    files = [*(f"{name}: {name}.tflite" for name in names), "haar: haarcascade_frontalface_default.xml"]
    assert sorted(result.artefacts) == files
    assert any(note.startswith("found only by blazeface_back: 0") for note in result.notes)
    markdown = tmp_path / "d.md"
    assert main(["show", str(file), "--metric", "recall", "--markdown", str(markdown)]) == 0
    assert "| blazeface_back | 100" in markdown.read_text(encoding="utf-8")
    assert main(["compare", str(file), str(file), "--fail-on", "recall=1.01"]) == 0


def test_a_threshold_beyond_its_range_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["detection", "--data", ".", "--threshold", "1"])
    assert "1 is not between 0 and 1" in capsys.readouterr().err


def test_the_detector_that_ships_finds_on_real_photographs_what_the_reference_says() -> None:
    """A floor: recall and precision on the first sixty development pictures."""
    folder = SHARED / "detection"
    if not folder.is_dir():
        pytest.skip(f"the photographs with boxes are not at {folder}")
    from itertools import islice

    from edge_emotion.factory.models import make_detector

    class First(BoxedPictures):
        def __iter__(self) -> Any:
            return islice(super().__iter__(), 60)

    one = measure_detection({"back": make_detector("blazeface_back")}, First(folder), seed=0)["detectors"]["back"]
    assert one["recall"]["share"] > 0.7 and one["precision"]["share"] > 0.9
