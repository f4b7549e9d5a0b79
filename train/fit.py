"""Training one recipe into a run directory, resumable after a kill."""

from __future__ import annotations

import dataclasses
import json
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edge_emotion.errors import ConfigError
from edge_emotion.labels import EMOTIONS
from edge_emotion.manifest import InputSpec, write_text
from edge_emotion.preprocess import normalise, to_input
from edge_emotion.protocols import FloatArray
from train.datasets import Faces, Split
from train.keras import K, tf
from train.recipes import Recipe, find_recipe

RECORD, CHECKPOINTS, HISTORY, BEST = "run.json", "checkpoints", "history.csv", "best.h5"


def model_pixels(images: npt.NDArray[np.uint8], spec: InputSpec) -> npt.NDArray[np.uint8]:
    """Face crops N x h x w in the model's size and colours: uint8 N x H x W x C, by the runtime's own preprocessing."""
    return np.stack([to_input(image, spec) for image in images])


def fit(
    recipe: Recipe,
    data: dict[Split, Faces],
    run: Path,
    *,
    weights: str | None,
    start: str,
    dataset: str,
    steps: int | None = None,
) -> Path:
    """Train ``recipe`` on the Training split into ``run`` and return the path of its best weights.

    The best epoch is chosen by the PublicTest accuracy of the averaged weights. A run that was stopped goes on after
    its last finished epoch. ``steps`` cuts each epoch short, for trying things out.
    Raises ConfigError when the directory belongs to another recipe.
    """
    record = _claim(
        run,
        {"recipe": _plain(recipe), "start": start, "dataset": dataset, "steps": steps, "commit": code_version()},
    )
    K.utils.set_random_seed(recipe.seed)
    batches = -(-len(data["Training"]) // recipe.batch_size) if steps is None else steps
    model = _compiled(recipe, weights, batches)
    average = Average(model, recipe.ema)
    progress = Progress(model, average, run)
    if progress.resumed:
        print(f"resuming {run} after epoch {progress.epoch}")
    # A resumed run must not repeat the shuffles and distortions of its first epochs.
    seed = recipe.seed + progress.epoch
    K.utils.set_random_seed(seed)
    model.fit(
        _batches(data["Training"], recipe, seed),
        validation_data=_labelled(data["PublicTest"].majority(), recipe),
        initial_epoch=progress.epoch,
        epochs=recipe.epochs,
        steps_per_epoch=batches,
        callbacks=[
            average,
            KeepBest(average, progress, run / BEST),
            K.callbacks.CSVLogger(run / HISTORY, append=progress.resumed),
            progress,
        ],
    )
    finished = {"finished": True, "best_accuracy": round(progress.best, 5)}
    write_text(run / RECORD, json.dumps({**record, **finished}, indent=2))
    return run / BEST


def _compiled(recipe: Recipe, weights: str | None, batches: int) -> Any:
    model = recipe.network(recipe.input.shape, len(EMOTIONS), weights=weights)
    model.compile(
        optimizer=K.optimizers.AdamW(_schedule(recipe, batches), weight_decay=recipe.weight_decay),
        loss=K.losses.CategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    model.optimizer.build(model.trainable_variables)
    return model


def _labelled(faces: Faces, recipe: Recipe) -> tuple[FloatArray, FloatArray]:
    """Model input and one-hot labels."""
    pixels = model_pixels(faces.images, recipe.input)
    return normalise(pixels, recipe.input), np.eye(len(EMOTIONS), dtype=np.float32)[faces.labels]


class Average(K.callbacks.Callback):  # type: ignore[misc]
    """Exponential moving average of every weight (Polyak averaging); it is what gets validated and kept."""

    def __init__(self, model: Any, decay: float) -> None:
        super().__init__()
        self.decay = decay
        self._live = model.weights
        self.shadows = [tf.Variable(weight, trainable=False) for weight in self._live]
        self._update = tf.function(self._step)
        self._raw: list[Any] = []

    def _step(self, decay: Any) -> None:
        for shadow, live in zip(self.shadows, self._live, strict=True):
            shadow.assign_sub((1.0 - decay) * (shadow - live))

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Early on the average forgets faster: it need not remember the starting point."""
        step = float(self.model.optimizer.iterations)
        self._update(tf.constant(min(self.decay, (1 + step) / (10 + step)), tf.float32))

    def on_test_begin(self, logs: Any = None) -> None:
        """Validate the average, not the weights of the last step."""
        self._raw = [weight.numpy() for weight in self._live]
        for weight, shadow in zip(self._live, self.shadows, strict=True):
            weight.assign(shadow)

    def on_test_end(self, logs: Any = None) -> None:
        """Go on training from where it was."""
        for weight, raw in zip(self._live, self._raw, strict=True):
            weight.assign(raw)


class Progress(K.callbacks.Callback):  # type: ignore[misc]
    """Saves everything that a resumed run needs after each epoch, and restores it when it is made."""

    def __init__(self, model: Any, average: Average, run: Path) -> None:
        super().__init__()
        self._epoch = tf.Variable(0, dtype=tf.int64)
        self._best = tf.Variable(0.0)
        checkpoint = tf.train.Checkpoint(
            model=model, optimizer=model.optimizer, average=average.shadows, epoch=self._epoch, best=self._best
        )
        self._manager = tf.train.CheckpointManager(checkpoint, str(run / CHECKPOINTS), max_to_keep=1)
        self.resumed = self._manager.latest_checkpoint is not None
        if self.resumed:
            checkpoint.restore(self._manager.latest_checkpoint).assert_consumed()

    @property
    def epoch(self) -> int:
        """Finished epochs."""
        return int(self._epoch)

    @property
    def best(self) -> float:
        """The best validation accuracy so far."""
        return float(self._best)

    def is_better(self, accuracy: float) -> bool:
        """Note an accuracy if it is the best so far."""
        better = accuracy > self.best
        if better:
            self._best.assign(accuracy)
        return better

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """The number of finished epochs goes into the checkpoint."""
        self._epoch.assign(epoch + 1)
        self._manager.save()


class KeepBest(K.callbacks.Callback):  # type: ignore[misc]
    """Saves the averaged weights whenever their validation accuracy is the best so far."""

    def __init__(self, average: Average, progress: Progress, path: Path) -> None:
        super().__init__()
        self._average, self._progress, self._path = average, progress, path

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Keep the weights of this epoch if they are better."""
        if not self._progress.is_better((logs or {}).get("val_accuracy", 0.0)):
            return
        self._average.on_test_begin()
        beside = self._path.with_name("part-" + self._path.name)
        self.model.save_weights(beside)
        beside.replace(self._path)
        self._average.on_test_end()


def load_run(run: Path) -> tuple[Any, Recipe, dict[str, Any]]:
    """The best model of a run, its recipe and its record. Raises ConfigError if it is no run, or not finished."""
    if not (run / RECORD).is_file() or not (run / BEST).is_file():
        raise ConfigError(f"{run} is not a training run with a model ({RECORD}, {BEST}); make one: python -m train fit")
    record = json.loads((run / RECORD).read_text(encoding="utf-8"))
    if not record.get("finished"):
        raise ConfigError(f"{run} is not finished: give its train fit command again, it goes on where it stopped")
    recipe = find_recipe(record["recipe"]["name"])
    model = recipe.network(recipe.input.shape, len(EMOTIONS), weights=None)
    model.load_weights(run / BEST)
    return model, recipe, record


def code_version() -> str:
    """The commit of this checkout, '+' if it was changed since, 'unknown' outside of git."""
    try:
        done = subprocess.run(
            ["git", "describe", "--always", "--dirty=+", "--abbrev=12"],
            cwd=Path(__file__).parent, capture_output=True, text=True, check=True,
        )  # fmt: skip
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return done.stdout.strip()


def _claim(run: Path, record: dict[str, Any]) -> dict[str, Any]:
    """A run directory belongs to one recipe with one set of settings; its record is made by the first start."""
    path = run / RECORD
    if path.is_file():
        known: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        changed = [key for key in record if key != "commit" and known.get(key) != record[key]]
        if changed:
            raise ConfigError(f"{run} holds a run with another {', '.join(changed)}; choose another --run directory")
        return known
    run.mkdir(parents=True, exist_ok=True)
    write_text(path, json.dumps(record, indent=2))
    return record


def _plain(recipe: Recipe) -> dict[str, Any]:
    """A recipe as JSON values."""
    data = dataclasses.asdict(dataclasses.replace(recipe, network=None))  # type: ignore[arg-type]
    del data["network"], data["input"]
    return {**data, "input": recipe.input.model_dump(mode="json")}


def _schedule(recipe: Recipe, batches: int) -> Any:
    """Linear warm-up, then half a cosine down to 0 (Loshchilov and Hutter 2017)."""
    warmup = max(int(recipe.warmup_epochs * batches), 1)
    return K.optimizers.schedules.CosineDecay(
        initial_learning_rate=recipe.learning_rate / 100,
        decay_steps=max(recipe.epochs * batches - warmup, 1),
        warmup_target=recipe.learning_rate,
        warmup_steps=warmup,
    )


def _batches(faces: Faces, recipe: Recipe, seed: int) -> Any:
    """Endless shuffled batches of augmented, normalised pictures and their vote distributions."""
    spec = recipe.input
    pixels = model_pixels(faces.images, spec)

    def prepare(images: Any, votes: Any) -> tuple[Any, Any]:
        images = recipe.augmentation(tf.cast(images, tf.float32))
        return images * spec.scale + spec.offset, votes

    return (
        tf.data.Dataset.from_tensor_slices((pixels, faces.votes))
        .shuffle(len(faces), seed=seed)
        .repeat()
        .batch(recipe.batch_size)
        .map(prepare, num_parallel_calls=1, deterministic=True)
        .prefetch(2)
    )
