"""The settings of one camera's pipeline, as one value."""

from __future__ import annotations

from dataclasses import dataclass

from edge_emotion.pipeline.quality_gate import NeededConfidence
from edge_emotion.pipeline.view import View


@dataclass(frozen=True, slots=True, kw_only=True)
class PipelineSettings:
    """Everything that the pipeline of one camera is configured with; times are seconds.

    The defaults stand in ``config.settings``, where each field has the same name and meaning; this value has none.
    """

    node: str
    camera: str
    interval: float
    """Least time between two classifications of the same face."""
    idle_interval: float
    """Least time between two detections while there is no track."""
    refresh_interval: float
    """Least time between two detections in the whole picture while every face is followed."""
    idle_refresh_interval: float
    """The same while there is no track and the quick detector is sure."""
    iou: float
    confirm_hits: int
    max_gap: float
    threshold: float
    hysteresis: float
    margin: float
    min_dwell: float
    unknown_dwell: float
    time_constant: float
    needed_confidence: NeededConfidence
    view: View
    find_upright: bool
    """Whether the rotation is told from the faces; that of ``view`` is the first guess."""
    ignore_still: bool
    """Whether a face that never moves is reported once and then ignored."""
    keep_known: bool
    """Whether known faces that a search in the whole picture misses are looked for where they were."""
