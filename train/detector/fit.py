"""Fine-tuning of YuNet on scenes with known boxes: resumable, with a progress bar.

Half of each batch are turned scenes, whose boxes are learned. On the other half the network learns to answer as the
one from which it starts answers to the same scene in good light: so it keeps what it knows of pictures that these
scenes do not resemble (learning without forgetting, Li and Hoiem 2016, arXiv:1606.09282).
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from edge_emotion.detectors.yunet import grid_cells
from edge_emotion.errors import ConfigError
from edge_emotion.system.atomic_file import write_text
from train.detector.assignment import assign
from train.detector.scenes import MOST_FACES, LabelledFaces, scene
from train.keras import K, tf
from train.networks.yunet import STRIDES, build_yunet, load_trained

BOX_WEIGHT = 5.0
"""Of the loss of boxes beside those of class and objectness."""

KEPT_WEIGHT = 3.0
"""Of the loss of what was known before beside that of turned scenes."""

BELIEVED = 0.3
"""Least score of an answer of the network from which training starts for which its box is learned."""

LARGEST_LOG = 6.0
"""Logarithm of a side in strides beyond which boxes are not believed."""

VALIDATION_SEED = 10**6


@dataclass(frozen=True)
class DetectorRecipe:
    """Numbers of one fine-tuning; ``scenes`` are those of an epoch, sizes those that the network sees.

    Raises ConfigError for an odd ``batch``: its halves are used in different ways.
    """

    epochs: int = 20
    scenes: int = 16_000
    batch: int = 16
    learning_rate: float = 3e-4
    height: int = 240
    width: int = 320
    validation: int = 512
    seed: int = 1

    def __post_init__(self) -> None:
        if self.batch % 2:
            raise ConfigError(f"--batch {self.batch}: give an even number")


class DetectorTraining:
    """One run in ``folder``: ``last`` (a checkpoint), ``best.h5`` (weights of least validation loss), ``log.json``.

    A run that was begun goes on after its last finished epoch. Raises ModelError for other ``start`` weights,
    ConfigError if the run was begun with another recipe.
    """

    def __init__(self, folder: Path, faces: LabelledFaces, recipe: DetectorRecipe, start: Path) -> None:
        self._folder, self._faces, self._recipe = folder, faces, recipe
        self._model, self._before = (build_yunet(recipe.height, recipe.width, batch=None) for _ in range(2))
        for model in (self._model, self._before):
            load_trained(model, start)
        self._half = recipe.batch // 2
        self._compiled_step, self._compiled_loss = tf.function(self._step), tf.function(self._loss)
        steps = recipe.epochs * max(recipe.scenes // recipe.batch, 1)
        self._optimiser = K.optimizers.Adam(K.optimizers.schedules.CosineDecay(recipe.learning_rate, steps))
        shapes = [(-(-recipe.height // stride), -(-recipe.width // stride)) for stride in STRIDES]
        self._cells, self._strides = grid_cells(shapes, STRIDES)
        folder.mkdir(parents=True, exist_ok=True)
        self._log = self._read_log()
        self._optimiser.build(self._model.trainable_weights)  # so that a checkpoint's averages find their place
        checkpoint = tf.train.Checkpoint(model=self._model, optimiser=self._optimiser)
        self._manager = tf.train.CheckpointManager(checkpoint, str(folder / "last"), max_to_keep=1)
        if self._log["epochs"]:
            checkpoint.restore(self._manager.latest_checkpoint)

    def run(self) -> Path:
        """Train the epochs that are missing; returns the file of the best weights."""
        recipe = self._recipe
        for epoch in range(len(self._log["epochs"]), recipe.epochs):
            bar = tqdm(self._batches(epoch * recipe.scenes, recipe.scenes), total=recipe.scenes // recipe.batch,
                       desc=f"epoch {epoch + 1} of {recipe.epochs}", leave=False)  # fmt: skip
            losses = [float(self._compiled_step(*batch)) for batch in bar]
            self._finish_epoch(float(np.mean(losses)), self._validate())
        return self._folder / "best.h5"

    def _finish_epoch(self, loss: float, validation: float) -> None:
        """The best weights first, the log last: what it names is there."""
        if validation <= min((one["validation"] for one in self._log["epochs"]), default=np.inf):
            self._model.save_weights(str(self._folder / "best.h5"))
        self._manager.save()
        self._log["epochs"].append({"loss": round(loss, 5), "validation": round(validation, 5)})
        write_text(self._folder / "log.json", json.dumps(self._log, indent=1) + "\n")
        tqdm.write(f"epoch {len(self._log['epochs'])}: loss {loss:.4f}, validation {validation:.4f}")

    def _read_log(self) -> dict[str, Any]:
        file = self._folder / "log.json"
        recipe = vars(self._recipe)
        if not file.is_file():
            return {"recipe": recipe, "epochs": []}
        log: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        if log["recipe"] != recipe:
            raise ConfigError(
                f"{self._folder} was begun with other numbers: {log['recipe']}; give these, or another --run"
            )
        return log

    def _batches(self, first: int, count: int) -> Iterator[tuple[Any, Any, Any]]:
        """The ``count`` scenes from number ``first`` on, in batches; each depends only on its number and the seed.

        Pictures B x H x W x 3 as they are seen, the first half of them plain, and boxes B x MOST_FACES x 4, with boxes
        of size 0 after the real ones. The second half is turned.
        """
        recipe, half = self._recipe, self._half
        for start in range(first, first + count - recipe.batch + 1, recipe.batch):
            scenes = [
                scene(self._faces, recipe.height, recipe.width, np.random.default_rng((recipe.seed, start + row)),
                      turned=row >= half) for row in range(recipe.batch)
            ]  # fmt: skip
            boxes = np.zeros((recipe.batch, MOST_FACES, 4), np.float32)
            for row, one in zip(boxes, scenes, strict=True):
                row[: len(one.boxes)] = one.boxes
            seen, plain = [one.seen for one in scenes], [one.plain for one in scenes[:half]]
            yield (
                *(tf.constant(np.stack(pictures).astype(np.float32)) for pictures in (seen, plain)),
                tf.constant(boxes),
            )

    def _validate(self) -> float:
        """Mean loss on scenes that are not used for training."""
        count = max(self._recipe.validation, self._recipe.batch)
        batches = self._batches(VALIDATION_SEED * self._recipe.batch, count)
        return float(np.mean([float(self._compiled_loss(*batch)) for batch in batches]))

    def _step(self, seen: Any, plain: Any, faces: Any) -> Any:
        with tf.GradientTape() as tape:
            loss = self._loss(seen, plain, faces)
        weights = self._model.trainable_weights
        self._optimiser.apply_gradients(zip(tape.gradient(loss, weights), weights, strict=True))
        return loss

    def _loss(self, seen: Any, plain: Any, faces: Any) -> Any:
        half = self._half
        logits, boxes = self._predict(self._model, seen)
        before = self._predict(self._before, plain)
        kept = self._kept_loss(logits[:half], boxes[:half], *before, faces[:half])
        return KEPT_WEIGHT * kept + self._found_loss(logits[half:], boxes[half:], faces[half:])

    def _kept_loss(self, logits: Any, boxes: Any, logits_before: Any, boxes_before: Any, faces: Any) -> Any:
        """Divergence from the answers of before, for a face; cells of faces that were not found then do not count."""
        answers = tf.sigmoid(logits_before)
        scores = tf.sqrt(tf.reduce_prod(answers, axis=-1))
        believed = scores >= BELIEVED
        counted = tf.cast(believed | ~self._within(faces), tf.float32)[..., None]
        divergence = tf.nn.sigmoid_cross_entropy_with_logits(answers, logits) - tf.nn.sigmoid_cross_entropy_with_logits(
            answers, logits_before
        )
        shares = overlaps(tf.boolean_mask(boxes, believed), tf.boolean_mask(boxes_before, believed))
        total = tf.reduce_sum(counted * divergence) + BOX_WEIGHT * tf.reduce_sum(1 - shares)
        return total / at_least_one(believed)

    def _within(self, faces: Any) -> Any:
        """For each cell whether its middle lies in the box of a face: B x N."""
        away = tf.abs((self._cells + self._strides / 2)[None, :, None] - faces[:, None, :, :2])
        return tf.reduce_any(tf.reduce_all(away < faces[:, None, :, 2:] / 2, axis=-1), axis=-1)

    def _found_loss(self, logits: Any, boxes: Any, faces: Any) -> Any:
        """Sum of the losses of class (target: the overlap), objectness and overlap, over the cells with a face."""
        scores = tf.sqrt(tf.reduce_prod(tf.sigmoid(logits), axis=-1))
        truth = tf.ensure_shape(tf.numpy_function(self._targets, [scores, boxes, faces], tf.float32), boxes.shape)
        positive = truth[..., 2] > 0
        objectness = tf.nn.sigmoid_cross_entropy_with_logits(tf.cast(positive, tf.float32), logits[..., 1])
        shares = overlaps(tf.boolean_mask(boxes, positive), tf.boolean_mask(truth, positive))
        classes = tf.nn.sigmoid_cross_entropy_with_logits(
            tf.stop_gradient(shares), tf.boolean_mask(logits[..., 0], positive)
        )
        total = tf.reduce_sum(objectness) + tf.reduce_sum(classes) + BOX_WEIGHT * tf.reduce_sum(1 - shares)
        return total / at_least_one(positive)

    def _predict(self, model: Any, pictures: Any) -> tuple[Any, Any]:
        """Logits B x N x 2, and decoded boxes B x N x 4 (middle x, y, width, height)."""
        outputs, count = model(pictures, training=True), pictures.shape[0]
        logits, raw = (
            tf.concat([tf.reshape(one, (count, -1, size)) for one in outputs[first::2]], axis=1)
            for first, size in ((0, 2), (1, 4))
        )
        middle = self._cells + raw[..., :2] * self._strides
        return logits, tf.concat([middle, tf.exp(tf.minimum(raw[..., 2:], LARGEST_LOG)) * self._strides], axis=-1)

    def _targets(self, scores: Any, boxes: Any, faces: Any) -> Any:
        """For each cell of each picture the box of its face, of size 0 where it has none: B x N x 4."""
        truth = np.zeros_like(boxes)
        for row, some in enumerate(faces):
            real = some[some[:, 2] > 0]
            answers = assign(scores[row], boxes[row], self._cells, self._strides, real)
            truth[row][answers >= 0] = real[answers[answers >= 0]]
        return truth


def at_least_one(chosen: Any) -> Any:
    """The number of true elements, or 1."""
    return tf.maximum(tf.reduce_sum(tf.cast(chosen, tf.float32)), 1.0)


def overlaps(boxes: Any, truth: Any) -> Any:
    """Intersection over union of N pairs of boxes: middle x, y, width, height."""
    low = tf.maximum(boxes[:, :2] - boxes[:, 2:] / 2, truth[:, :2] - truth[:, 2:] / 2)
    high = tf.minimum(boxes[:, :2] + boxes[:, 2:] / 2, truth[:, :2] + truth[:, 2:] / 2)
    shared = tf.reduce_prod(tf.maximum(high - low, 0.0), axis=1)
    union = tf.reduce_prod(boxes[:, 2:], axis=1) + tf.reduce_prod(truth[:, 2:], axis=1) - shared
    return shared / tf.maximum(union, 1e-6)
