"""Choices and defaults of the command line, in a module that imports fast."""

from __future__ import annotations

from typing import Literal

from edge_emotion.config.settings import DetectorSettings

DETECTOR = DetectorSettings().model
"""Default detector: the daemon's."""

Precision = Literal["auto", "float32", "mixed_float16", "mixed_bfloat16"]
"""Keras' precision policies, and 'auto': chosen by the hardware."""

Logger = Literal["wandb", "mlflow"]
"""Experiment trackers that can be used beside TensorBoard."""

INSTALL = "in the clone, run make workstation"
"""How to get the libraries of training, conversion and benchmarks, for error messages."""
