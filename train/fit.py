"""Training one recipe into a run directory, resumable after a kill."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from train.balance import Balance, balance
from train.batches import batches, steps_per_epoch
from train.callbacks import Average, ProgressBar, Saving, State, Unfreeze, Validation, model_input, predict
from train.distribution import Precision, is_chief, make_strategy, precision
from train.draft import write_draft
from train.duplicates import without_copies
from train.faces import DataSet
from train.keras import K
from train.loggers import make_loggers
from train.losses import accuracy, make_loss
from train.recipes import Recipe
from train.run_directory import BEST, CHECKPOINTS, HISTORY, RECORD, claim, code_version, load_run, save, versions
from train.schedule import LearningRate, make_optimizer
from train.teachers import Trainee, make_teacher


def fit(
    recipe: Recipe,
    data: DataSet,
    run: Path,
    *,
    weights: str | None,
    start: str,
    teachers: Sequence[Path] = (),
    loggers: Sequence[str] = (),
    floats: Precision = "auto",
    steps: int | None = None,
) -> Path:
    """Train ``recipe`` on the training split into ``run`` and return the path of its best weights.

    ``weights`` is where the network starts (a path, 'imagenet', None) and ``start`` says so in the record. Training
    faces of which another split holds a copy are left out. The best epoch is chosen on the validation split. A run
    that was stopped goes on after its last finished epoch. ``loggers`` are names of LOGGERS. ``steps`` cuts each epoch
    short, for trying things out.
    Raises ConfigError when the directory belongs to another run, DataError for data that cannot be learned from.
    """
    data = without_copies(data if recipe.classes is None else data.restrict(recipe.classes))
    data.require_every_class()
    chosen = balance(data["train"], recipe)
    strategy = make_strategy()
    chief = is_chief(strategy)
    record = _record(recipe, data, chosen, start=start, teachers=teachers, steps=steps)
    if chief:
        record = claim(run, record)
    if (run / RECORD).is_file() and load_run(run).finished:
        print(f"{run} is finished")
        return run / BEST
    steps = steps or steps_per_epoch(data["train"], recipe)
    validation = data["validation"].majority()
    rate = LearningRate(recipe, steps)
    judge = recipe.build(len(data.classes), weights=None)
    with precision(floats):
        K.utils.set_random_seed(recipe.seed)
        with strategy.scope():
            model = _compiled(recipe, data.classes, chosen, rate, weights, teachers)
        average = Average(model, recipe.ema)
        state = State(model, average, rate, run / CHECKPOINTS, chief=chief)
        if state.resumed and chief:
            print(f"resuming {run} after epoch {state.epoch}")
        # A resumed run must not repeat the distortions of its first epochs.
        K.utils.set_random_seed(recipe.seed + state.epoch)
        model.fit(
            batches(data["train"], recipe, chosen, first_epoch=state.epoch, steps=steps),
            initial_epoch=state.epoch,
            epochs=recipe.epochs,
            steps_per_epoch=steps,
            verbose=0,
            callbacks=[
                # Random layers are not worth keeping.
                *([Unfreeze(recipe)] if weights else []),
                average,
                Validation(recipe, judge, average, state, validation, run / BEST if chief else None),
                *(_records(run, state, loggers, record, steps) if chief else []),
                Saving(state),
            ],
        )
    if chief:
        finished = {"finished": True, "epochs": state.epoch, f"best_{recipe.select}": round(state.best, 5)}
        save(run, {**record, **finished})
        best = load_run(run)
        write_draft(best, predict(best.build(), model_input(validation, recipe)), validation)
    return run / BEST


def _record(
    recipe: Recipe, data: DataSet, chosen: Balance, *, start: str, teachers: Sequence[Path], steps: int | None
) -> dict[str, Any]:
    """What a run is; a run with another record needs another directory."""
    return {
        "recipe": recipe.model_dump(mode="json", exclude={"summary"}),
        "start": start,
        "dataset": data.name,
        "protocol": data.protocol,
        "fingerprint": data.fingerprint,
        "faces": {split: len(faces) for split, faces in data.splits.items()},
        "classes": list(data.classes),
        "class_prior": [round(float(share), 6) for share in chosen.prior],
        "teachers": [path.name for path in teachers],
        "steps": steps,
        "commit": code_version(),
        "versions": versions(),
    }


def _compiled(
    recipe: Recipe,
    classes: tuple[str, ...],
    chosen: Balance,
    rate: LearningRate,
    weights: str | None,
    teachers: Sequence[Path],
) -> Any:
    model = recipe.build(len(classes), weights=weights)
    if teachers:
        model = Trainee(model.input, model.output, name=model.name)
        model.teach = make_teacher(teachers, classes, recipe)
    loss = make_loss(recipe, chosen, taught=bool(teachers))
    model.compile(make_optimizer(recipe, rate), loss=loss, weighted_metrics=[], metrics=[accuracy])
    # Before anything is frozen: freed layers then find their slots, in a resumed run too.
    model.optimizer.build(model.trainable_variables)
    return model


def _records(run: Path, state: State, loggers: Sequence[str], record: dict[str, Any], steps: int) -> list[Any]:
    """What tells of the run: curves as CSV and for TensorBoard, the loggers asked for, the terminal."""
    return [
        K.callbacks.CSVLogger(run / HISTORY, append=state.resumed),
        K.callbacks.TensorBoard(run / "tensorboard", write_graph=False),
        *make_loggers(loggers, run, record),
        ProgressBar(record["recipe"]["epochs"], steps, state.epoch),
    ]
