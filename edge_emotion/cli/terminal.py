"""What the command lines share: an error is one line, unless --debug asks for the traceback."""

from __future__ import annotations

import argparse
import io
import math
import os
import sys
import traceback

from edge_emotion.errors import EdgeEmotionError


def run_command(options: argparse.Namespace) -> int:
    """Call ``options.command(options)``; its exit code, that of its error, or 130 after Ctrl-C.

    What is said after Ctrl-C, if anything, a command sets as ``on_interrupt``.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a file's name may be no text
            stream.reconfigure(errors="backslashreplace")
    try:
        code = int(options.command(options) or 0)
        if sys.stdout is not None:
            sys.stdout.flush()
    except KeyboardInterrupt:
        if said := getattr(options, "on_interrupt", ""):
            print(said, file=sys.stderr)
        return 130
    except BrokenPipeError:
        # The reader of our output is gone (| head): nothing to say. Python would complain once more when it exits.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (EdgeEmotionError, OSError) as error:
        if options.debug:
            traceback.print_exc()
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code if isinstance(error, EdgeEmotionError) else EdgeEmotionError.exit_code
    return code


def add_debug(parser: argparse.ArgumentParser, *, default: bool | str = False) -> None:
    """``--debug``; ``default=argparse.SUPPRESS`` lets a subcommand take it, too, without undoing it."""
    parser.add_argument("--debug", action="store_true", default=default, help="log more, show tracebacks")


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


def positive_count(text: str) -> int:
    """A whole number above 0, for argparse."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} is not a number above 0")
    return value
