"""One form for all results: its arithmetic, its files, its tables, and comparing two of them."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT

from benchmarks.cli import main
from benchmarks.comparison import Change, compare
from benchmarks.outputs import put_out
from benchmarks.report import as_markdown, as_text, whiskers, write_plot
from benchmarks.results import Machine, Measurement, Result, quantiles, read_result, significant, write_result
from benchmarks.rightness import paired_p

HERE = Machine(machine="board", processor="chip", cores=4, governor="performance", load=0.1)


def one(
    *runs: float, metric: str = "p90", better: Any = "lower", subject: str = "net", unit: str = "ms"
) -> Measurement:
    return Measurement(subject=subject, metric=metric, unit=unit, better=better, runs=runs, n=1000)


def result(*measurements: Measurement, machine: Machine = HERE, **others: Any) -> Result:
    return Result(benchmark="latency", machine=machine, measurements=measurements, **others)


def saved(folder: Path, name: str, content: Result) -> str:
    write_result(folder / name, content)
    return str(folder / name)


def test_quantiles_are_observations_by_nearest_rank() -> None:
    thousand = [float(n) for n in range(1000, 0, -1)]
    assert quantiles(thousand) == {"p50": 500.0, "p90": 900.0, "p99": 990.0, "p99.9": 999.0}


@pytest.mark.parametrize(
    ("n", "names"), [(1, ["p50"]), (2, ["p50"]), (9, ["p50"]), (10, ["p50", "p90"]), (100, ["p99"])]
)
def test_a_quantile_that_too_few_observations_support_is_left_out(n: int, names: list[str]) -> None:
    found = quantiles([1.0] * n)
    assert list(found)[-1:] == names[-1:]
    assert "p99.9" not in found


def test_value_and_spread_are_median_and_half_the_range() -> None:
    assert one(10.0, 12.0, 11.0).value == 11.0
    assert one(10.0, 12.0, 11.0).spread == pytest.approx(1 / 11)
    assert one(10.0).spread is None


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


def test_a_result_survives_its_file(tmp_path: Path) -> None:
    before = result(one(1.0, 2.0), settings={"rounds": 2}, absent={"other": "no library"})
    assert read_result(saved(tmp_path, "a.json", before)) == before


def test_a_damaged_result_is_one_line_that_names_the_fault(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "r.json"
    for text, fault in (
        ("{", "is no JSON"),
        ("[]", "is no result of a benchmark"),
        ('{"schema": 2, "benchmark": "latency", "machine": {"machine": "board"}}', "schema: Input should be 1"),
        ('{"schema": 1, "benchmark": "latency", "machine": {"machine": "board"}}', "'measured' has measurements"),
    ):
        path.write_text(text)
        assert main(["show", str(path)]) == 2
        said = capsys.readouterr().err
        assert fault in said and str(path) in said and said.count("\n") == 1
    assert main(["show", str(tmp_path / "nowhere.json")]) == 2
    assert capsys.readouterr().err.endswith("nowhere.json: No such file or directory\n")


def test_two_figures_of_one_name_are_refused() -> None:
    with pytest.raises(ValueError, match="same subject and metric"):
        result(one(1.0), one(2.0))


def test_tables_hold_value_spread_unit_and_what_is_missing() -> None:
    found = result(
        one(10.0, 12.0, 11.0),
        one(200.0, metric="offline", better="higher", unit="1/s"),
        one(5.0, subject="other", unit="ms"),
        invalid={"other": "too slow"},
        absent={"third": "no library"},
    )
    text, markdown = as_text(found), as_markdown(found)
    assert "| net | 11.0 ±9% | 200 |" in markdown
    assert "| other | 5.00 |  |" in markdown
    for shown in (text, markdown):
        assert "p90 ms" in shown and "offline 1/s" in shown
        assert "net: VALID, n = 3 x 1,000" in shown
        assert "other: INVALID (too slow)" in shown
        assert "not measured: third: no library" in shown


def counted(subject: str, metric: str, n: int, **others: Any) -> Measurement:
    return one(1.0, subject=subject, metric=metric).model_copy(update={"n": n, **others})


def test_an_n_of_its_own_stands_in_the_cell_and_the_usual_one_below() -> None:
    net = [counted("net", "found", 300), counted("net", "right", 290), counted("net", "file", 1)]
    text = as_text(result(*net, counted("net: part", "found", 300), counted("net: part", "right", 12)))
    cells = [line.split() for line in text.splitlines() if line.startswith("net")]
    assert cells[0] == ["net", "1.00", "1.00", "n=290", "1.00"]
    assert cells[1] == ["net:", "part", "1.00", "1.00", "n=12"]
    assert "net: VALID, n = 300" in text and "part: VALID" not in text


def test_subjects_with_the_same_n_share_a_line() -> None:
    quality = {"benchmark": "robustness", "machine": HERE}
    few = [counted("a", "p", 7), counted("b", "p", 9), counted("c", "p", 9)]
    lines = as_text(Result(measurements=tuple(few), **quality)).splitlines()
    assert lines[-2:] == ["a: n = 7", "b; c: n = 9"]
    many = [counted("a", "p", 7), *(counted(f"s{n}", "p", 300) for n in range(51)), counted("z", "p", 7)]
    lines = as_text(Result(measurements=tuple(many), **quality)).splitlines()
    assert lines[-2:] == ["a; z: n = 7", "51 others: n = 300"]
    assert as_text(Result(measurements=tuple(few[1:]), **quality)).endswith("each: n = 9")


def test_intervals_stand_in_brackets_and_are_the_whiskers() -> None:
    measured, runs = scored(86.7, 85.04, 88.0), one(10.0, 14.0, 11.0)
    text = as_text(result(measured))
    assert " 86.7 (85.0 to 88.0)" in text and "In brackets: 95 % intervals." in text
    below, above = whiskers([measured, runs])
    assert below == pytest.approx([1.66, 1.0]) and above == pytest.approx([1.3, 3.0])


def test_units_stand_with_the_values_where_they_differ() -> None:
    markdown = as_markdown(result(one(1.5, unit="s"), one(7.0, subject="other", unit="%")))
    assert "| net | 1.50 s |" in markdown and "| other | 7.00 % |" in markdown


def test_a_wide_table_goes_on_below() -> None:
    wide = result(*(one(1.0, metric=f"metric number {n}") for n in range(12)))
    text = as_text(wide)
    assert max(map(len, text.splitlines())) <= 120
    assert all(f"metric number {n} ms" in text for n in range(12))


def test_doubtful_machines_are_said_so() -> None:
    doubtful = HERE.model_copy(update={"governor": "ondemand", "load": 3.0})
    text = as_text(result(one(1.0), machine=doubtful))
    assert "caution: governor ondemand" in text and "caution: load 3 on 4 cores" in text
    assert "caution" not in as_text(result(one(1.0)))


@pytest.mark.parametrize(
    ("value", "text"), [(0.0, "0"), (0.012345, "0.0123"), (1.5, "1.50"), (-33.33, "-33.3"), (12345.6, "12,346")]
)
def test_numbers_have_three_figures(value: float, text: str) -> None:
    assert significant(value) == text


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


def scored(value: float, low: float, high: float) -> Measurement:
    return one(value, metric="accuracy", better="higher", unit="%").model_copy(update={"interval": (low, high)})


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


REFERENCES = sorted((ROOT / "benchmarks" / "reference").glob("*.json"))


@pytest.mark.parametrize("path", REFERENCES, ids=lambda path: path.stem)
def test_references_are_results_and_empty_ones_are_not_compared(
    path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    reference = read_result(path)
    assert main(["show", str(path)]) == 0
    if reference.status == "not measured yet":
        assert "not measured yet" in capsys.readouterr().out
        assert main(["compare", str(path), saved(tmp_path, "b.json", result(one(1.0)))]) == 2
        assert "not measured yet; measure it there first" in capsys.readouterr().err
        assert main(["show", str(path), "--plot", str(tmp_path / "p.png")]) == 2
        assert not list(tmp_path.glob("p.png*"))


def test_there_is_a_reference_for_each_board() -> None:
    assert {"raspberry_pi_4", "raspberry_pi_5", "jetson_orin_nano"} <= {path.stem for path in REFERENCES}


def test_show_writes_what_was_asked_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("matplotlib")
    path = saved(tmp_path, "a.json", result(one(10.0, 12.0), one(3.0, subject="other", unit="s")))
    outputs = ["--json", tmp_path / "b.json", "--markdown", tmp_path / "b.md", "--plot", tmp_path / "b.png"]
    assert main(["show", path, *map(str, outputs)]) == 0
    assert json.loads((tmp_path / "b.json").read_text()) == json.loads(Path(path).read_text())
    assert "| net | 11.0 ms ±9% |" in (tmp_path / "b.md").read_text()
    assert (tmp_path / "b.png").read_bytes().startswith(b"\x89PNG")


def test_a_crowd_is_drawn_legibly(tmp_path: Path) -> None:
    """51 subjects need no more than half as much room each as 10 do."""
    cv2, sizes = pytest.importorskip("cv2"), []
    pytest.importorskip("matplotlib")
    for count in (1, 11, 51):
        write_plot(tmp_path / "p.png", result(*(one(1.0, 2.0, subject=f"thing {n}") for n in range(count))))
        sizes.append(cv2.imread(str(tmp_path / "p.png")).shape[0])
    assert (sizes[2] - sizes[0]) / 50 < 0.6 * (sizes[1] - sizes[0]) / 10


def test_files_are_written_although_nobody_reads_the_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(_: str) -> int:
        raise BrokenPipeError

    path = saved(tmp_path, "a.json", result(one(10.0)))
    monkeypatch.setattr(sys.stdout, "write", gone)
    main(["show", path, "--json", str(tmp_path / "b.json")])
    assert read_result(tmp_path / "b.json") == read_result(path)


def test_figures_outlive_a_picture_that_cannot_be_drawn(tmp_path: Path) -> None:
    def fail() -> None:
        raise OSError("disk full")

    options = argparse.Namespace(json=tmp_path / "b.json", markdown=None, plot=None)
    with pytest.raises(OSError, match="disk full"):
        put_out(options, result(one(10.0)), fail)
    assert read_result(tmp_path / "b.json").benchmark == "latency"


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


def test_an_impossible_output_is_refused_before_anything_is_measured(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for command in (["latency", "tiny"], ["pipeline"], ["marks"], ["soak"]):
        assert main([*command, "--json", str(tmp_path / "nowhere" / "r.json")]) == 2
        assert "there is no such folder" in capsys.readouterr().err


def test_a_plot_without_matplotlib_says_what_to_install(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    path = saved(tmp_path, "a.json", result(one(1.0)))
    assert main(["show", path, "--plot", str(tmp_path / "p.png")]) == 5
    assert capsys.readouterr().err == "error: to draw plots: pip install matplotlib\n"
