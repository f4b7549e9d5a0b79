"""``edge-emotion install``: a signed release of a model becomes the model in use, or the last good one again."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from edge_emotion.config.loader import load
from edge_emotion.config.settings import Settings
from edge_emotion.errors import ConfigError
from edge_emotion.updates.library import pynacl_for


def install_release(options: argparse.Namespace) -> None:
    """Install, or go back, and print what is in use then. Raises as ``edge_emotion.updates.install`` does."""
    with pynacl_for("install"):
        from edge_emotion.updates.install import go_back, install
        from edge_emotion.updates.minisign import read_public_key
    if options.back is not None:
        serial = go_back(options.models, options.back)
        print(f"{options.models / options.back} is serial {serial} again")
        return
    settings = None if options.config is None else load(options.config, {})
    keys = [read_public_key(file) for file in _key_files(options.trust, settings)]
    classifier = None if settings is None else settings.classifier
    release = install(options.release, options.models, keys, classifier=classifier, downgrade=options.downgrade)
    print(f"{options.models / release.name} is {release.title}; a daemon takes it at its next start")


def _key_files(trust: Sequence[Path], settings: Settings | None) -> Sequence[Path]:
    """Files of the trusted keys: those of the command line, else of the settings. Raises ConfigError without any."""
    files = trust or (settings.update.keys if settings else ())
    if not files:
        raise ConfigError("no key is trusted: give --trust FILE, or --config with update.keys")
    return files
