"""Engines that were built on this device, kept until something changes that they depend on."""

from __future__ import annotations

import hashlib
import json
import logging
import re
from collections.abc import Mapping
from pathlib import Path

from edge_emotion.system.atomic_file import write_bytes, write_text

log = logging.getLogger(__name__)

Key = Mapping[str, str]
"""Everything that an engine depends on: readable name -> value."""


class EngineCache:
    """One engine in ``folder``: ``<name>.plan``, and ``<name>.json`` with its key and its hash.

    A failed write is not raised but logged: the engine is then built again at the next start.
    """

    def __init__(self, folder: Path, name: str) -> None:
        self._folder = folder
        self.plan_path = folder / f"{name}.plan"
        self._note_path = folder / f"{name}.json"

    def load(self, key: Key) -> tuple[bytes | None, str]:
        """The plan kept for exactly this key, or None and the reason."""
        try:
            note = json.loads(self._note_path.read_text(encoding="utf-8"))
            kept, digest = dict(note["key"]), str(note["sha256"])
            plan = self.plan_path.read_bytes()
        except FileNotFoundError:
            return None, "there is none yet"
        except (OSError, ValueError, KeyError, TypeError) as error:
            return None, f"the one in {self._folder} cannot be read ({type(error).__name__})"
        if changed := _changes(kept, key):
            return None, changed
        if hashlib.sha256(plan).hexdigest() != digest:
            return None, f"{self.plan_path} is damaged"
        return plan, ""

    def store(self, key: Key, plan: bytes) -> None:
        """Keep a plan. Between the two files the old note does not fit the new plan, which is found out by its hash."""
        note = {"key": dict(key), "sha256": hashlib.sha256(plan).hexdigest()}
        try:
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            write_bytes(self.plan_path, plan)
            write_text(self._note_path, json.dumps(note, indent=2) + "\n")
        except OSError as error:
            log.warning(
                "cannot keep the engine in %s (%s): the next start builds it again", self._folder, error.strerror
            )

    def load_timings(self, key: Key) -> bytes:
        """TensorRT's timing cache of this version and GPU, shared by all models; empty if there is none."""
        try:
            return self._timings_path(key).read_bytes()
        except OSError:
            return b""

    def store_timings(self, key: Key, timings: bytes) -> None:
        """Write TensorRT's timing cache of this version and GPU to the folder; a failure is only logged."""
        try:
            write_bytes(self._timings_path(key), timings)
        except OSError as error:
            log.debug("cannot keep the timing cache in %s: %s", self._folder, error.strerror)

    def _timings_path(self, key: Key) -> Path:
        name = re.sub(r"[^A-Za-z0-9.]+", "-", f"{key['TensorRT']}-{key['GPU']}-{key['compute capability']}")
        return self._folder / f"{name}.timings"


def _changes(kept: Key, key: Key) -> str:
    """'TensorRT was 8.6.1 and is 10.3.0; ...', empty if nothing changed."""
    names = sorted(kept.keys() | key.keys())
    return "; ".join(
        f"{name} was {kept.get(name, 'none')} and is {key.get(name, 'none')}"
        for name in names
        if kept.get(name) != key.get(name)
    )
