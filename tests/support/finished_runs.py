"""Runs of the recipe ``tiny`` that several tests read: each is trained once in a process."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from support.shallow import BLOCKS


class FinishedRuns:
    """Makes runs under a folder; a run that was made before with the same settings is given again."""

    def __init__(self, folder: Path, data: Any) -> None:
        self._folder, self._data = folder, data
        self._made: dict[str, Path] = {}

    def __call__(self, **changes: object) -> Path:
        """Directory of a finished run of two steps in each of two epochs, with a batch of four; only to be read."""
        from train.fitting.fit import fit
        from train.recipes.catalogue import find_recipe

        recipe = find_recipe("tiny").change(**{"batch_size": 4, "epochs": 2, **changes})
        name = recipe.model_dump_json()
        if name not in self._made:
            run = self._folder / str(len(self._made))
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr("train.networks.mobilenet_v2.TINY_BLOCKS", BLOCKS)
                fit(recipe, self._data, run, weights=None, start="random", steps=2, floats="float32")
            self._made[name] = run
        return self._made[name]

    def copy(self, to: Path, **changes: object) -> Path:
        """The same, copied to ``to``, for a test that changes it."""
        return Path(shutil.copytree(self(**changes), to))


@pytest.fixture(scope="session")
def finished_run(few_faces: Any, tmp_path_factory: pytest.TempPathFactory) -> FinishedRuns:
    """Makes finished runs of ``few_faces``, each once."""
    return FinishedRuns(tmp_path_factory.mktemp("finished"), few_faces)
