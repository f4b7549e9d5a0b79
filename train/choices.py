"""What the command line offers, kept apart from what takes seconds to import."""

from __future__ import annotations

from typing import Literal

from edge_emotion.config.settings import DetectorSettings

DETECTOR = DetectorSettings().model
"""Where no other is named: the daemon's."""

Precision = Literal["auto", "float32", "mixed_float16", "mixed_bfloat16"]
"""Keras' precision policies, and 'auto'."""

Logger = Literal["wandb", "mlflow"]
"""Where figures go beside TensorBoard."""
