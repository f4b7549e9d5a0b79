"""Messages of libraries and of the system in the words of people."""

from __future__ import annotations

import argparse
import errno
import shutil
from pathlib import Path

import pytest

from edge_emotion.cli.terminal import CommandParser, positive_count, positive_days
from edge_emotion.system.plain_words import os_error_text


def test_an_error_of_the_system_names_the_file_and_the_reason(tmp_path: Path) -> None:
    with pytest.raises(OSError) as missing:
        (tmp_path / "a\nb").read_bytes()
    assert os_error_text(missing.value) == f"{tmp_path}/a\\nb: No such file or directory"
    (tmp_path / "from").write_text("")
    with pytest.raises(OSError) as two:
        (tmp_path / "from").rename(tmp_path / "none" / "to")
    assert os_error_text(two.value) == f"{tmp_path}/none/to: No such file or directory"
    with pytest.raises(OSError) as numbered:
        shutil.disk_usage(987_654)
    assert os_error_text(numbered.value) == "Bad file descriptor"
    assert os_error_text(OSError(errno.ENOSPC, "No space left on device")) == "No space left on device"
    assert os_error_text(OSError("gone")) == "gone" and os_error_text(TimeoutError()) == "TimeoutError"


def test_what_is_no_number_is_told_without_names_of_functions(capsys: pytest.CaptureFixture[str]) -> None:
    parser = CommandParser()
    for kind in (float, int, positive_days, positive_count):
        parser.add_argument(f"--{kind.__name__}", type=kind)
    for option, text, wanted in (
        ("float", "a", "'a' is no number"),
        ("int", "1.5", "'1.5' is no whole number"),
        ("positive_days", "it's", '"it\'s" is no number'),
        ("positive_count", "", "'' is no whole number"),
    ):
        with pytest.raises(SystemExit):
            parser.parse_args([f"--{option}={text}"])
        assert capsys.readouterr().err.endswith(f"argument --{option}: {wanted}\n")
    with pytest.raises(argparse.ArgumentTypeError):
        positive_count("0")
