"""Splits of recordings by whole groups."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge_emotion.errors import ConfigError
from train.commands.inspect_data import add_inspect, run_inspect
from train.data.layouts import DataError, load
from train.data.layouts.grouping import grouped_splits

KEYS = [
    f"{label}/p{person}_{frame:03}.png" for label in ("anger", "fear") for person in range(10) for frame in range(4)
]
LABELS = [key.split("/")[0] for key in KEYS]


def splits_of(rule: str, keys: list[str], labels: list[str]) -> dict[str, set[str]]:
    """The keys of each split."""
    splits, _ = grouped_splits([None] * len(keys), keys, labels, rule)
    return {name: {key for key, split in zip(keys, splits, strict=True) if split == name} for name in splits}


@pytest.mark.parametrize("rule", ["session", r"p\d+", r"/(p\d+)_"])
def test_frames_of_one_session_stay_in_one_split(rule: str) -> None:
    found = splits_of(rule, KEYS, LABELS)
    people = {split: {key.split("/")[1].split("_")[0] for key in keys} for split, keys in found.items()}
    assert {split: len(names) for split, names in people.items()} == {"train": 8, "validation": 1, "test": 1}
    assert len(set().union(*people.values())) == 10
    assert {split: len(keys) for split, keys in found.items()} == {"train": 64, "validation": 8, "test": 8}


def test_groups_with_labels_of_their_own_give_each_label_to_each_split() -> None:
    keys = [
        f"{label}/{label}{person}/{frame}.png" for label in ("anger", "fear") for person in range(5) for frame in "ab"
    ]
    found = splits_of("folder", keys, [key.split("/")[0] for key in keys])
    assert {split: len(names) for split, names in found.items()} == {"train": 12, "validation": 4, "test": 4}
    assert all({key.split("/")[0] for key in names} == {"anger", "fear"} for names in found.values())


def test_rules_that_make_no_groups_are_refused() -> None:
    bare = ["anger/1.png", "anger/2.png", "fear/1.png"]
    for rule, keys, error, text in [
        ("session", bare, DataError, "finds 1 groups"),
        ("folder", bare, DataError, "finds 1 groups"),
        ("(p", KEYS, ConfigError, "neither session nor folder, nor a regular expression"),
        ("q[0-9]", KEYS, DataError, "does not occur in anger/p0_000.png"),
        ("anger|fear/p.", KEYS[36:48], DataError, "is left to train on; record more sessions"),
    ]:
        with pytest.raises(error, match=text.replace("(", r"\(")):
            grouped_splits([None] * len(keys), keys, [key.split("/")[0] for key in keys], rule)
    with pytest.raises(DataError, match="has its own splits"):
        grouped_splits(["train", "validation", "test"], bare, ["anger", "anger", "fear"], "session")


def test_a_published_test_stays_whole_and_validation_is_whole_groups_of_train() -> None:
    given = ["test" if "/p9" in key else "train" for key in KEYS]
    splits, note = grouped_splits(given, KEYS, LABELS, "session")  # type: ignore[arg-type]
    assert [split == "test" for split in splits] == [split == "test" for split in given]
    assert note == "split by session: 9 groups (8 train, 1 validation)"


def test_a_folder_of_recordings_is_loaded_by_groups_and_pixels_in_a_table_have_none(tmp_path: Path) -> None:
    for key in KEYS:
        file = tmp_path / "own" / key
        file.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(file), np.full((16, 16), len(key), np.uint8))
    data = load(tmp_path / "own", group_by="session")
    assert {split: len(faces) for split, faces in data.splits.items()} == {"train": 64, "validation": 8, "test": 8}
    (tmp_path / "own.csv").write_text("label,pixels\nanger,0 1 2 3\n")
    with pytest.raises(DataError, match="so they have no groups; leave out --group-by"):
        load(tmp_path / "own.csv", group_by="session")


def test_a_data_set_is_inspected_in_the_splits_that_training_will_have(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for key in KEYS:
        (tmp_path / key).parent.mkdir(exist_ok=True)
        cv2.imwrite(str(tmp_path / key), np.random.default_rng(list(key.encode())).integers(0, 255, (48, 48), np.uint8))
    parser = argparse.ArgumentParser()
    add_inspect(parser.add_subparsers())
    run_inspect(parser.parse_args(["inspect", str(tmp_path), "--group-by", "session", "--json"]))
    output = capsys.readouterr()
    found = json.loads(output.out)
    assert {split: one["n"] for split, one in found["splits"].items()} == {"train": 64, "validation": 8, "test": 8}
    assert output.err.startswith("split by session: 10 groups (8 train, 1 validation, 1 test)\n")
