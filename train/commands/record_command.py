"""Command ``python -m train record``: pictures of a camera as one session of a data set in folders."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from edge_emotion.cli.terminal import positive_count
from edge_emotion.datatypes import Image
from edge_emotion.errors import ConfigError, SinkError

SESSION = re.compile(r"[a-z0-9-]{1,40}", re.IGNORECASE)


def add_record(commands: Any) -> None:
    """Add ``record`` to the subparsers of the command line."""
    parser = commands.add_parser(
        "record", help="store pictures of a camera as training data, in a folder of an emotion"
    )
    parser.add_argument("emotion", metavar="EMOTION", help="what the faces show: happy, sad, ...")
    parser.add_argument("--source", default="0", help="a webcam (0, the default) or any other source of the daemon")
    parser.add_argument("--session", required=True, metavar="NAME", help="who and when: letters, digits, hyphens")
    parser.add_argument("--data", type=Path, required=True, metavar="DIR", help="the data set, which grows")
    parser.add_argument("--seconds", type=positive_count, default=20, help="default: 20")
    parser.add_argument("--rate", type=positive_count, default=2, help="pictures a second (2)")
    parser.set_defaults(command=_record, on_interrupt="stopped; the pictures so far are kept")


def _record(options: argparse.Namespace) -> None:
    from edge_emotion.labels import canonical
    from edge_emotion.system.image_files import write_png

    if SESSION.fullmatch(options.session) is None:
        raise ConfigError(f"--session {options.session}: use up to 40 letters, digits and hyphens, like anna-1")
    folder = options.data / canonical(options.emotion)
    earlier = sorted(folder.glob(f"{options.session}_*.png"))
    if earlier:
        raise ConfigError(
            f"{earlier[0]} is there already: give another --session, or delete the {len(earlier)} pictures"
        )
    count = 0
    for count, image in enumerate(_pictures(options.source, options.seconds, 1 / options.rate), start=1):
        _make(folder)
        write_png(folder / f"{options.session}_{count:04d}.png", image)
        if sys.stderr.isatty():
            print(f"\r{count} pictures", end="", file=sys.stderr, flush=True)
    if sys.stderr.isatty():
        print("\r", end="", file=sys.stderr, flush=True)
    print(f"{count} pictures of session {options.session} in {folder}")


def _pictures(source: str, seconds: float, interval: float) -> Iterator[Image]:
    """A picture of a source each ``interval`` seconds, by the times of its frames. Raises SourceError."""
    from edge_emotion.config.settings import CameraSettings
    from edge_emotion.errors import SourceEnded
    from edge_emotion.factory.cameras import make_source

    camera = make_source(CameraSettings(source=source))
    try:
        camera.open()
        frame = camera.read()
        due, end = frame.timestamp, frame.timestamp + seconds
        while frame.timestamp < end:
            if frame.timestamp >= due:
                due += interval
                yield frame.image
            frame = camera.read()
    except SourceEnded:
        return
    finally:
        camera.close()


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SinkError(f"cannot make the folder {folder}: {error.strerror}") from error
