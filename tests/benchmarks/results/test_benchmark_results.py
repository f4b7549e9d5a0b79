"""The common form of results: its arithmetic, files, tables and pictures."""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from support.measurements import HERE, one, result, saved, scored
from support.paths import ROOT

from benchmarks.cli import main
from benchmarks.results.machine import commit_of_clone
from benchmarks.results.outputs import put_out
from benchmarks.results.report import result_markdown, result_text, whiskers, write_plot
from benchmarks.results.results import Measurement, Result, quantiles, read_result, significant
from edge_emotion.system.processor import processor_name


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


def test_a_result_survives_its_file(tmp_path: Path) -> None:
    before = result(one(1.0, 2.0), settings={"rounds": 2}, absent={"other": "no library"})
    assert read_result(saved(tmp_path, "a.json", before)) == before


def test_a_damaged_result_is_one_line_that_names_the_fault(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "r.json"
    for text, fault in (
        ("{", "is no JSON"),
        ("[]", "is no result of a benchmark"),
        ('{"schema": 2, "benchmark": "latency", "machine": {"machine": "board"}}', "schema: must be 1"),
        ('{"schema": 1, "benchmark": "latency", "machine": {"machine": "board"}}', "'measured' has measurements"),
    ):
        path.write_text(text)
        assert main(["show", str(path)]) == 2
        printed = capsys.readouterr().err
        assert fault in printed and str(path) in printed and printed.count("\n") == 1
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
    text, markdown = result_text(found), result_markdown(found)
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
    text = result_text(result(*net, counted("net: part", "found", 300), counted("net: part", "right", 12)))
    cells = [line.split() for line in text.splitlines() if line.startswith("net")]
    assert cells[0] == ["net", "1.00", "1.00", "n=290", "1.00"]
    assert cells[1] == ["net:", "part", "1.00", "1.00", "n=12"]
    assert "net: VALID, n = 300" in text and "part: VALID" not in text


def test_subjects_with_the_same_n_share_a_line() -> None:
    quality = {"benchmark": "robustness", "machine": HERE}
    few = [counted("a", "p", 7), counted("b", "p", 9), counted("c", "p", 9)]
    lines = result_text(Result(measurements=tuple(few), **quality)).splitlines()
    assert lines[-2:] == ["a: n = 7", "b; c: n = 9"]
    many = [counted("a", "p", 7), *(counted(f"s{n}", "p", 300) for n in range(51)), counted("z", "p", 7)]
    lines = result_text(Result(measurements=tuple(many), **quality)).splitlines()
    assert lines[-2:] == ["a; z: n = 7", "51 others: n = 300"]
    assert result_text(Result(measurements=tuple(few[1:]), **quality)).endswith("each: n = 9")


def test_intervals_stand_in_brackets_and_are_the_whiskers() -> None:
    measured, runs = scored(86.7, 85.04, 88.0), one(10.0, 14.0, 11.0)
    text = result_text(result(measured))
    assert " 86.7 (85.0 to 88.0)" in text and "In brackets: 95 % intervals." in text
    below, above = whiskers([measured, runs])
    assert below == pytest.approx([1.66, 1.0]) and above == pytest.approx([1.3, 3.0])


def test_units_stand_with_the_values_where_they_differ() -> None:
    markdown = result_markdown(result(one(1.5, unit="s"), one(7.0, subject="other", unit="%")))
    assert "| net | 1.50 s |" in markdown and "| other | 7.00 % |" in markdown


def test_a_wide_table_goes_on_below() -> None:
    wide = result(*(one(1.0, metric=f"metric number {n}") for n in range(12)))
    text = result_text(wide)
    assert max(map(len, text.splitlines())) <= 120
    assert all(f"metric number {n} ms" in text for n in range(12))


def test_doubtful_machines_are_said_so() -> None:
    doubtful = HERE.model_copy(update={"governor": "ondemand", "load": 3.0})
    text = result_text(result(one(1.0), machine=doubtful))
    assert "caution: governor ondemand" in text and "caution: load 3 on 4 cores" in text
    assert "caution" not in result_text(result(one(1.0)))


@pytest.mark.parametrize(
    ("value", "text"), [(0.0, "0"), (0.012345, "0.0123"), (1.5, "1.50"), (-33.33, "-33.3"), (12345.6, "12,346")]
)
def test_numbers_have_three_figures(value: float, text: str) -> None:
    assert significant(value) == text


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


def test_processors_of_one_name_are_told_apart_by_their_numbers(tmp_path: Path) -> None:
    pc = "processor\t: {n}\ncpu family\t: 25\nmodel\t\t: 17\nmodel name\t: AMD EPYC\nstepping\t: 1\n\n"
    pi = "processor\t: 0\nCPU part\t: 0xd0b\n\nModel\t\t: Raspberry Pi 5 Model B Rev 1.0\n"
    (tmp_path / "pc").write_text(pc.format(n=0) + pc.format(n=1).replace("17", "18"))
    (tmp_path / "pi").write_text(pi)
    assert processor_name(tmp_path / "pc") == "AMD EPYC (family 25, model 17, stepping 1)"
    assert processor_name(tmp_path / "pi") == "Raspberry Pi 5 Model B Rev 1.0"
    assert processor_name(tmp_path / "none")


def test_the_commit_of_the_clone_is_told_where_there_is_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    git = ["git", "-C", str(tmp_path), "-c", "user.name=n", "-c", "user.email=e@example.org"]

    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert commit_of_clone(tmp_path) == "", "an archive that was unpacked"
    (tmp_path / "file").write_text("1")
    for arguments in (["init", "-q"], ["add", "file"], ["commit", "-qm", "first"]):
        subprocess.run([*git, *arguments], check=True)
    assert re.fullmatch(r"[0-9a-f]{7,}", commit := commit_of_clone(tmp_path))
    (tmp_path / "file").write_text("2")
    assert commit_of_clone(tmp_path) == f"{commit}-dirty"
    monkeypatch.setenv("PATH", "")
    assert commit_of_clone(tmp_path) == ""


def test_a_file_that_may_not_be_written_is_told_before_anything_is_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # root may write everywhere
    assert main(["marks", "--json", str(tmp_path / "r.json")]) == 2
    assert capsys.readouterr().err == f"error: --json {tmp_path / 'r.json'}: its folder may not be written\n"


def test_figures_are_said_even_if_they_cannot_be_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = argparse.Namespace(json=tmp_path, markdown=None, plot=None)  # a folder
    with pytest.raises(OSError):
        put_out(options, result(one(1.0)))
    assert "p90 ms" in capsys.readouterr().out


def test_show_takes_only_what_is_asked_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    figures = [
        one(1.0, subject=subject, metric=metric) for subject in ("a, tflite", "b, onnx") for metric in ("p50", "p9")
    ]
    path = str(saved(tmp_path, "a.json", result(*figures)))
    for options, kept in (
        (["--subject", "tflite"], [("a, tflite", "p50"), ("a, tflite", "p9")]),
        (["--metric", "p9", "--subject", "a", "--subject", "b"], [("a, tflite", "p9"), ("b, onnx", "p9")]),
    ):
        assert main(["show", path, *options, "--json", str(tmp_path / "b.json")]) == 0
        assert [(one.subject, one.metric) for one in read_result(tmp_path / "b.json").measurements] == kept
    capsys.readouterr()
    assert main(["show", path, "--metric", "p99"]) == 2
    assert capsys.readouterr().err == "error: no such figure; metrics: p50, p9; subjects: a, tflite; b, onnx\n"
