"""Loggers for Weights & Biases and MLflow, beside the TensorBoard logs that every run has."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from edge_emotion.errors import BackendUnavailable, ConfigError
from edge_emotion.system.atomic_file import write_text
from train.choices import Logger
from train.keras import K

PROJECT = "edge-emotion"

MLFLOW_RUN = "mlflow-run.txt"
"""File in the run directory with MLflow's run ID."""


Pictures = Callable[[], Mapping[str, Path]]
"""Draws at the end of a run: name -> PNG file; nothing for a run without pictures."""


class WandbLogger(K.callbacks.Callback):  # type: ignore[misc]
    """Logs each epoch and the final pictures to Weights & Biases; with WANDB_MODE=offline into the run directory."""

    def __init__(self, run: Path, settings: Mapping[str, Any], pictures: Pictures) -> None:
        super().__init__()
        import wandb

        self._pictures, self._image = pictures, wandb.Image
        self._run = wandb.init(project=PROJECT, name=run.name, dir=run, config=dict(settings), resume="auto")

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Log the figures of an epoch."""
        self._run.log(dict(logs or {}), step=epoch)

    def on_train_end(self, logs: dict[str, float] | None = None) -> None:
        """Upload the pictures, and end the run."""
        if images := {name: self._image(str(file)) for name, file in self._pictures().items()}:
            self._run.log(images)
        self._run.finish()


class MlflowLogger(K.callbacks.Callback):  # type: ignore[misc]
    """Logs each epoch and the final pictures to MLflow; without MLFLOW_TRACKING_URI into the run directory.

    MLflow's run ID is kept in a file there, so that a resumed run continues the same MLflow run.
    """

    def __init__(self, run: Path, settings: Mapping[str, Any], pictures: Pictures) -> None:
        super().__init__()
        import mlflow

        self._mlflow, self._pictures = mlflow, pictures
        if "MLFLOW_TRACKING_URI" not in os.environ:
            mlflow.set_tracking_uri(f"sqlite:///{(run / 'mlflow.db').resolve()}")
            if mlflow.get_experiment_by_name(PROJECT) is None:  # its default folder is the working directory
                mlflow.create_experiment(PROJECT, artifact_location=(run / "mlflow").resolve().as_uri())
        mlflow.set_experiment(PROJECT)
        known = run / MLFLOW_RUN
        if known.is_file():
            _go_on(mlflow, known)
            return
        begun = mlflow.start_run(run_name=run.name)
        write_text(known, begun.info.run_id)
        mlflow.log_params({key: str(value)[:500] for key, value in settings.items()})

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Log the figures of an epoch."""
        self._mlflow.log_metrics(dict(logs or {}), step=epoch)

    def on_train_end(self, logs: dict[str, float] | None = None) -> None:
        """Log pictures and mark MLflow's run as finished."""
        for file in self._pictures().values():
            self._mlflow.log_artifact(str(file), "pictures")
        self._mlflow.end_run()


def _go_on(mlflow: Any, known: Path) -> None:
    number = known.read_text(encoding="utf-8").strip()
    try:
        mlflow.start_run(run_id=number)
    except mlflow.exceptions.MlflowException as error:
        raise ConfigError(f"MLflow has no run {number} here: remove {known} to begin a new one") from error


LOGGERS: dict[Logger, Callable[[Path, Mapping[str, Any], Pictures], Any]] = {
    "wandb": WandbLogger,
    "mlflow": MlflowLogger,
}


def require_loggers(names: Sequence[Logger]) -> None:
    """Raises BackendUnavailable for a logger whose package is missing."""
    for name in names:
        if find_spec(name) is None:
            raise BackendUnavailable(f"--log {name}: pip install {name}")


def make_loggers(
    names: Sequence[Logger], run: Path, settings: Mapping[str, Any], pictures: Pictures = dict
) -> list[Any]:
    """The loggers with these names for one run; see ``require_loggers`` for their packages."""
    return [LOGGERS[name](run, settings, pictures) for name in names]
