"""Settings of ``python -m benchmarks pipeline``."""

from __future__ import annotations

from typing import Any

from edge_emotion.models.manifest import Part


class Plan(Part):
    """Subjects to measure: per number in ``faces`` the pipeline on one core, per number in ``cameras`` the daemon.

    ``source``: one more camera, a real one. ``everywhere``: detect in every whole frame, never follow faces. Each of
    ``rounds`` runs lasts ``seconds`` after ``settle`` seconds.
    """

    detector: str = "blazeface_back"
    model: str = "mobilenet_v2"
    everywhere: bool = False
    faces: tuple[int, ...] = (1, 3, 5)
    cameras: tuple[int, ...] = (1, 2, 3, 4)
    source: str | None = None
    rounds: int = 4
    seconds: float = 5.0
    settle: float = 2.0

    @property
    def hardest(self) -> dict[str, Any]:
        """Settings of the daemon with the highest load: every frame is processed, every face in it classified.

        Known faces are followed as by default, unless ``everywhere`` adds detection in every whole frame.
        """
        following = {"refresh_interval": 0} if self.everywhere else {}
        return {
            "detector": {"model": self.detector, "idle_interval": 0} | following,
            "classifier": {"model": self.model, "interval": 0},
        }
