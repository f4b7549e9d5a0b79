"""``classify --from LIST --shard I/N --output FILE --resume``: archives in parts, safe to kill."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from support.paths import ROOT

from edge_emotion.cli.main import main
from edge_emotion.datatypes import Image

OPTIONS = ["--cropped", "--model", "tiny"]


@pytest.fixture
def album(tmp_path: Path, astronaut: Image, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Seven face crops; their names are in the file ``list``."""
    monkeypatch.chdir(tmp_path)
    names = [f"{number} of 7\udcff.png" if number == 3 else f"{number}.png" for number in range(1, 8)]
    face = cv2.resize(astronaut[20:240, 200:420], (64, 64))
    for number, name in enumerate(names):
        Path(name).write_bytes(cv2.imencode(".png", np.roll(face, 3 * number, axis=1))[1].tobytes())
    Path("list").write_bytes(b"\n".join(os.fsencode(name) for name in [*names[:2], "", names[0], *names[2:]]) + b"\n")
    return names


def rows(file: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in Path(file).read_text(encoding="utf-8").splitlines()]


def test_the_shards_together_have_every_picture_once_with_the_rows_of_a_single_run(album: list[str]) -> None:
    assert main(["classify", "--from", "list", "--output", "all", *OPTIONS]) == 0
    assert [row["image"] for row in rows("all")] == album
    for shard in (1, 2, 3):
        assert main(["classify", "--from", "list", "--shard", f"{shard}/3", "--output", f"part{shard}", *OPTIONS]) == 0
    parts = [row for shard in (1, 2, 3) for row in rows(f"part{shard}")]
    assert sorted(map(str, parts)) == sorted(map(str, rows("all")))
    assert [len(rows(f"part{shard}")) for shard in (1, 2, 3)] == [3, 2, 2]


def test_a_run_that_was_killed_goes_on_where_it_was(album: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    command = ["classify", "--from", "list", "--output", "rows", *OPTIONS]
    assert main(command) == 0
    whole = Path("rows").read_bytes()
    cut = whole[: whole.index(b"\n", whole.index(b"\n") + 1) + 1 + 40]  # two rows, and the beginning of a third one
    Path("rows").write_bytes(cut)
    assert main(command) == 2, "without --resume nothing is written into a file that has something"
    assert Path("rows").read_bytes() == cut
    capsys.readouterr()
    assert main([*command, "--resume"]) == 0
    assert "rows: 2 of 7 files are done" in capsys.readouterr().err
    assert Path("rows").read_bytes() == whole
    assert main([*command, "--resume"]) == 0
    assert Path("rows").read_bytes() == whole
    Path("rows").write_bytes(whole[:40])  # not even one whole row
    assert main([*command, "--resume"]) == 0
    assert Path("rows").read_bytes() == whole


def test_a_picture_that_cannot_be_read_is_tried_again_by_the_next_run(album: list[str]) -> None:
    broken = Path(album[1])
    good = broken.read_bytes()
    broken.write_bytes(b"no picture")
    command = ["classify", "--from", "list", "--output", "rows", "--resume", *OPTIONS]
    assert main(command) == 3
    assert len(rows("rows")) == 6
    broken.write_bytes(good)
    assert main(command) == 0
    assert sorted(str(row["image"]) for row in rows("rows")) == sorted(album)


def test_two_processes_cannot_write_one_file(album: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    holder = (
        "import fcntl, sys; f = open('rows', 'a'); fcntl.flock(f, fcntl.LOCK_EX); print(flush=True); sys.stdin.read()"
    )
    with subprocess.Popen([sys.executable, "-c", holder], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None and other.stdout.readline() == b"\n"
        assert main(["classify", "--from", "list", "--output", "rows", *OPTIONS]) == 6
        other.communicate(b"")
    assert "another process writes to rows: choose another file" in capsys.readouterr().err
    assert Path("rows").read_bytes() == b""


def test_what_is_impossible_is_one_line(album: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    Path("foreign").write_text('{"image": "a"}\n', encoding="utf-8")
    Path("notes").write_text("milk\neggs", encoding="utf-8")
    Path("word").write_text("milk", encoding="utf-8")
    other = {"image": "a", "model": {"name": "mobilenet_v2", "version": "1.0.0"}, "faces": []}
    Path("other").write_text(json.dumps(other) + "\n", encoding="utf-8")
    Path("binary").write_bytes(b"\x7fELF\0\0")
    cases = [
        ([], 2, "there is no picture"),
        (["--from", "nowhere"], 3, "cannot read the list nowhere"),
        (["--from", "binary"], 3, "is no list of paths"),
        (["--from", "list", "--resume"], 2, "--resume goes on with a file: give --output FILE"),
        (["--from", "list", "--shard", "1/2", "--annotate", "drawn"], 2, "--annotate draws all pictures in one run"),
        (["--from", "list", "--output", "foreign", "--resume"], 2, "foreign, line 1: this is no row of classify"),
        (["--from", "list", "--output", "notes", "--resume"], 2, "notes, line 1: this is no row of classify"),
        (["--from", "list", "--output", "word", "--resume"], 2, "word, line 1: this is no row of classify"),
        (["--from", "list", "--output", "other", "--resume"], 2, "other, line 1: its model is {'name': 'mobilenet_v2'"),
        (["--from", "list", "--output", "no/rows"], 6, "cannot write to no/rows"),
    ]
    for words, code, text in cases:
        assert main(["classify", *OPTIONS, *words]) == code, words
        errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
        assert len(errors) == 1 and text in errors[0], errors
    for wrong in ("0/2", "3/2", "1", "a/b"):
        with pytest.raises(SystemExit, match="2"):
            main(["classify", "--from", "list", "--shard", wrong])
    assert Path("notes").read_text(encoding="utf-8") == "milk\neggs"
    assert Path("word").read_text(encoding="utf-8") == "milk"


def test_the_documented_program_for_dask_gives_the_rows_of_a_single_run(album: list[str], tmp_path: Path) -> None:
    page = (ROOT / "docs" / "how-to" / "archives.md").read_text(encoding="utf-8")
    (program,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    assert len(program.splitlines()) <= 30
    Path("archive.py").write_text(program, encoding="utf-8")
    environment = {"PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin"}
    command = [sys.executable, "archive.py", "list", "parts", *OPTIONS]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout) == (0, "parts/rows-1.jsonl\nparts/rows-2.jsonl\n"), done.stderr
    assert main(["classify", "--from", "list", "--output", "all", *OPTIONS]) == 0
    parts = [*rows("parts/rows-1.jsonl"), *rows("parts/rows-2.jsonl")]
    assert sorted(map(str, parts)) == sorted(map(str, rows("all")))
