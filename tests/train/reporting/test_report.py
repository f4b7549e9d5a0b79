"""The report: its comparisons, its texts, and names that cannot break its pages."""

from __future__ import annotations

import argparse
import csv
import html
import json
import re
from pathlib import Path

import cv2
import numpy as np
import pytest
from support.fer_files import fer_plus

from edge_emotion.cli.annotate import COLOURS
from edge_emotion.cli.terminal import run_command
from edge_emotion.labels import EMOTIONS

pytest.importorskip("tf_keras")
pytest.importorskip("matplotlib")

from train.commands.report import add_report, report_html, report_markdown, write_report
from train.data.faces import DataError, DataSet, Faces
from train.evaluation.comparison import Comparison, compare_models
from train.evaluation.complexity import measure_complexity
from train.evaluation.predict import Prediction
from train.keras import K, tf
from train.recipes.catalogue import find_recipe
from train.reporting.sections import Section, sections
from train.reporting.tables import Table, latex_text
from train.runs.run_directory import BEST, Run, create

NASTY = "<b>a|b</b> & `c` $x$"
PRIOR = [0.34, 0.26, 0.12, 0.14, 0.09, 0.01, 0.03, 0.01]


def made_up(labels: list[int], classes: tuple[str, ...] = EMOTIONS) -> DataSet:
    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, (len(labels), 48, 48), np.uint8)
    faces = Faces(images, np.eye(len(classes), dtype=np.float32)[labels], np.ones(len(labels), np.bool_))
    return DataSet("made up", "by hand", classes, {"train": faces, "validation": faces, "test": faces})


LABELS = [*range(8), *range(8), 0, 1, 1, 3]
DATA = made_up(LABELS)


def run(path: Path, classes: tuple[str, ...] = EMOTIONS, **settings: object) -> Run:
    """An untrained run directory whose history has two epochs."""
    recipe = find_recipe("tiny").change(**settings)
    record = {"recipe": recipe.model_dump(mode="json"), "classes": list(classes), "class_prior": PRIOR[: len(classes)]}
    create(path, record)
    rows = ["epoch,loss,accuracy,val_loss,val_accuracy,val_balanced_accuracy", "0,1.9,0.3,1.8,0.35,0.2"]
    (path / "history.csv").write_text("\n".join([*rows, "1,1.5,0.5,1.4,0.55,0.4"]) + "\n")
    return Run(path, recipe, record)


def run_with(
    name: str, predicted: list[int], path: Path, *, classes: tuple[str, ...] = EMOTIONS, **settings: object
) -> Prediction:
    """A run that predicts these classes, the first ones with more confidence."""
    logits = (
        np.eye(len(classes), dtype=np.float32)[predicted] * np.linspace(6, 3, len(predicted), dtype=np.float32)[:, None]
    )
    return Prediction(name, classes, logits, 561_000, run=run(path, classes, **settings))


@pytest.fixture(scope="module")
def comparison(tmp_path_factory: pytest.TempPathFactory) -> Comparison:
    path = tmp_path_factory.mktemp("runs")
    worse = [0, 0, 2, 3, 4, 5, 6, 0, *LABELS[8:18], 2, 3]
    return compare_models(
        [
            run_with("first", LABELS, path / "a"),
            run_with(NASTY, worse, path / "b", class_weights=0.5),
        ],
        DATA,
        "test",
    )


@pytest.fixture(scope="module")
def parts(comparison: Comparison) -> list[Section]:
    return sections(comparison)


