"""The options of the project's commands, as their --help lists them."""

from __future__ import annotations

import contextlib
import io
import re
import runpy
import sys
from functools import cache
from unittest.mock import patch

MODULES = {
    "edge-emotion": "edge_emotion",
    "python -m train": "train",
    "python -m convert": "convert",
    "python -m benchmarks": "benchmarks",
}
"""Program as documents write it -> the module that runs it."""


@cache
def options_of(program: str, command: str) -> frozenset[str]:
    """The long options of a command without --help and --debug. Raises AssertionError if there is no such command."""
    text = help_text(program, *command.split())
    lines = re.findall(r"^  ((?:-\w[^,\n]*, )?--[a-z][^\n]*)", text, re.MULTILINE)
    return frozenset(re.findall(r"--[a-z][a-z0-9-]*", " ".join(line.split("  ")[0] for line in lines))) - {
        "--help",
        "--debug",
    }


@cache
def commands_of(program: str) -> frozenset[str]:
    """The names of the commands of a program; ``fleet status`` for those that have actions."""
    text = help_text(program)
    assert "COMMAND" in text
    return frozenset(full for name in _names(text) for full in _with_actions(program, name))


def _with_actions(program: str, command: str) -> list[str]:
    text = help_text(program, command)
    return [f"{command} {name}" for name in _names(text)] if "ACTION" in text else [command]


def _names(text: str) -> list[str]:
    return re.findall(r"^    ([a-z][a-z0-9-]*)(?: |$)", text, re.MULTILINE)


@cache
def help_text(program: str, *command: str) -> str:
    """What ``program command --help`` prints."""
    output = io.StringIO()
    arguments = [program, *command, "--help"]
    with patch.object(sys, "argv", arguments), contextlib.redirect_stdout(output), contextlib.redirect_stderr(output):
        try:
            runpy.run_module(MODULES[program], run_name="__main__")
        except SystemExit as ended:
            assert ended.code == 0, f"{' '.join(arguments)}: {output.getvalue()}"
    return output.getvalue()
