"""Commands ``python -m convert release-key`` and ``release``."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from edge_emotion import __version__
from edge_emotion.cli.terminal import path_of_something, positive_count, positive_days
from edge_emotion.config.section import read_secret
from edge_emotion.errors import ConfigError

DAYS = 180.0


def add_release_key(commands: Any) -> None:
    """Add ``release-key FILE``."""
    parser = commands.add_parser("release-key", help="make a pair of keys for releases: FILE and FILE.pub")
    parser.add_argument("file", type=path_of_something, metavar="FILE", help="the secret key; never overwritten")
    parser.add_argument("--password-file", type=Path, metavar="FILE", help="encrypts the secret key")
    parser.set_defaults(command=_release_key)


def add_release(commands: Any) -> None:
    """Add ``release MODEL --key FILE --out DIR --serial N``."""
    parser = commands.add_parser("release", help="make a signed release of a model folder")
    parser.add_argument("model", help="a shipped model or a model folder")
    parser.add_argument("--key", type=Path, required=True, metavar="FILE", help="secret key of release-key")
    parser.add_argument("--password-file", type=Path, metavar="FILE", help="of the key")
    parser.add_argument("--out", type=path_of_something, required=True, metavar="DIR", help="writes DIR/NAME-SERIAL")
    parser.add_argument("--serial", type=positive_count, required=True, help="higher than that of the release before")
    parser.add_argument("--expires", type=positive_days, default=DAYS, metavar="DAYS", help="default: 180")
    parser.add_argument("--minimum-runtime", default=__version__, metavar="VERSION", help="default: this program's")
    parser.add_argument("--tar", action="store_true", help="one file instead of a folder")
    parser.set_defaults(command=_release)


def _release_key(options: argparse.Namespace) -> None:
    from edge_emotion.updates.secret_key import make_key_pair

    for path in make_key_pair(options.file, _password(options)):
        print(path)


def _release(options: argparse.Namespace) -> None:
    from convert.releases.release import make_release
    from edge_emotion.updates.secret_key import read_secret_key

    print(
        make_release(
            options.model,
            read_secret_key(options.key, _password(options)),
            options.out,
            serial=options.serial,
            days=options.expires,
            minimum_runtime=options.minimum_runtime,
            as_tar=options.tar,
        )
    )


def _password(options: argparse.Namespace) -> str:
    """The password of the key; empty without one. Raises ConfigError for a file that cannot be read or is empty."""
    if options.password_file is None:
        return ""
    password = read_secret("--password-file", options.password_file)
    if not password:
        raise ConfigError(f"--password-file {options.password_file} is empty")
    return password
