"""Training one recipe into a run directory, resumable after a kill."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from train.choices import Logger, Precision
from train.data.duplicates import drop_copies
from train.data.faces import DataError, DataSet, Faces
from train.evaluation.logits import logits_of
from train.evaluation.predict import KerasBackend
from train.fitting.averaging import Average
from train.fitting.batches import batches, steps_per_epoch
from train.fitting.callbacks import ProgressBar, Saving, Unfreeze, Validation
from train.fitting.class_balance import Balance, balance
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


@dataclass(frozen=True)
class _Job:
    """One run: what is learned from what, and where it goes. ``steps`` are those of an epoch."""

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
    floats: Precision = "auto",
    steps: int | None = None,
) -> Path:
    """Train ``recipe`` on the training split into ``run`` and return the path of its best weights.

    ``weights`` is where the network starts (a path, 'imagenet', None) and ``start`` says so in the record. Training
    faces of which another split holds a copy are left out. The best epoch is chosen on the validation split. A run
    that was stopped goes on after its last finished epoch. ``loggers`` are names of LOGGERS. ``steps`` cuts each epoch
    short, for trying things out.
    Raises ConfigError when the directory belongs to another run, DataError for data that cannot be learned from,
    TrainingError when it fails on the way.
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
        teachers, loggers, steps or steps_per_epoch(data["train"], recipe),
    )  # fmt: skip
    try:
        state = _train(job, strategy, floats)
    except tf.errors.OpError as error:
        raise TrainingError(f"TensorFlow gave up: {str(error).splitlines()[0]}") from error
    if is_chief(strategy):
        _finish(job, state)
    return run / BEST


def _learnable(data: DataSet, *, near: bool) -> DataSet:
    """Without copies; raises DataError if something to learn or to validate by is missing."""
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
    """What a run is; a run with another record needs another directory."""
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
        # Only now: a start that fails over its weights or teachers must not claim the directory.
        if chief:
            require_disk(job.run, model.count_params())
            create(job.run, job.record)
        average = Average(model, recipe.ema)
        state = State(model, average, rate, job.run, chief=chief)
        if state.resumed and chief:
            print(f"resuming {job.run} after epoch {state.epoch}")
        if state.ended(recipe):  # it was killed after its last epoch, or its early stop
            return state
        # A resumed run must not repeat the distortions of its first epochs.
        K.utils.set_random_seed(recipe.seed + state.epoch)
        model.fit(
            batches(job.train, recipe, job.balance, first_epoch=state.epoch, steps=job.steps),
            initial_epoch=state.epoch,
            epochs=recipe.epochs,
            steps_per_epoch=job.steps,
            verbose=0,
            callbacks=[
                # Random layers are not worth keeping.
                *([Unfreeze(recipe)] if job.weights else []),
                average,
                Validation(recipe, judge, average, state, job.validation),
                *(_tell(job, state) if chief else []),
                Saving(state),
            ],
        )
    return state


def _compiled(job: _Job, rate: LearningRate) -> Any:
    model = job.recipe.build(len(job.classes), weights=job.weights)
    if job.teachers:
        model = Trainee(model.input, model.output, name=model.name)
        model.teach = make_teacher(job.teachers, job.classes, job.recipe, job.record)
    loss = make_loss(job.recipe, job.balance, taught=bool(job.teachers))
    model.compile(make_optimizer(job.recipe, rate), loss=loss, weighted_metrics=[], metrics=[accuracy])
    # Before anything is frozen: freed layers then find their slots, in a resumed run too.
    model.optimizer.build(model.trainable_variables)
    return model


def _tell(job: _Job, state: State) -> list[Any]:
    """What tells of the run: curves as CSV and for TensorBoard, the loggers asked for, the terminal."""
    return [
        K.callbacks.CSVLogger(job.run / HISTORY, append=state.resumed),
        K.callbacks.TensorBoard(job.run / "tensorboard", write_graph=False),
        *make_loggers(job.loggers, job.run, job.record),
        ProgressBar(job.recipe.epochs, job.steps, state.epoch),
    ]


def _finish(job: _Job, state: State) -> None:
    """The draft of the manifest, and last the word that nothing is missing."""
    best = {f"best_{job.recipe.select}": round(state.best, 5)}
    run = Run(job.run, job.recipe, {**job.record, "finished": True, "epochs": state.epoch, **best})
    write_draft(run, logits_of(KerasBackend(run.build()), job.validation, job.recipe.input), job.validation)
    save(job.run, run.record)
