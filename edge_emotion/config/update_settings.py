"""Settings of the installation of releases, by hand and by orders over MQTT."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import BeforeValidator, Field, StringConstraints, model_validator

from edge_emotion.config.section import Section, as_text
from edge_emotion.wire.topics import NAME_PATTERN


class UpdateSettings(Section):
    """Releases of models. With a ``group`` the daemon follows its orders; without, only ``install`` reads ``keys``."""

    keys: tuple[Path, ...] = Field(
        default=(),
        max_length=2,
        description="public key files; releases and orders of these keys are accepted; two during a change",
    )
    group: Annotated[str | None, BeforeValidator(as_text), StringConstraints(pattern=NAME_PATTERN)] = Field(
        default=None, description="orders for this group, <prefix>/fleet/<group>/model, are followed"
    )
    models: Path | None = Field(
        default=None,
        description="folder of this node's installed releases; default: <node>.models in the state directory",
    )
    ca: Path | None = Field(
        default=None, description="certificates of the servers that releases come from; default: those of the system"
    )
    spread: float = Field(
        default=30.0, ge=0, le=86_400, description="seconds over which the nodes of a group begin, at random"
    )
    watch: float = Field(
        default=600.0, ge=1, le=604_800, description="seconds for which a new model is watched before it is confirmed"
    )

    @model_validator(mode="after")
    def _somebody_is_trusted(self) -> UpdateSettings:
        if self.group is not None and not self.keys:
            raise ValueError("a group needs keys: the public key files whose orders are followed")
        return self
