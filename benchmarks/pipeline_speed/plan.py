"""What ``python -m benchmarks pipeline`` is asked for."""

from __future__ import annotations

from typing import Any

from edge_emotion.models.manifest import Part


class Plan(Part):
    """What to measure: for each of ``faces`` the line on one core, for each of ``cameras`` the daemon on so many.

    ``source`` is one more camera, a real one. With ``everywhere`` no face is followed. Each of ``rounds`` runs lasts
    ``seconds`` after ``settle``.
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
        """Settings of the daemon with which every frame is looked at and every face in it classified.

        Known faces are followed, as they are usually, unless ``everywhere`` makes that the hardest case of all.
        """
        following = {"refresh_interval": 0} if self.everywhere else {}
        return {
            "detector": {"model": self.detector, "idle_interval": 0} | following,
            "classifier": {"model": self.model, "interval": 0},
        }
