"""How far a node is with the model that its group was ordered: the key ``model_update`` of its ``info``."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, ValidationError, field_serializer

from edge_emotion.system.paths import printable
from edge_emotion.system.plain_words import in_plain_words
from edge_emotion.wire.model_order import OrderedRelease
from edge_emotion.wire.payloads import format_time
from edge_emotion.wire.topics import NAME_PATTERN

UpdateState = Literal["waiting", "fetching", "checking", "switched", "confirmed", "returned", "refused"]

FINAL: tuple[UpdateState, ...] = ("confirmed", "returned", "refused")
"""States that only another order changes."""

FAILED: tuple[UpdateState, ...] = ("returned", "refused")
"""Those of them in which the release is not used. After ``abort`` ``returned`` is what was wanted."""


class UpdateReport(BaseModel):
    """``order`` is the serial of the newest order that was accepted, ``release`` what it names; None: no order yet.

    ``installed`` is the serial of the release in use; None: the model of the settings. ``expired``: the newest order
    has expired and no newer one came. ``reason`` is one line for people, without
    what a terminal would execute, whoever has written it.
    """

    model_config = ConfigDict(extra="ignore", frozen=True)

    group: Annotated[str, Field(pattern=NAME_PATTERN)]
    order: int | None = None
    release: OrderedRelease | None = None
    state: UpdateState = "waiting"
    reason: Annotated[str, Field(max_length=2000), AfterValidator(printable)] = ""
    since: AwareDatetime
    installed: int | None = None
    expired: bool = False

    @field_serializer("since")
    def _written(self, moment: datetime) -> str:
        return format_time(moment)


def report_to_object(report: UpdateReport) -> dict[str, Any]:
    """The report as plain JSON values."""
    return report.model_dump(mode="json")


def report_of(info: Mapping[str, Any]) -> UpdateReport | None:
    """The report in a node's ``info``; None for a node that takes no orders. Raises ValueError for a malformed one."""
    if "model_update" not in info:
        return None
    try:
        return UpdateReport.model_validate(info["model_update"])
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, ("model_update", *first["loc"])))
        raise ValueError(f"{where}: {in_plain_words(first['type'], first['msg'])}") from error
