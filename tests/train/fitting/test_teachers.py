"""Which runs may teach."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from edge_emotion.errors import ConfigError
from edge_emotion.labels import EMOTIONS

pytest.importorskip("tf_keras")

from train.fitting.distillation import make_teacher
from train.recipes.catalogue import find_recipe
from train.recipes.recipe import rgb_input
from train.runs.run_directory import create

STUDENT = find_recipe("tiny")
RECORD = {"dataset": "FER+", "held_out": "abc", "faces": {"train": 90, "validation": 10, "test": 10}}
VOTES = "FER+ with FER2013's label as further votes (fear 2)"


def ask(path: Path, **changes: Any) -> str:
    """What is wrong with a run as a teacher of STUDENT; one that may teach lacks only its weights."""
    recipe = changes.pop("recipe", STUDENT).model_dump(mode="json")
    create(path / "run", {"recipe": recipe, "classes": list(EMOTIONS), "finished": True, **RECORD, **changes})
    with pytest.raises(ConfigError) as error:
        make_teacher([path / "run"], EMOTIONS, STUDENT, RECORD)
    return str(error.value)


MAY_TEACH = r"has no best\.h5 yet"
LEAK = r"teacher .*run held out other faces of FER\+ than this run"
SHARPER = STUDENT.change(input=rgb_input(96))
FEWER = {"train": 100, "validation": 5, "test": 5}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({}, MAY_TEACH),
        ({"finished": False}, r"teacher .*run is not finished: give its train fit command again"),
        ({"classes": ["fear", "anger"]}, r"tells fear, anger apart"),
        ({"held_out": "xyz"}, LEAK),
        ({"held_out": "xyz", "dataset": VOTES}, LEAK),
        ({"dataset": VOTES}, MAY_TEACH),
        ({"held_out": "xyz", "dataset": "RAF-DB"}, MAY_TEACH),
        ({"held_out": "xyz", "recipe": SHARPER}, MAY_TEACH),
        ({"held_out": "xyz", "recipe": SHARPER, "faces": FEWER}, LEAK),
    ],
)
def test_a_teacher_is_finished_and_has_not_seen_what_the_student_is_measured_on(
    changes: dict[str, Any], message: str, tmp_path: Path
) -> None:
    assert re.search(message, ask(tmp_path, **changes))
