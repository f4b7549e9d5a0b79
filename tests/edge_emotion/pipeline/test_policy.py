from __future__ import annotations

import pytest
from support.values import scores

from edge_emotion.datatypes import EmotionScores
from edge_emotion.pipeline.policy import Policy
from edge_emotion.pipeline.quality_gate import Doubt


@pytest.fixture
def policy() -> Policy:
    return Policy(threshold=0.5, hysteresis=0.1, margin=0.1, min_dwell=0.5, unknown_dwell=0.5)


def say(policy: Policy, seconds: float, **probabilities: float) -> tuple[str, str, str | None] | None:
    decision = policy.update("a", scores(**probabilities), seconds)
    return decision and (decision.type, decision.settled.emotion, decision.previous)


def test_the_first_scores_are_a_start(policy: Policy) -> None:
    assert say(policy, 0.0, happiness=0.9) == ("start", "happiness", None)
    assert say(policy, 0.1, happiness=0.9) is None


def test_below_the_threshold_it_says_unknown(policy: Policy) -> None:
    assert say(policy, 0.0, happiness=0.45) == ("start", "unknown", None)
    settled = policy.settled("a")
    assert settled is not None
    assert settled.confidence == pytest.approx(0.45)


def test_a_new_emotion_counts_only_after_its_dwell(policy: Policy) -> None:
    say(policy, 0.0, happiness=0.9)
    assert say(policy, 1.0, sadness=0.9) is None
    assert say(policy, 1.4, sadness=0.9) is None
    assert say(policy, 1.5, sadness=0.9) == ("change", "sadness", "happiness")


def test_an_interrupted_dwell_starts_over(policy: Policy) -> None:
    say(policy, 0.0, happiness=0.9)
    say(policy, 1.0, sadness=0.9)
    say(policy, 1.3, happiness=0.9)
    assert say(policy, 1.6, sadness=0.9) is None
    assert say(policy, 2.1, sadness=0.9) == ("change", "sadness", "happiness")


def test_a_change_of_candidate_starts_the_dwell_over(policy: Policy) -> None:
    say(policy, 0.0, happiness=0.9)
    say(policy, 1.0, sadness=0.9)
    assert say(policy, 1.5, anger=0.9) is None
    assert say(policy, 2.0, anger=0.9) == ("change", "anger", "happiness")


@pytest.mark.parametrize(("held", "expected"), [(0.42, None), (0.38, ("change", "unknown", "happiness"))])
def test_a_settled_emotion_is_kept_within_the_hysteresis(
    policy: Policy, held: float, expected: tuple[str, str, str] | None
) -> None:
    say(policy, 0.0, happiness=0.9)
    say(policy, 1.0, happiness=held)
    assert say(policy, 2.0, happiness=held) == expected


def test_a_rival_must_be_better_by_the_margin(policy: Policy) -> None:
    settle = Policy(threshold=0.4, hysteresis=0.1, margin=0.1, min_dwell=0.0, unknown_dwell=0.0)
    say(settle, 0.0, happiness=0.9)
    assert say(settle, 1.0, happiness=0.45, surprise=0.5) is None
    assert say(settle, 2.0, happiness=0.4, surprise=0.55) == ("change", "surprise", "happiness")


def test_flicker_around_the_threshold_makes_no_events(policy: Policy) -> None:
    say(policy, 0.0, neutral=0.55)
    assert [say(policy, n / 10, neutral=0.52 if n % 2 else 0.47) for n in range(1, 50)] == [None] * 49


def test_an_emotion_is_kept_for_longer_than_another_takes_to_replace_it() -> None:
    policy = Policy(threshold=0.5, hysteresis=0.1, margin=0.1, min_dwell=0.5, unknown_dwell=2.0)
    say(policy, 0.0, happiness=0.9)
    assert [say(policy, n / 2, happiness=0.2) for n in range(1, 5)] == [None] * 4
    assert say(policy, 2.5, happiness=0.2) == ("change", "unknown", "happiness")
    say(policy, 3.0, sadness=0.9)
    assert say(policy, 3.5, sadness=0.9) == ("change", "sadness", "unknown")


def test_in_doubt_an_emotion_needs_more_confidence_and_the_reason_is_given(policy: Policy) -> None:
    dark = Doubt("dark", 0.8)
    start = policy.update("a", scores(happiness=0.7), 0.0, dark)
    assert start is not None
    assert (start.settled.emotion, start.settled.reason) == ("unknown", "dark")
    policy.update("a", scores(happiness=0.81), 1.0, dark)
    change = policy.update("a", scores(happiness=0.81), 1.5, dark)
    assert change is not None
    assert (change.settled.emotion, change.settled.reason) == ("happiness", None)
    assert policy.update("a", scores(happiness=0.71), 2.0, dark) is None, "kept within the hysteresis"
    policy.update("a", scores(happiness=0.69), 3.0, dark)
    back = policy.update("a", scores(happiness=0.69), 3.5, dark)
    assert back is not None
    assert (back.settled.emotion, back.settled.reason, back.previous) == ("unknown", "dark", "happiness")
    end = policy.end("a")
    assert end is not None
    assert end.settled.reason == "dark"


def test_a_doubt_lowers_no_threshold() -> None:
    policy = Policy(threshold=0.9, hysteresis=0.1, margin=0.1, min_dwell=0.0, unknown_dwell=0.0)
    decision = policy.update("a", scores(happiness=0.85), 0.0, Doubt("dark", 0.8))
    assert decision is not None
    assert decision.settled.emotion == "unknown"


def test_unknown_becomes_an_emotion_at_the_threshold(policy: Policy) -> None:
    say(policy, 0.0, fear=0.3)
    say(policy, 1.0, fear=0.51)
    assert say(policy, 1.5, fear=0.51) == ("change", "fear", "unknown")


def test_a_track_ends_once_with_what_it_showed(policy: Policy) -> None:
    say(policy, 0.0, happiness=0.9)
    decision = policy.end("a")
    assert decision is not None
    assert (decision.type, decision.settled.emotion) == ("end", "happiness")
    assert policy.end("a") is None
    assert policy.settled("a") is None


def test_a_track_that_never_started_does_not_end(policy: Policy) -> None:
    assert policy.end("never") is None


def test_it_works_on_a_subset_of_the_emotions() -> None:
    policy = Policy(threshold=0.5, hysteresis=0.1, margin=0.1, min_dwell=0.0, unknown_dwell=0.0)
    two = EmotionScores(("happiness", "sadness"), (0.2, 0.8))
    decision = policy.update("a", two, 0.0)
    assert decision is not None
    assert decision.settled.emotion == "sadness"