@pytest.fixture(scope="module")
def out(comparison: Comparison, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_report(comparison, tmp_path_factory.mktemp("report") / "out").parent


def test_models_are_measured_on_the_same_faces(comparison: Comparison) -> None:
    first, second = comparison.results
    assert (first.figures.n, first.figures.accuracy) == (20, 1.0)
    assert second.figures.accuracy == pytest.approx(17 / 20)
    assert second.figures.per_class["happiness"].recall == pytest.approx(2 / 4)
    assert second.figures.per_class["contempt"].recall == pytest.approx(1 / 2)
    (test,) = comparison.mcnemar_tests
    assert test == ("first", NASTY, 20, 3, 0, 0.25)


def test_mistakes_are_the_most_confident_first(comparison: Comparison) -> None:
    first, second = comparison.results
    assert first.mistakes == []
    assert [(m.row, m.truth, m.predicted) for m in second.mistakes] == [
        (1, "happiness", "neutral"),
        (7, "contempt", "neutral"),
        (18, "happiness", "surprise"),
    ]
    assert second.mistakes[0].confidence > second.mistakes[2].confidence


def test_settings_that_differ_are_listed_and_no_others(comparison: Comparison) -> None:
    assert comparison.differences == [("recipe.class_weights", ["0.0", "0.5"])]


def test_a_single_model_lists_its_settings(tmp_path: Path) -> None:
    alone = compare_models([run_with("one", LABELS, tmp_path / "a")], DATA, "test")
    settings = dict(alone.differences)
    assert settings["recipe.name"] == ["tiny"]
    assert settings["recipe.input.width"] == ["48"]
    assert "class_prior" not in settings


def test_models_of_equal_name_are_kept_apart(tmp_path: Path) -> None:
    same = compare_models([run_with("tiny", LABELS, tmp_path / name) for name in "ab"], DATA, "test")
    assert [result.name for result in same.results] == ["tiny", "tiny (2)"]


def test_a_model_is_measured_on_the_classes_that_it_knows(tmp_path: Path) -> None:
    four = ("neutral", "happiness", "surprise", "sadness")
    partial = run_with("four", [label % 4 for label in LABELS], tmp_path / "a", classes=four)
    both = compare_models([partial, run_with("eight", LABELS, tmp_path / "b")], DATA, "test")
    small, large = both.results
    assert (small.figures.n, small.figures.accuracy, small.figures.classes) == (12, 1.0, four)
    assert large.subsets["4"].n == 12
    assert both.mcnemar_tests[0].n == 12


def test_a_model_that_knows_no_class_of_the_data_is_refused(tmp_path: Path) -> None:
    data = made_up([0, 1, 0], ("fear", "contempt"))
    with pytest.raises(DataError, match="no face of neutral, happiness"):
        compare_models([run_with("two", [0, 1, 0], tmp_path / "a", classes=("neutral", "happiness"))], data, "test")


def test_operating_points_are_chosen_on_the_validation_split_only(tmp_path: Path) -> None:
    prediction = run_with("run", LABELS, tmp_path / "a")
    assert list(compare_models([prediction], DATA, "validation").results[0].marked) == ["accurate", "balanced"]
    on_test = compare_models([prediction], DATA, "test").results[0]
    assert on_test.marked == {}
    assert on_test.curve[0].strength == 0


def test_pages_hold_every_part(out: Path) -> None:
    page = (out / "report.html").read_text()
    for words in (
        "made up, protocol by hand, split test: 20 faces",
        "<td>accuracy</td><td>100.0% [100.0%, 100.0%]</td><td>85.0% [70.0%, 100.0%]</td>",
        "<td>recipe.class_weights</td><td>0.0</td><td>0.5</td>",
        "<td>0.56 MB</td>",
        "<h2>Learning curves</h2>",
        "<h2>Operating curve</h2>",
        "<h2>Most confident mistakes</h2>",
        "50.0% [15.0%, 85.0%]; -50.0</td>",
    ):
        assert words in page
    assert len(re.findall(r'src="data:image/png;base64,', page)) == page.count("<img") == 7


def test_the_html_page_needs_no_other_file_and_no_network(parts: list[Section]) -> None:
    page = report_html(parts)
    assert not re.search(r'(src|href)="(?!data:)|url\(|@import|https?://|<script', page)


def test_names_are_escaped(parts: list[Section]) -> None:
    assert "<b>" not in report_html(parts)
    assert "&lt;b&gt;a|b&lt;/b&gt; &amp; `c`" in report_html(parts)
    text = report_markdown(parts)
    assert "<b>" not in text
    assert r"&lt;b&gt;a\|b&lt;/b&gt; &amp; \`c\`" in text
    for table in re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE):
        assert len({len(re.findall(r"(?<!\\)\|", line)) for line in table.splitlines()}) == 1


