"""Comparing two results: ratios, what is noise, and what ends with an exit code."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from support.measurements import HERE, one, result, saved, scored

from benchmarks.cli import main
from benchmarks.results.comparison import Change, compare
from benchmarks.results.paired import paired_p
from benchmarks.results.results import Measurement, Result


def test_a_ratio_carries_the_bounds_of_its_runs() -> None:
    change = Change(one(10.0, 11.0, 11.0, 12.0), one(20.0, 22.0, 22.0, 30.0))
    assert change.ratio == 2.0
    assert change.bounds == pytest.approx((20 / 12, 30 / 10))
    assert change.verdict == "worse"
    assert Change(one(20.0, 21.0, 22.0, 22.0), one(10.0, 11.0, 11.0, 12.0)).verdict == "better"


@pytest.mark.parametrize(("before", "after", "enough"), [(3, 3, False), (4, 4, True), (2, 8, True), (1, 30, False)])
def test_too_few_runs_part_by_chance(before: int, after: int, enough: bool) -> None:
    change = Change(one(*[1.0] * before), one(*[2.0] * after))
    assert (change.verdict == "worse") is enough
    assert (change.verdict == "noise not known") is not enough


@pytest.mark.parametrize(
    ("before", "after", "better", "verdict"),
    [
        ((10.0, 12.0) * 2, (11.0, 13.0) * 2, "lower", "within noise"),
        ((10.0, 12.0) * 2, (13.0, 14.0) * 2, "higher", "better"),
        ((10.0, 12.0) * 2, (8.0, 9.0) * 2, "higher", "worse"),
        ((10.0,), (20.0, 21.0), "lower", "noise not known"),
        ((10.0,), (10.0,), "lower", "equal"),
        ((10.0, 11.0) * 2, (20.0, 21.0) * 2, None, ""),
        ((0.0, 0.0), (1.0, 2.0), "lower", "noise not known"),
        ((0.0,) * 4, (1.0, 2.0) * 2, "lower", "worse"),
        ((0.0,) * 4, (1.0, 2.0) * 2, "higher", "better"),
        ((0.0, 1.0) * 2, (1.0, 2.0) * 2, "lower", "within noise"),
        ((3.0,), (0.0,), "lower", "noise not known"),
        ((0.0,), (0.0,), "lower", "equal"),
    ],
)
def test_a_verdict_needs_more_than_noise(before: Any, after: Any, better: Any, verdict: str) -> None:
    assert Change(one(*before, better=better), one(*after, better=better)).verdict == verdict


def test_compare_prints_ratios_and_what_is_not_the_same(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    newer = HERE.model_copy(update={"packages": {"numpy": "2"}})
    files = [
        saved(
            tmp_path,
            "a.json",
            result(
                one(10.0, 11.0, 10.0, 11.0),
                one(1.0, metric="load"),
                settings={"rounds": 2},
                artefacts={"net": "a" * 64},
            ),
        ),
        saved(
            tmp_path,
            "b.json",
            result(one(20.0, 22.0, 20.0, 22.0), one(3.0, metric="new"), machine=newer, settings={"rounds": 3}),
        ),
    ]
    assert main(["compare", *files]) == 0
    text = capsys.readouterr().out
    assert "2.000" in text and "1.818 to 2.200" in text and "worse" in text
    assert "not the same: rounds: 2 -> 3" in text and "not the same: numpy: None -> 2" in text
    assert "not the same: net: aaaaaaaaaaaa -> " in text
    assert "only before: net: load" in text and "only after: net: new" in text


@pytest.mark.parametrize(
    ("runs", "better", "limit", "code"),
    [
        ((20.0, 22.0), "lower", "p90=1.5", 10),
        ((20.0, 22.0), "lower", "p90=2.5", 0),
        ((10.5, 12.0), "lower", "p90=1", 0),  # within noise
        ((5.0, 5.5), "lower", "p90=1", 0),  # better
        ((5.0, 5.5), "higher", "p90=1.5", 10),
        ((20.0,), "lower", "p90=1.5", 10),  # too few runs, noise is not known: the ratio decides
        ((0.0, 0.0), "higher", "p90=9", 10),  # no ratio, and worse than any factor
        ((0.0, 0.0), "lower", "p90=1", 0),
        ((0.0,), "higher", "p90=9", 10),
    ],
)
def test_fail_on_decides_the_exit_code(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], runs: Any, better: Any, limit: str, code: int
) -> None:
    files = [
        saved(tmp_path, "a.json", result(one(10.0, 11.0, 10.0, 11.0, better=better))),
        saved(tmp_path, "b.json", result(one(*runs, *runs, better=better))),
    ]
    assert main(["compare", *files, "--fail-on", limit]) == code
    assert ("worse: net: p90" in capsys.readouterr().err) == (code == 10)


def test_what_rises_from_nothing_breaks_every_limit(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = [saved(tmp_path, "a.json", result(one(0.0))), saved(tmp_path, "b.json", result(one(2.0)))]
    assert main(["compare", *files, "--fail-on", "p90=100"]) == 10
    assert "worse: net: p90 was 0 and is 2.00, allowed is a factor of 100" in capsys.readouterr().err
    assert main(["compare", *files[::-1], "--fail-on", "p90=1"]) == 0


@pytest.mark.parametrize(
    ("after", "code", "verdict"),
    [
        (scored(86, 84, 88), 0, "0.933 to 1.035   within noise"),
        (scored(80, 78, 82), 10, "0.867 to 0.965   worse"),
        (scored(0, 0, 4), 10, "worse"),
    ],
)
def test_intervals_decide_where_there_are_some(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], after: Measurement, code: int, verdict: str
) -> None:
    """One run each: without the intervals, noise would not be known."""
    files = [
        saved(tmp_path, "a.json", result(scored(87.5, 85, 90))),
        saved(tmp_path, "b.json", result(after)),
    ]
    assert main(["compare", *files, "--fail-on", "accuracy=1.01"]) == code
    said = capsys.readouterr().out
    assert said.endswith(verdict + "\n") and "noise not known" not in said


def paired(right: int, wrong_now: int, right_now: int, *, faces: str = "a" * 64) -> Result:
    """100 faces, of which the first ``right`` are right; then some of them are wrong, and some others right."""
    signs = "0" * wrong_now + "1" * (right - wrong_now + right_now) + "0" * (100 - right - right_now)
    hits = signs.count("1")
    details = {"rightness": {"faces": faces, "artefacts": {"net": signs}}}
    return result(scored(hits, hits - 7, hits + 7), details=details)


@pytest.mark.parametrize(
    ("lost", "won", "faces", "verdict", "code"),
    [
        (8, 0, "a", "worse (p = 0.00781, McNemar)", 10),
        (8, 3, "a", "within noise (p = 0.227, McNemar)", 0),
        (0, 8, "a", "better (p = 0.00781, McNemar)", 0),
        (8, 0, "b", "within noise", 0),  # other faces: only the intervals can tell
    ],
)
def test_accuracy_on_the_same_faces_is_compared_face_by_face(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], lost: int, won: int, faces: str, verdict: str, code: int
) -> None:
    stats = pytest.importorskip("scipy.stats")
    files = [
        saved(tmp_path, "a.json", paired(80, 0, 0)),
        saved(tmp_path, "b.json", paired(80, lost, won, faces=faces * 64)),
    ]
    assert main(["compare", *files, "--fail-on", "accuracy=1.01"]) == code
    assert capsys.readouterr().out.splitlines()[-1].endswith("  " + verdict)
    if faces == "a":
        assert f"p = {stats.binomtest(lost, lost + won).pvalue:.3g}," in verdict


def test_faces_of_another_class_or_number_are_not_paired() -> None:
    before = paired(80, 0, 0)
    for signs in ("-" + "1" * 99, "1" * 99):
        details: Any = {"rightness": {"faces": "a" * 64, "artefacts": {"net": signs}}}
        assert paired_p(before, before.model_copy(update={"details": details}), "net") is None
    for damaged in ({}, {"rightness": 1}, {"rightness": {"faces": "a" * 64, "artefacts": {"net": 1}}}):
        assert paired_p(before, before.model_copy(update={"details": damaged}), "net") is None
    assert paired_p(before, before, "net") == 1


def test_what_is_measured_no_more_fails_and_a_limit_on_nothing_is_an_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = [
        saved(tmp_path, "a.json", result(one(10.0), one(10.0, subject="gone"))),
        saved(tmp_path, "b.json", result(one(10.0))),
    ]
    assert main(["compare", *files, "--fail-on", "p90=1.1"]) == 10
    assert "gone: p90 was not measured again" in capsys.readouterr().err
    assert main(["compare", *files, "--fail-on", "p98=1.1"]) == 2
    assert capsys.readouterr().err == "error: --fail-on p98: no such metric; there are: p90\n"


@pytest.mark.parametrize("text", ["p90", "=1.1", "p90=fast", "p90=0.9", "p90=inf", "p90=nan"])
def test_a_malformed_limit_is_refused(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(["compare", "a", "b", "--fail-on", text])
    assert end.value.code == 2
    assert "is not METRIC=FACTOR" in capsys.readouterr().err


def test_unlike_machines_are_refused_unless_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = HERE.model_copy(update={"processor": "another chip"})
    files = [saved(tmp_path, "a.json", result(one(1.0))), saved(tmp_path, "b.json", result(one(2.0), machine=other))]
    assert main(["compare", *files]) == 2
    said = capsys.readouterr().err
    assert "different machines: board, chip, 4 / board, another chip, 4" in said and "--unlike-machines" in said
    assert main(["compare", *files, "--unlike-machines"]) == 0


def test_invalid_runs_other_benchmarks_and_strangers_are_not_compared() -> None:
    good = result(one(1.0))
    with pytest.raises(ValueError, match=r"net is INVALID \(too few\)"):
        compare(good, result(one(1.0), invalid={"net": "too few"}))
    with pytest.raises(ValueError, match="latency and marks are different benchmarks"):
        compare(good, good.model_copy(update={"benchmark": "marks"}))
    with pytest.raises(ValueError, match="no measurement in common"):
        compare(good, result(one(1.0, subject="another")))


def test_compare_says_what_makes_either_doubtful(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    busy = HERE.model_copy(update={"load": 3.0})
    files = [saved(tmp_path, "a.json", result(one(1.0))), saved(tmp_path, "b.json", result(one(1.0), machine=busy))]
    main(["compare", *files])
    text = capsys.readouterr().out
    assert "not the same: load: 0.1 (quiet) -> 3.0 (busy)" in text and "after: caution: load 3 on 4 cores" in text
    assert "before: caution" not in text
    main(["compare", files[1], files[1]])
    text = capsys.readouterr().out
    assert "not the same" not in text and "before: caution: load 3" in text
