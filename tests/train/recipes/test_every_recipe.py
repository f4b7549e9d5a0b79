"""Every recipe, a few steps."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from edge_emotion.labels import EMOTIONS

pytest.importorskip("tf_keras")

from train.data.faces import DataSet
from train.fitting.fit import fit
from train.keras import K
from train.recipes.catalogue import RECIPES, find_recipe
from train.runs.run_directory import load_run

SMALL_ENOUGH = 96
"""Larger inputs are cut to this; every network takes it."""


@pytest.fixture(autouse=True)
def forget_graphs() -> Iterator[None]:
    """Some of these networks are large, and Keras keeps what it has built."""
    yield
    K.backend.clear_session()


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_trains_a_few_steps(name: str, few_faces: DataSet, tmp_path: Path) -> None:
    side = min(find_recipe(name).input.height, SMALL_ENOUGH)
    recipe = find_recipe(name).change(epochs=1, batch_size=2, input={"height": side, "width": side})
    best = fit(recipe, few_faces, tmp_path / "run", weights=None, start="random", steps=2)
    assert best.is_file()
    run = load_run(tmp_path / "run")
    assert run.finished
    assert run.recipe == recipe
    assert run.build().output_shape == (None, len(EMOTIONS))
    assert len(run.history["val_accuracy"]) == 1
