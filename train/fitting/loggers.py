"""Figures of each epoch to Weights & Biases or MLflow, beside the TensorBoard logs that every run has."""

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
"""File of the run directory."""


class WandbLogger(K.callbacks.Callback):  # type: ignore[misc]
    """Weights & Biases; WANDB_MODE=offline keeps everything in the run directory."""

    def __init__(self, run: Path, settings: Mapping[str, Any]) -> None:
        super().__init__()
        import wandb

        self._run = wandb.init(project=PROJECT, name=run.name, dir=run, config=dict(settings), resume="auto")

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """One point of every curve."""
        self._run.log(dict(logs or {}), step=epoch)

    def on_train_end(self, logs: dict[str, float] | None = None) -> None:
        """Hand over what is still on its way."""
        self._run.finish()


class MlflowLogger(K.callbacks.Callback):  # type: ignore[misc]
    """MLflow; without MLFLOW_TRACKING_URI into a SQLite file of the run directory.

    A file there keeps the number of MLflow's run: one that is resumed goes on.
    """

    def __init__(self, run: Path, settings: Mapping[str, Any]) -> None:
        super().__init__()
        import mlflow

        self._mlflow = mlflow
        if "MLFLOW_TRACKING_URI" not in os.environ:
            mlflow.set_tracking_uri(f"sqlite:///{(run / 'mlflow.db').resolve()}")
        mlflow.set_experiment(PROJECT)
        known = run / MLFLOW_RUN
        if known.is_file():
            _go_on(mlflow, known)
            return
        begun = mlflow.start_run(run_name=run.name)
        write_text(known, begun.info.run_id)
        mlflow.log_params({key: str(value)[:500] for key, value in settings.items()})

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """One point of every curve."""
        self._mlflow.log_metrics(dict(logs or {}), step=epoch)

    def on_train_end(self, logs: dict[str, float] | None = None) -> None:
        """The run is complete."""
        self._mlflow.end_run()


def _go_on(mlflow: Any, known: Path) -> None:
    number = known.read_text(encoding="utf-8").strip()
    try:
        mlflow.start_run(run_id=number)
    except mlflow.exceptions.MlflowException as error:
        raise ConfigError(f"MLflow has no run {number} here: remove {known} to begin a new one") from error


LOGGERS: dict[Logger, Callable[[Path, Mapping[str, Any]], Any]] = {"wandb": WandbLogger, "mlflow": MlflowLogger}


def require_loggers(names: Sequence[Logger]) -> None:
    """Raises BackendUnavailable for a logger whose package is missing."""
    for name in names:
        if find_spec(name) is None:
            raise BackendUnavailable(f"--log {name}: pip install {name}")


def make_loggers(names: Sequence[Logger], run: Path, settings: Mapping[str, Any]) -> list[Any]:
    """The loggers of these names for one run; their packages are there (``require_loggers``)."""
    return [LOGGERS[name](run, settings) for name in names]
