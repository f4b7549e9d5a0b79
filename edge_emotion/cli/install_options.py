"""Options of ``edge-emotion install``."""

from __future__ import annotations

import argparse
import re
from pathlib import Path

from edge_emotion.cli.terminal import path_of_something
from edge_emotion.errors import ConfigError


def install_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``install``."""
    parser.add_argument("release", nargs="?", type=path_of_something, metavar="RELEASE", help="its folder or tar file")
    parser.add_argument("--models", type=path_of_something, required=True, metavar="DIR", help="installs DIR/NAME")
    parser.add_argument(
        "--trust", type=Path, action="append", default=[], metavar="FILE",
        help="a public key; may be given twice; default: update.keys of the settings",
    )  # fmt: skip
    parser.add_argument("-c", "--config", type=Path, metavar="FILE", help="YAML settings: update.keys, classifier")
    parser.add_argument("--downgrade", action="store_true", help="also an older release than was installed before")
    parser.add_argument("--back", type=_model_name, metavar="NAME", help="use the last good release of NAME again")


def run_install(options: argparse.Namespace) -> None:
    """Run ``install``; see ``edge_emotion.cli.install``. Raises ConfigError for options that do not fit."""
    if (options.release is None) == (options.back is None):
        raise ConfigError("give a RELEASE to install, or --back NAME")
    from edge_emotion.cli.install import install_release

    install_release(options)


def _model_name(text: str) -> str:
    if not re.fullmatch(r"[a-z0-9_]{1,64}", text):
        raise argparse.ArgumentTypeError(f"{text!r} is no name of a model: a-z, 0-9 and _")
    return text
