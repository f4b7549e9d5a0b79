from __future__ import annotations

import pytest

from edge_emotion.errors import ConfigError
from edge_emotion.labels import ALIASES, EMOTIONS, UNKNOWN, canonical, subset


@pytest.mark.parametrize(("name", "expected"), [("happy", "happiness"), (" ANGRY ", "anger"), ("fear", "fear")])
def test_names_and_aliases_become_canonical(name: str, expected: str) -> None:
    assert canonical(name) == expected


def test_every_alias_leads_to_an_emotion_and_unknown_is_none() -> None:
    assert set(ALIASES.values()) <= set(EMOTIONS)
    assert UNKNOWN not in EMOTIONS


def test_a_typo_is_answered_with_the_nearest_name() -> None:
    with pytest.raises(ConfigError, match="'hapiness': did you mean 'happiness'"):
        canonical("hapiness")


def test_a_subset_is_in_the_order_of_the_model() -> None:
    assert subset(EMOTIONS, ["sad", "happy", "angry"]) == (1, 3, 4)


@pytest.mark.parametrize("classes", [["happy"], [], ["happy", "happiness"]])
def test_a_subset_needs_two_emotions(classes: list[str]) -> None:
    with pytest.raises(ConfigError, match="at least two"):
        subset(EMOTIONS, classes)


def test_a_class_that_the_model_lacks_is_named() -> None:
    with pytest.raises(ConfigError, match="contempt"):
        subset(EMOTIONS[:7], ["happy", "contempt"])
