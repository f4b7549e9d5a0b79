"""Training one recipe into a run directory, resumable after a kill."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from edge_emotion.protocols import FloatArray
from edge_emotion.system.atomic_file import write_bytes
from train.choices import Logger, Precision
from train.data.duplicates import drop_copies
from train.data.faces import DataError, DataSet, Faces
from train.evaluation.logits import logits_of
from train.evaluation.metrics import confusion
from train.evaluation.one_class import one_class
from train.evaluation.predict import KerasBackend
from train.fitting.averaging import Average
from train.fitting.batch_norms import Statistics, set_momentum
from train.fitting.batches import batches, steps_per_epoch
from train.fitting.callbacks import ProgressBar, Saving, Unfreeze, Validation
from train.fitting.class_balance import Balance, balance, balance_lines
from train.fitting.distillation import Trainee, identify, make_teacher
from train.fitting.distributed import is_chief, make_strategy, precision
from train.fitting.loggers import make_loggers, require_loggers
from train.fitting.losses import accuracy, make_loss
from train.fitting.manifest_draft import write_draft
from train.fitting.schedule import LearningRate, make_optimizer
from train.fitting.state import State
from train.keras import K, tf
from train.recipes.recipe import Recipe
from train.runs.run_directory import (
    BEST,
    HISTORY,
    Run,
    TrainingError,
    code_version,
    create,
    matching_record,
    require_disk,
    save,
    versions,
)

PICTURES = "pictures"
"""Folder in the run directory for what experiment trackers get."""

Draw = Callable[[Faces, FloatArray, Sequence[str]], Mapping[str, bytes]]
"""(validation faces, N x C logits, classes) -> name -> PNG."""


@dataclass(frozen=True)
class _Job:
    """Everything that defines one run; ``steps`` per epoch."""

    recipe: Recipe
    classes: tuple[str, ...]
    train: Faces
    validation: Faces
    balance: Balance
    run: Path
    record: dict[str, Any]
    weights: str | None
    teachers: Sequence[Path]
    loggers: Sequence[Logger]
    draw: Draw | None
    steps: int


def fit(
    recipe: Recipe,
    data: DataSet,
    run: Path,
    *,
    weights: str | None,
    start: str,
    teachers: Sequence[Path] = (),
    loggers: Sequence[Logger] = (),
    draw: Draw | None = None,
    floats: Precision = "auto",
    steps: int | None = None,
) -> Path:
    """Train ``recipe`` on the training split into ``run``; returns the path of the best weights.

    ``weights``: the network's starting point (a path, 'imagenet' or None), described by ``start`` in the record.
    Training faces with a copy in another split are left out. The best epoch is chosen on the validation split. A run
    that was interrupted continues after its last finished epoch. ``loggers``: names in LOGGERS; they get what ``draw``
    draws at the end. ``steps``: steps per epoch, if fewer than all, for trials.

    Raises ConfigError if the directory belongs to another run, DataError for unsuitable data, TrainingError if training
    fails.
    """
    require_loggers(loggers)
    data = _learnable(data if recipe.classes is None else data.restrict(recipe.classes), near=recipe.copies == "near")
    chosen = balance(data["train"], recipe)
    strategy = make_strategy()
    with precision(floats) as policy:
        record = _record(recipe, data, chosen, start, teachers, policy, steps)
    known = matching_record(run, record)
    if known is not None and known.get("finished"):
        print(f"{run} is finished")
        return run / BEST
    job = _Job(
        recipe, data.classes, data["train"], data["validation"].majority(), chosen, run, known or record, weights,
        teachers, loggers, draw, steps or steps_per_epoch(chosen, recipe),
    )  # fmt: skip
    for line in balance_lines(chosen, data["train"].votes, data.classes, recipe):
        print(line)
    try:
        state = _train(job, strategy, floats)
    except tf.errors.OpError as error:
        raise TrainingError(f"TensorFlow failed: {str(error).splitlines()[0]}") from error
    if is_chief(strategy):
        _finish(job, state)
        print(_end_text(recipe, state))
    return run / BEST


def _learnable(data: DataSet, *, near: bool) -> DataSet:
    """``data`` after ``drop_copies``. Raises DataError if a class has no training face, or validation has none."""
    data, dropped = drop_copies(data, near=near)
    if dropped:
        print(dropped)
    data.require_every_class()
    if not data["validation"].clear.any():
        raise DataError(f"{data.name} has no face with a clear label in its validation split: nothing to choose by")
    return data


def _record(
    recipe: Recipe,
    data: DataSet,
    chosen: Balance,
    start: str,
    teachers: Sequence[Path],
    policy: str,
    steps: int | None,
) -> dict[str, Any]:
    """The record of a run; a run with another record needs another directory."""
    held_out = [split for split in data.splits if split != "train"]
    return {
        "recipe": recipe.model_dump(mode="json"),
        "start": start,
        "dataset": data.name,
        "protocol": data.protocol,
        "fingerprint": data.fingerprint(["train"]),
        "held_out": data.fingerprint(held_out),
        "faces": {split: len(faces) for split, faces in data.splits.items()},
        "classes": list(data.classes),
        "class_prior": [round(float(share), 6) for share in chosen.prior],
        "teachers": [identify(path) for path in teachers],
        "precision": policy,
        "steps": steps,
        "commit": code_version(),
        "versions": versions(),
    }


def _train(job: _Job, strategy: Any, floats: Precision) -> State:
    recipe = job.recipe
    rate = LearningRate(recipe, job.steps)
    judge = recipe.build(len(job.classes), weights=None)
    chief = is_chief(strategy)
    with precision(floats):
        K.utils.set_random_seed(recipe.seed)
        with strategy.scope():
            model = _compiled(job, rate)
        # Only here, so that a run whose weights or teachers cannot be loaded does not occupy the directory.
        if chief:
            require_disk(job.run, model.count_params())
            create(job.run, job.record)
        average = Average(model, recipe.ema)
        state = State(model, average.shadows, rate, job.run, chief=chief)
        if state.resumed and chief:
            print(f"resuming {job.run} after epoch {state.epoch}")
        if state.ended(recipe):  # it was killed after its last epoch or early stop
            return state
        # A resumed run must not repeat the augmentations of its first epochs.
        K.utils.set_random_seed(recipe.seed + state.epoch)
        model.fit(
            batches(job.train, recipe, job.balance, first_epoch=state.epoch, steps=job.steps),
            initial_epoch=state.epoch,
            epochs=recipe.epochs,
            steps_per_epoch=job.steps,
            verbose=0,
            callbacks=[
                # Layers with random weights are not frozen.
                *([Unfreeze(recipe)] if job.weights else []),
                average,
                Validation(
                    recipe, judge, average, state, job.validation, Statistics(job.train, recipe.input, recipe.seed)
                ),
                *(_reporters(job, state) if chief else []),
                Saving(state),
            ],
        )
    return state


def _compiled(job: _Job, rate: LearningRate) -> Any:
    model = job.recipe.build(len(job.classes), weights=job.weights)
    set_momentum(model, job.steps)
    if job.teachers:
        model = Trainee(model.input, model.output, name=model.name)
        model.teach = make_teacher(job.teachers, job.classes, job.recipe, job.record)
    loss = make_loss(job.recipe, job.balance, taught=bool(job.teachers))
    # With the variables of metric and optimiser made before the first step, TensorFlow traces it once instead of twice.
    right = K.metrics.MeanMetricWrapper(accuracy, name="accuracy")
    model.compile(make_optimizer(job.recipe, rate), loss=loss, weighted_metrics=[], metrics=[right])
    # Before anything is frozen: the optimiser then has slots for layers that are unfrozen later, also after resuming.
    model.optimizer.build(model.trainable_variables)
    return model


def _reporters(job: _Job, state: State) -> list[Any]:
    """Callbacks that report the run: curves as CSV and for TensorBoard, further loggers, the terminal."""
    return [
        K.callbacks.CSVLogger(job.run / HISTORY, append=state.resumed),
        K.callbacks.TensorBoard(job.run / "tensorboard", write_graph=False),
        *make_loggers(job.loggers, job.run, job.record, partial(_pictures, job)),
        ProgressBar(job.recipe.epochs, job.steps, state.epoch),
    ]


def _pictures(job: _Job) -> dict[str, Path]:
    """Draw the pictures of a run's best weights on the validation split into its directory."""
    if job.draw is None:
        return {}
    logits = logits_of(KerasBackend(Run(job.run, job.recipe, job.record).build()), job.validation, job.recipe.input)
    folder = job.run / PICTURES
    folder.mkdir(exist_ok=True)
    files = {}
    for name, content in job.draw(job.validation, logits, job.classes).items():
        files[name] = folder / f"{name}.png"
        write_bytes(files[name], content)
    return files


