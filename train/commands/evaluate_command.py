"""Commands ``python -m train evaluate`` and ``crop``."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge_emotion.cli.terminal import positive_count
from edge_emotion.errors import ConfigError
from edge_emotion.system.atomic_file import write_bytes
from train.choices import DETECTOR
from train.commands.data_options import add_data_options, read_data

if TYPE_CHECKING:
    from train.data.faces import Faces
    from train.evaluation.model_figures import Figures
    from train.evaluation.predict import Prediction


def add_evaluate(commands: Any) -> None:
    """Add ``evaluate`` to the subparsers of the command line."""
    parser = commands.add_parser("evaluate", help="accuracy and other figures of runs, ensembles and exported models")
    parser.add_argument(
        "targets", type=Path, nargs="+", metavar="TARGET", help="run directory, model folder or shipped model"
    )
    add_data_options(parser, split="validation", detect=True)
    parser.add_argument(
        "--protocol", choices=("majority", "winner"), default="majority",
        help="majority: faces whose winner holds more than half of the votes; winner: every face",
    )  # fmt: skip
    parser.add_argument("--classes", help="restrict the model to these: names, or 3, 4 or 7 for a known set")
    parser.add_argument("--operating-point", help="of an exported model")
    parser.add_argument("--ensemble", action="store_true", help="also the mean of the targets' probabilities")
    parser.add_argument("--whole-path", action="store_true", help="also end to end: pasted, detected and aligned")
    parser.add_argument("--detector", metavar="NAME", help=f"for --whole-path (default: {DETECTOR})")
    parser.add_argument("--out", type=Path, help="folder for confusion matrices and reliability diagrams (PNG, SVG)")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(command=_evaluate)


def add_crop(commands: Any) -> None:
    """Add ``crop`` to the subparsers of the command line."""
    parser = commands.add_parser("crop", help="measure how training faces are framed, relative to the detector's boxes")
    add_data_options(parser)
    parser.add_argument("--detector", default=DETECTOR, metavar="NAME", help=f"default: {DETECTOR}")
    parser.add_argument("--count", type=positive_count, default=1500, help="number of faces")
    parser.set_defaults(command=_crop)


def _evaluate(options: argparse.Namespace) -> None:
    from train.evaluation.evaluate import answer, ensemble, evaluate, figures_text, measured_faces
    from train.evaluation.predict import input_of, logits_of_target, with_own_names
    from train.recipes.recipe import class_names
    from train.runs.run_directory import RECORD

    if options.detector is not None and not options.whole_path:
        raise ConfigError("--detector is for --whole-path: without it no face is detected")
    runs = [str(target) for target in options.targets if (target / RECORD).is_file()]
    if runs and (options.whole_path or options.operating_point):
        option = "--whole-path" if options.whole_path else "--operating-point"
        raise ConfigError(f"{option} is for exported models, and {runs[0]} is a training run: convert it first")
    classes = None if options.classes is None else class_names(options.classes)
    data = read_data(options, [input_of(target) for target in options.targets])
    faces = measured_faces(data, options.split, protocol=options.protocol)
    predictions = with_own_names([logits_of_target(target, faces) for target in options.targets])
    answers = [answer(one, operating_point=options.operating_point, classes=classes) for one in predictions]
    if options.ensemble:
        answers.append(ensemble(answers))
    results = []
    for number, one in enumerate(answers):
        figures = evaluate(one, faces.labels, data.classes)
        result = {"target": one.name, "dataset": data.name, "protocol": options.protocol, "split": options.split}
        result |= {"figures": figures.model_dump(mode="json")}
        if not options.json:
            print(f"{one.name} on {data.name}, {options.protocol}, {options.split}: {figures_text(figures)}")
        if options.out is not None:
            _draw(options.out, one.name, figures)
        if options.whole_path and number < len(predictions):
            result["whole_path"] = _end_to_end(options, predictions[number], classes, faces, data.classes)
        results.append(result)
    if options.json:
        print(json.dumps(results, indent=2))


def _draw(out: Path, model: str, figures: Figures) -> None:
    from train.reporting.image_output import ready_folder, safe_name
    from train.reporting.plots import confusion_plot, reliability_plot

    name = safe_name(model)
    ready_folder(out)
    plots = {"confusion": confusion_plot({model: figures}), "reliability": reliability_plot(figures.reliability, model)}
    for kind, plot in plots.items():
        write_bytes(out / f"{name}-{kind}.png", plot.png)
        if plot.svg is not None:
            write_bytes(out / f"{name}-{kind}.svg", plot.svg)


def _end_to_end(
    options: argparse.Namespace,
    prediction: Prediction,
    classes: Sequence[str] | None,
    faces: Faces,
    data_classes: Sequence[str],
) -> dict[str, Any]:
    from dataclasses import asdict

    from edge_emotion.factory.models import make_detector
    from edge_emotion.models.classifier import EmotionClassifier
    from train.evaluation.end_to_end import measure_end_to_end
    from train.evaluation.evaluate import translate

    shipped = prediction.classifier
    assert shipped is not None
    classifier = EmotionClassifier(
        shipped.manifest, shipped.backend, operating_point=options.operating_point, classes=classes
    )
    rows, truth = translate(faces.labels, data_classes, classifier.labels)
    detector = options.detector or DETECTOR
    path = measure_end_to_end(classifier, make_detector(detector), faces.take(rows), truth)
    if not options.json:
        print(
            f"end to end with {detector}: found {path.found} of {path.n} ({path.found / path.n:.1%}); of these "
            f"accuracy {path.accuracy:.2%}, as cropped {path.cropped:.2%}, difference {path.difference:+.2%} "
            f"(95 % {path.interval[0]:+.2%} to {path.interval[1]:+.2%})"
        )
    return asdict(path)


def _crop(options: argparse.Namespace) -> None:
    from edge_emotion.factory.models import make_detector
    from train.data.crop import measure_framing
    from train.recipes.recipe import gray_input

    faces = read_data(options, [gray_input(48)])["train"]
    framing = measure_framing(faces, make_detector(options.detector), count=options.count, seed=0)
    print(
        f"{options.detector}: found {framing.found} of {framing.n} training faces; "
        f"margin {framing.margin:.3f} (+- {framing.margin_spread:.3f}), "
        f"shift {framing.shift:.3f} (+- {framing.shift_spread:.3f})"
    )
