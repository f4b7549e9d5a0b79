"""Parts that all command lines share. An error is one line; ``--debug`` adds the traceback."""

from __future__ import annotations

import argparse
import difflib
import io
import math
import os
import re
import sys
import traceback
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

from edge_emotion.errors import BackendUnavailable, EdgeEmotionError
from edge_emotion.system.plain_words import os_error_text

OWN_PACKAGES = {"edge_emotion", "train", "convert", "benchmarks"}
"""A module of these that cannot be imported is a fault of the program, not of the installation."""


class CommandParser(argparse.ArgumentParser):
    """An ArgumentParser that suggests the nearest command or option for one that does not exist."""

    def error(self, message: str) -> NoReturn:
        """Print usage and message, with a suggestion where there is one, and exit with code 2."""
        message = _NO_NUMBER.sub(_no_number, message)
        unknown = re.search(r"invalid choice: '(.+?)'|unrecognized arguments: ([^\s=]+)", message)
        super().error(message + (_hint(unknown[1] or unknown[2], set(_words(self))) if unknown else ""))


_NO_NUMBER = re.compile(r"invalid (\w+) value: (?=['\"])(.*)", re.DOTALL)
"""A text that the function of this name, which makes a number of it, raises ValueError for."""

_WHOLE_NUMBERS = "int", "positive_count", "whole_number", "_whole"


def _no_number(found: re.Match[str]) -> str:
    return f"{found[2]} is no {'whole ' if found[1] in _WHOLE_NUMBERS else ''}number"


def _hint(unknown: str, words: set[str]) -> str:
    if unknown in words and unknown.startswith("-"):
        return "; this is an option of another command: add --help for those of this one"
    near = difflib.get_close_matches(unknown, words, 1)
    return f"; did you mean {near[0]}?" if near else ""


def _words(parser: argparse.ArgumentParser) -> Iterator[str]:
    """Names of the commands, options and choices of a parser and of all parsers under it."""
    for action in parser._actions:
        yield from action.option_strings
        yield from map(str, action.choices or ())
        if isinstance(action.choices, dict):
            for sub in action.choices.values():
                yield from _words(sub)


def run_command(options: argparse.Namespace) -> int:
    """Call ``options.command(options)``; its exit code, that of its error, or 130 after Ctrl-C.

    A command may set ``on_interrupt``, a text to print after Ctrl-C, and ``install``, the way to get the libraries that
    it imports when it runs: one that is missing is then an error of one line, too.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a file's name may be no text
            stream.reconfigure(errors="backslashreplace")
    try:
        code = int(options.command(options) or 0)
        if sys.stdout is not None:
            sys.stdout.flush()
    except KeyboardInterrupt:
        if message := getattr(options, "on_interrupt", ""):
            print(message, file=sys.stderr)
        return 130
    except BrokenPipeError:
        # The reader of our output is gone (| head): nothing to say. Python would complain once more when it exits.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (EdgeEmotionError, OSError) as error:
        if options.debug:
            traceback.print_exc()
        text = str(error) if isinstance(error, EdgeEmotionError) else os_error_text(error)
        print(f"error: {text}", file=sys.stderr)
        return error.exit_code if isinstance(error, EdgeEmotionError) else EdgeEmotionError.exit_code
    except ImportError as error:
        if not hasattr(options, "install") or (error.name or "").partition(".")[0] in OWN_PACKAGES:
            raise
        if options.debug:
            traceback.print_exc()
        print(f"error: {_missing_library(error)}: {options.install}", file=sys.stderr)
        return BackendUnavailable.exit_code
    return code


def _missing_library(error: ImportError) -> str:
    """One line about a library that is not installed, or that is broken."""
    name = (error.name or "a library").partition(".")[0]
    if isinstance(error, ModuleNotFoundError):
        return f"{name} is not installed"
    return f"{name} cannot be imported ({' '.join(str(error).split())})"


def add_examples(parser: argparse.ArgumentParser, *examples: str) -> None:
    """Show these commands at the end of ``--help``."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = "\n  ".join(["examples:", *examples])


def complete_words(parser: argparse.ArgumentParser) -> None:
    """Answer a shell that asks for completions, and exit; needs argcomplete, which no other call imports."""
    if "_ARGCOMPLETE" in os.environ:
        with suppress(ImportError):
            import argcomplete

            argcomplete.autocomplete(parser)


def add_debug(parser: argparse.ArgumentParser, *, default: bool | str = False) -> None:
    """``--debug``; ``default=argparse.SUPPRESS`` lets a subcommand take it, too, without undoing it."""
    parser.add_argument("--debug", action="store_true", default=default, help="log more, show tracebacks")


def path_of_something(text: str) -> Path:
    """A path that is not empty: an unset variable of a shell must not mean the current folder."""
    if not text.strip():
        raise argparse.ArgumentTypeError("a path must not be empty")
    return Path(text)


def fraction(text: str) -> float:
    """A number from 0 to 1, for argparse."""
    value = float(text)
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"{text} is not between 0 and 1")
    return value


def positive_seconds(text: str) -> float:
    """A finite number above 0, at most a day's seconds, for argparse."""
    value = float(text)
    if not (math.isfinite(value) and 0 < value <= 86_400):
        raise argparse.ArgumentTypeError(f"{text} is not a number of seconds between 0 and 86400")
    return value


def positive_days(text: str) -> float:
    """A finite number above 0, at most a hundred years of days, for argparse."""
    value = float(text)
    if not (math.isfinite(value) and 0 < value <= 36_525):
        raise argparse.ArgumentTypeError(f"{text} is not a number of days between 0 and 36525")
    return value


def positive_count(text: str) -> int:
    """A whole number above 0, for argparse."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} is not a number above 0")
    return value