def test_every_picture_of_the_markdown_page_lies_beside_it(out: Path) -> None:
    named = re.findall(r"\]\(([^)]+)\)", (out / "report.md").read_text())
    assert len(named) == 7
    others = {"report.md", "report.html", "report.json", "svg", "tables"}
    assert {path.name for path in out.iterdir()} == {*named, *others}
    assert all(min(cv2.imread(str(out / name)).shape[:2]) > 100 for name in named)


def test_figures_are_there_for_scripts(out: Path) -> None:
    data = json.loads((out / "report.json").read_text())
    assert data["models"][NASTY]["figures"]["accuracy"] == 0.85
    assert data["models"]["first"]["figures"]["per_class"]["fear"]["n"] == 2
    assert data["duels"][0]["p"] == 0.25


def test_the_page_says_where_its_figures_come_from(comparison: Comparison, out: Path) -> None:
    page, data = (out / "report.html").read_text(), json.loads((out / "report.json").read_text())
    assert data["fingerprint"] == DATA.fingerprint(["test"]) and data["fingerprint"] in page
    origin = data["origin"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d UTC", origin["measured"])
    assert "tensorflow" in origin["versions"] and " cores, Linux " in origin["machine"]
    assert origin["model first"].startswith("training run")
    assert all(html.escape(value) in page for value in origin.values())


def test_papers_get_every_plot_as_svg_and_every_table_as_csv_and_latex(out: Path) -> None:
    plots = {path.stem for path in out.glob("*.png")}
    assert {path.stem for path in (out / "svg").iterdir()} == {name for name in plots if "mistakes" not in name}
    assert all(b"<svg" in path.read_bytes()[:600] for path in (out / "svg").iterdir())
    numbers = {path.stem for path in (out / "tables").glob("plot-*.csv")}
    assert numbers == {f"plot-{name}" for name in plots if name not in ("mistakes-2", "reliability-2")}
    with (out / "tables" / "plot-confusion.csv").open() as file:
        cells = list(csv.DictReader(file))
    assert len(cells) == 2 * 8 * 8
    wrong = [c for c in cells if c["model"] == NASTY and c["true"] != c["predicted"] and c["faces"] != "0"]
    assert [(c["true"], c["predicted"], c["faces"]) for c in wrong] == [
        ("happiness", "neutral", "1"), ("happiness", "surprise", "1"), ("contempt", "neutral", "1"),
    ]  # fmt: skip
    with (out / "tables" / "plot-learning-curves.csv").open() as file:
        epochs = list(csv.DictReader(file))
    assert [(row["epoch"], row["accuracy"], row["val_accuracy"]) for row in epochs[:2]] == [
        ("1", "0.3", "0.35"), ("2", "0.5", "0.55"),
    ]  # fmt: skip
    tables = {path.stem for path in (out / "tables").glob("*.tex")}
    assert {"figures", "recall-per-class", "origin-of-the-figures"} <= tables


def test_latex_is_escaped() -> None:
    text = latex_text(Table(["a_b", "50 %"], [["x & y", "$1 {2}"], ["~^#", "\\"]]))
    assert text.splitlines() == [
        r"\begin{tabular}{lr}",
        r"a\_b & 50 \% \\",
        r"\hline",
        r"x \& y & \$1 \{2\} \\",
        r"\textasciitilde{}\textasciicircum{}\# & \textbackslash{} \\",
        r"\end{tabular}",
    ]


def test_no_face_is_written_when_none_is_wanted(comparison: Comparison, tmp_path: Path) -> None:
    out = write_report(comparison, tmp_path / "out", faces=False).parent
    assert not list(out.glob("mistakes*"))
    assert "mistakes" not in (out / "report.html").read_text()


def test_emotions_have_a_colour_each() -> None:
    assert list(COLOURS) == list(EMOTIONS)
    assert len(set(COLOURS.values())) == len(EMOTIONS)


def test_equal_figures_give_equal_files(comparison: Comparison, parts: list[Section]) -> None:
    again = sections(comparison)
    assert [p.plot for part in again for p in part.pictures] == [p.plot for part in parts for p in part.pictures]


def test_complexity_is_the_published_one() -> None:
    # Sandler et al. 2018, table 4: 300 M multiply-adds and 3.4 M parameters; Keras counts 3,538,984 with batch norms.
    parameters, macs = measure_complexity(K.applications.MobileNetV2(weights=None))
    assert (parameters, macs) == (3_538_984, pytest.approx(300e6, rel=0.005))


def test_complexity_is_counted_in_every_kind_of_layer() -> None:
    pixels = K.Input((8, 8, 4))
    layers = K.layers
    x = layers.Conv2D(6, 3, strides=2, padding="same")(pixels)  # 16 places x 6 x 9 x 4
    x = layers.DepthwiseConv2D(3, padding="same")(x)  # 16 x 6 x 9
    x = layers.Conv2DTranspose(3, 2, 2)(x)  # 16 x 6 x 4 x 3
    tokens = layers.Reshape((16, 12))(x)
    tokens = layers.MultiHeadAttention(2, 5)(tokens, tokens)  # 16 x 12 x 10 x 3, twice 2 x 16 x 16 x 5, 16 x 10 x 12
    tokens = layers.EinsumDense("...x,xy->...y", output_shape=7)(tokens)  # 16 x 12 x 7
    x = layers.Dense(3)(layers.Flatten()(layers.Dense(2)(tokens)))  # 16 x 7 x 2, 32 x 3
    expected = 16 * 216 + 16 * 54 + 16 * 72 + 16 * 360 + 2 * 2560 + 16 * 120 + 16 * 84 + 16 * 14 + 96
    assert measure_complexity(K.Model(pixels, x)).macs == expected


def test_complexity_that_cannot_be_seen_is_not_guessed() -> None:
    pixels = K.Input((8, 8, 4))
    grouped = K.layers.Conv2D(6, 3, groups=2)(pixels)
    hidden = K.layers.Lambda(tf.function(lambda x: tf.linalg.matmul(x, x)))(grouped)
    assert measure_complexity(K.Model(pixels, hidden)).macs is None


def command(*words: str | Path) -> int:
    parser = argparse.ArgumentParser()
    add_report(parser.add_subparsers())
    return run_command(parser.parse_args(["report", *map(str, words)], argparse.Namespace(debug=False)))


def test_the_command_compares_a_run_with_a_shipped_model(tmp_path: Path) -> None:
    path = tmp_path / "untrained"
    run(path).recipe.build(len(EMOTIONS), weights=None).save_weights(path / BEST)
    out = tmp_path / "out"
    assert command(path, "tiny", "--data", fer_plus(tmp_path / "fer"), "--out", out, "--no-faces", "--ensemble") == 0
    models = json.loads((out / "report.json").read_text())["models"]
    assert models["untrained"]["complexity"] == models["tiny"]["complexity"]
    assert [models[name]["figures"]["n"] for name in ("untrained", "tiny", "untrained + tiny")] == [16, 16, 16]
    assert models["untrained + tiny"]["complexity"] is None
    assert models["untrained + tiny"]["size_bytes"] == sum(models[name]["size_bytes"] for name in ("untrained", "tiny"))
    assert models["tiny"]["operating_points"].keys() >= {"accurate"}
    assert models["tiny"]["size_bytes"] < models["untrained"]["size_bytes"]


def test_an_output_folder_that_cannot_be_made_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").touch()
    assert command("tiny", "--data", tmp_path, "--out", tmp_path / "file") == 2
    assert re.fullmatch(r"error: cannot make the folder .*file: .*; give another --out\n", capsys.readouterr().err)
