"""The counts of faces that are named, and named wrongly, with the quality gate and without."""

from __future__ import annotations

from benchmarks.quality.gate import Answer, gate_measurements, gate_shares
from edge_emotion.pipeline.quality_gate import Doubt

DARK = Doubt("dark", 0.8)
ANSWERS = [
    Answer(True, 0.9, None),
    Answer(False, 0.6, None),
    Answer(False, 0.4, None),  # below the threshold
    Answer(True, 0.85, DARK),
    Answer(False, 0.7, DARK),
    Answer(True, 0.6, DARK),
    Answer(False, 0.3, DARK),  # below the threshold: the gate takes nothing away
]


def test_the_gate_takes_away_what_is_doubtful_and_not_sure_enough() -> None:
    shares = gate_shares(ANSWERS, 10)
    hits = {way: (shares[way]["named"]["hits"], shares[way]["wrong"]["hits"]) for way in ("open", "gated")}
    assert hits == {"open": (5, 2), "gated": (3, 1)}
    assert shares["gated"]["named"]["n"] == 10, "faces that were not found count"
    assert shares["reasons"] == {"dark": 2}


def test_the_curve_goes_from_no_gate_to_no_doubtful_face() -> None:
    curve = gate_shares(ANSWERS, 10)["curve"]
    assert curve["0.5"] == gate_shares(ANSWERS, 10)["open"]
    assert [one["named"]["hits"] for one in curve.values()] == [5, 5, 4, 3, 2, 2]


def test_each_figure_has_its_better_direction() -> None:
    steps = {"clean": {"tiny": gate_shares(ANSWERS, 10)}}
    found = {(one.subject, one.metric): one.better for one in gate_measurements({"steps": steps})}
    assert found["clean, tiny, gated", "named"] == "higher"
    assert found["clean, tiny, open", "named wrongly"] == "lower"
