"""``python -m train record``: a session of pictures of a camera, in the folder of an emotion."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge_emotion.cli.demo import CLIP
from edge_emotion.system.image_files import read_picture
from train.commands.cli import main


def record(folder: Path, *options: str) -> int:
    return main(["record", "happy", "--source", str(CLIP), "--data", str(folder), *options])


def test_pictures_of_a_source_become_a_session_of_an_emotion(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert record(tmp_path, "--session", "anna-1", "--seconds", "1", "--rate", "4") == 0
    files = sorted((tmp_path / "happiness").iterdir())
    assert [file.name for file in files] == [f"anna-1_{number:04d}.png" for number in range(1, 5)]
    assert {read_picture(file).shape for file in files} == {(480, 640, 3)}
    assert capsys.readouterr().out == f"4 pictures of session anna-1 in {tmp_path / 'happiness'}\n"
    before = files[0].read_bytes()
    assert record(tmp_path, "--session", "anna-1") == 2
    assert "anna-1_0001.png is there already: give another --session" in capsys.readouterr().err
    assert files[0].read_bytes() == before


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["--session", "a_b"], 2, "--session a_b: use up to 40 letters, digits and hyphens"),
        (["--session", "ben", "--source", "nowhere.mp4"], 3, "no video file nowhere.mp4"),
    ],
)
def test_what_cannot_be_recorded_is_one_line_and_leaves_nothing(
    words: list[str], code: int, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert record(tmp_path, *words) == code
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1
    assert list(tmp_path.iterdir()) == []
