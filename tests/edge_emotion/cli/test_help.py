"""Help for people at a terminal: examples that work, and words that the shell completes."""

from __future__ import annotations

import argparse
import os
import shlex
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from benchmarks import cli as benchmarks
from convert import cli as convert
from edge_emotion.cli.examples import EXAMPLES
from edge_emotion.cli.main import _parser
from train.commands import cli as train


@pytest.mark.parametrize("name", EXAMPLES)
def test_every_command_has_examples_that_it_takes(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    parser = _parser()
    with pytest.raises(SystemExit):
        parser.parse_args([name, "--help"])
    printed = capsys.readouterr().out
    for example in EXAMPLES[name]:
        program, command, *words = shlex.split(example.partition(" > ")[0])
        assert (program, command) == ("edge-emotion", name) and f"\n  {example}\n" in printed
        assert isinstance(parser.parse_args([command, *words]), argparse.Namespace)


@pytest.mark.parametrize(
    ("module", "stage"),
    [(train, "train"), (convert, "convert"), (benchmarks, "benchmarks")],
    ids=["train", "convert", "benchmarks"],
)
def test_examples_of_the_workstation_are_taken_as_well(module: ModuleType, stage: str) -> None:
    parser = module._parser()
    for name, examples in module.EXAMPLES.items():
        for example in examples:
            words = shlex.split(example)
            assert words[:4] == ["python", "-m", stage, name]
            parser.parse_args(words[3:])


@pytest.mark.parametrize(
    ("line", "word"), [("edge-emotion cl", "classify"), ("edge-emotion subscribe --pass", "--password-file")]
)
def test_the_shell_completes_commands_and_options(line: str, word: str, tmp_path: Path) -> None:
    pytest.importorskip("argcomplete")
    answer = tmp_path / "answer"
    asked = {
        "_ARGCOMPLETE": "1", "_ARGCOMPLETE_IFS": "\n", "_ARGCOMPLETE_STDOUT_FILENAME": str(answer),
        "COMP_LINE": line, "COMP_POINT": str(len(line)),
    }  # fmt: skip
    command = [sys.executable, "-m", "edge_emotion"]
    done = subprocess.run(command, env={**os.environ, **asked}, capture_output=True, timeout=60)
    assert (done.returncode, done.stdout) == (0, b"")
    assert word in answer.read_text().split()
