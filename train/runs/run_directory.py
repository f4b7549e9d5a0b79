"""The directory of one training run: its settings, progress and best weights."""

from __future__ import annotations

import csv
import json
import platform
import re
import shutil
import subprocess
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from edge_emotion.errors import ConfigError, EdgeEmotionError
from edge_emotion.system.atomic_file import write_text
from train.data.faces import DataSet
from train.recipes.catalogue import find_recipe
from train.recipes.recipe import Recipe

RECORD, CHECKPOINTS, HISTORY, BEST = "run.json", "checkpoints", "history.csv", "best.h5"
PACKAGES = "tensorflow", "tf_keras", "numpy", "opencv-python-headless"

MAY_CHANGE = "commit", "versions"
"""Keys that may differ when a run continues, after an update of code or packages; the record keeps the first values."""

NAMES_RUNS = "start", "teachers"
"""Keys that name weights: compared by the weights' hashes, so that their directories may be renamed."""


class TrainingError(EdgeEmotionError, RuntimeError):
    """Training cannot continue."""


@dataclass(frozen=True)
class Run:
    """A training run on disk; ``record``: the content of its run.json."""

    path: Path
    recipe: Recipe
    record: dict[str, Any]

    @property
    def classes(self) -> tuple[str, ...]:
        """The classes of the model's outputs, in their order."""
        return tuple(self.record["classes"])

    @property
    def finished(self) -> bool:
        """Whether training is complete: the last epoch, or an early stop."""
        return bool(self.record.get("finished"))

    @cached_property
    def history(self) -> dict[str, list[float]]:
        """Column -> one value per epoch: loss, accuracy, val_accuracy, val_balanced_accuracy, val_loss, ..."""
        path = self.path / HISTORY
        if not path.is_file():
            return {}
        with path.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        return {key: [float(row[key]) for row in rows] for key in (rows[0] if rows else ())}

    def require_trained_on(self, data: DataSet) -> None:
        """Raises ConfigError if the run is not finished, or if its held-out splits were not those of ``data``."""
        if not self.finished:
            raise ConfigError(
                f"{self.path} is not finished: run its train fit command again, it continues where it stopped"
            )
        data = data.restrict(self.classes)
        if data.fingerprint(split for split in data.splits if split != "train") != self.record.get("held_out"):
            raise ConfigError(f"{self.path} was trained on {self.record['dataset']}, and --data is not that data set")

    def build(self) -> Any:
        """The float model with the run's best weights: a tf_keras model N x H x W x C -> N x classes logits."""
        weights = self.path / BEST
        if not weights.is_file():
            raise ConfigError(f"{self.path} has no {BEST} yet: let its first epoch finish")
        model = self.recipe.build(len(self.classes), weights=None)
        model.load_weights(weights)
        return model


def load_run(path: Path) -> Run:
    """Read a run directory. Raises ConfigError for another directory, or if the recipe no longer exists."""
    record = _read(path)
    if record is None:
        raise ConfigError(f"{path} is not a training run: it holds no {RECORD}")
    try:
        settings = dict(record["recipe"])
        return Run(path, find_recipe(settings.pop("name")).change(**settings), record)
    except (KeyError, TypeError, ValueError) as error:
        reason = f"{RECORD} lacks {error}" if isinstance(error, KeyError) else error
        raise ConfigError(f"{path} is not a training run: {reason}") from error


def matching_record(path: Path, record: dict[str, Any]) -> dict[str, Any] | None:
    """The record of a run with the same settings in this directory; None for a missing or empty directory.

    Raises ConfigError if the directory contains a run with other settings, or anything else.
    """
    known = _read(path)
    if known is None:
        if path.exists() and (not path.is_dir() or any(path.iterdir())):
            raise ConfigError(f"{path} is not empty and holds no training run; choose another --run directory")
        return None
    changed = [key for key in record if key not in MAY_CHANGE and not _alike(key, known.get(key), record[key])]
    if changed:
        what = ", ".join(changed)
        raise ConfigError(f"{path} holds a run with another {what}; remove it, or choose another --run directory")
    return known


def same_weights(note: object, other: object) -> bool:
    """Whether two notes of records, such as 'tiny (sha256 0123456789ab)', mean the same weights, by their hashes."""
    hashes, others = (re.findall(r"sha256 [0-9a-f]+", str(one)) for one in (note, other))
    return hashes == others if hashes or others else note == other


def _alike(key: str, known: object, wanted: object) -> bool:
    if key == "recipe" and isinstance(known, dict):
        return _with_newer_settings(known) == wanted
    return same_weights(known, wanted) if key in NAMES_RUNS else known == wanted


def _with_newer_settings(recipe: dict[str, Any]) -> dict[str, Any]:
    """The recipe of a record, in which settings that came later have their defaults: these change nothing."""
    required = {"name": "", "summary": "", "network": len, "input": recipe.get("input")}
    try:
        defaults = Recipe.model_validate(required).model_dump(mode="json")
    except ValueError:
        return recipe
    nested = {key: value | recipe[key] for key, value in defaults.items() if isinstance(recipe.get(key), dict)}
    return defaults | recipe | nested


def create(path: Path, record: dict[str, Any]) -> None:
    """Make the directory of a new run; leaves an existing record unchanged."""
    path.mkdir(parents=True, exist_ok=True)
    if not (path / RECORD).is_file():
        save(path, record)


def _read(path: Path) -> dict[str, Any] | None:
    """The record in a directory, None if there is none. Raises ConfigError for a damaged one."""
    file = path / RECORD
    if not file.is_file():
        return None
    try:
        record = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path} is not a training run: cannot read {file}: {error}") from error
    if not isinstance(record, dict):
        raise ConfigError(f"{path} is not a training run: {file} is no record of one")
    return record


def save(path: Path, record: dict[str, Any]) -> None:
    """Write the record atomically."""
    write_text(path / RECORD, json.dumps(record, indent=2))


def require_disk(path: Path, parameters: int) -> None:
    """Raises ConfigError if checkpoints with this number of parameters would not fit on the disk.

    Needed at once: two checkpoints, each with weights, two optimiser moments and the average; and the best weights
    twice.
    """
    place = next(folder for folder in (path.absolute(), *path.absolute().parents) if folder.exists())
    need, free = 4 * parameters * (2 * 4 + 2), shutil.disk_usage(place).free
    if need > free:
        raise ConfigError(
            f"a run of {parameters:,} parameters needs up to {need / 2**30:.1f} GiB, and {place} has "
            f"{free / 2**30:.1f} GiB free; choose another --run directory"
        )


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that the figures depend on."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not from a package"
    return found


def code_version() -> str:
    """The commit of this checkout, with '+' at its end if files were changed; 'unknown' outside of git."""
    try:
        done = subprocess.run(
            ["git", "describe", "--always", "--dirty=+", "--abbrev=12"],
            cwd=Path(__file__).parent, capture_output=True, text=True, check=True,
        )  # fmt: skip
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return done.stdout.strip()
