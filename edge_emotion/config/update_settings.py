"""Settings of the installation of releases."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from edge_emotion.config.section import Section


class UpdateSettings(Section):
    """Releases of models; ``edge-emotion install`` reads it."""

    keys: tuple[Path, ...] = Field(
        default=(),
        max_length=2,
        description="public key files; releases of these keys are installed; two during a change",
    )