def _finish(job: _Job, state: State) -> None:
    """Write the draft of the manifest and then mark the run as finished."""
    best = {f"best_{job.recipe.select}": round(state.best, 5), "best_epoch": state.best_epoch}
    run = Run(job.run, job.recipe, {**job.record, "finished": True, "epochs": state.epoch, **best})
    logits = logits_of(KerasBackend(run.build()), job.validation, job.recipe.input)
    warn_of_one_class(logits, job.validation, job.classes)
    write_draft(run, logits, job.validation)
    save(job.run, run.record)


def _end_text(recipe: Recipe, state: State) -> str:
    """How a run has ended, and which epoch's weights it keeps."""
    early = f"stopped early, {recipe.patience} epochs after the best one; " if state.epoch < recipe.epochs else ""
    best = f"{state.best_epoch}, with a validation {recipe.select} of {state.best:.4f}"
    return f"{early}best of {state.epoch} epochs: {best}"


def warn_of_one_class(logits: FloatArray, faces: Faces, classes: Sequence[str]) -> None:
    """Print a warning if N x C logits have the same winner for each of N validation faces."""
    if only := one_class(confusion(faces.labels, logits.argmax(axis=1), len(classes)), classes):
        print(
            f"warning: the network predicts {only} for each of {len(faces)} validation faces: it has not learned to "
            "tell the emotions apart; train on more faces, longer, or from weights (--weights)",
            file=sys.stderr,
        )
