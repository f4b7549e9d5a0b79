"""What training does to a data set before it looks at it."""

from __future__ import annotations

import numpy as np
import pytest

from train.data.faces import DataError, DataSet, Faces


def faces(*rows: tuple[float, ...], start: int = 0) -> Faces:
    """One face per row of votes; face k is a flat picture of grey value ``start + k``."""
    votes = np.array(rows, np.float32)
    images = np.stack([np.full((4, 4), start + k, np.uint8) for k in range(len(rows))])
    return Faces(images, votes, votes.max(axis=1) > 0.5)


CLASSES = ("neutral", "happiness", "anger")
DATA = DataSet(
    "three",
    "majority",
    CLASSES,
    {
        "train": faces((1, 0, 0), (0.2, 0.8, 0), (0.1, 0.1, 0.8), (0, 0.4, 0.6)),
        "validation": faces((0, 1, 0), (0, 0, 1), start=2),
        "test": faces((1, 0, 0), start=9),
    },
)


def test_restricting_keeps_the_faces_of_the_classes_and_their_votes() -> None:
    two = DATA.restrict(["angry", "happiness"])
    assert two.classes == ("happiness", "anger")
    assert two["train"].images[:, 0, 0].tolist() == [1, 2, 3]
    assert two["train"].votes == pytest.approx(np.array([[1, 0], [1 / 9, 8 / 9], [0.4, 0.6]]), abs=1e-6)


def test_restricting_to_a_class_that_is_not_there_is_refused() -> None:
    with pytest.raises(DataError, match="three has no faces of fear; it has neutral, happiness, anger"):
        DATA.restrict(["fear", "anger"])


def test_a_class_that_no_training_face_shows_cannot_be_learned() -> None:
    DATA.require_every_class()
    with pytest.raises(DataError, match="no training face of anger"):
        DataSet("two", "majority", CLASSES, {"train": faces((1, 0, 0), (0, 1, 0))}).require_every_class()


def test_a_missing_split_is_named() -> None:
    with pytest.raises(DataError, match="has no split 'test'; it has train"):
        DataSet("one", "majority", CLASSES, {"train": DATA["train"]})["test"]


def test_the_fingerprint_changes_with_every_part() -> None:
    def changed(**parts: object) -> str:
        base = {"images": DATA["train"].images, "votes": DATA["train"].votes, "clear": DATA["train"].clear}
        train = Faces(**{**base, **parts})  # type: ignore[arg-type]
        return DataSet("three", "majority", CLASSES, {**DATA.splits, "train": train}).fingerprint()

    images = DATA["train"].images.copy()
    images[0, 0, 0] += 1
    assert changed() == DATA.fingerprint()
    prints = {
        changed(),
        changed(images=images),
        changed(votes=DATA["train"].votes[::-1]),
        changed(clear=~DATA["train"].clear),
    }
    assert len(prints) == 4
