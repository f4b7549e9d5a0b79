"""Who is who after people crossed: the scenes, and the floor of the tracker that ships on them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from benchmarks.cli import main
from benchmarks.quality.crossings import (
    SCENES,
    count_kept,
    crossing,
    default_tracker,
    detections,
    measure_tracking,
)

FLOORS = {"crossing": 0.95, "overtaking": 0.85, "passing a seat": 0.9, "meeting": 0.95}
"""Least share of people who keep their track, of 40 in 20 scenes."""


def test_people_who_cross_keep_their_tracks() -> None:
    figures = measure_tracking(default_tracker, scenes=20, seed=0)
    kept = {name: one["kept"]["share"] for name, one in figures.items()}
    assert kept.keys() == FLOORS.keys() == SCENES.keys()
    assert all(kept[name] >= floor for name, floor in FLOORS.items()), kept
    assert all(one["swapped"]["share"] <= 0.05 for one in figures.values()), figures


def test_a_person_who_ends_with_the_first_track_of_another_is_swapped() -> None:
    assert count_kept([["a", "a"], ["b", "b"]]) == (2, 2, 0)
    assert count_kept([["a", "b"], ["b", "c"]]) == (2, 0, 1)


def test_the_face_behind_is_not_detected_while_it_is_covered() -> None:
    scene = crossing(np.random.default_rng(3))
    frames = list(detections(scene, 30.0, np.random.default_rng(3)))
    people = [{person for person, _ in seen} for _, seen in frames]
    middle = len(people) // 2
    assert {0, 1} in people[:10] and {0, 1} in people[-10:]
    assert 1 not in set.union(*people[middle - 3 : middle + 3])


def test_the_command_writes_the_shares(tmp_path: Path) -> None:
    assert main(["tracking", "--scenes", "3", "--json", str(tmp_path / "t.json")]) == 0
    result = json.loads((tmp_path / "t.json").read_text())
    assert result["details"]["crossing"]["kept"]["n"] == 6
    assert {one["better"] for one in result["measurements"]} == {"higher", "lower"}
