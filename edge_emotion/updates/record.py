"""What a node remembers of its orders over restarts: a small file in the state directory."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from edge_emotion.system.state_file import load_json, save_json
from edge_emotion.wire.update_report import UpdateState

MOST_RETURNED = 64
"""Releases that are remembered as left; the oldest are forgotten first."""


class UpdateRecord(BaseModel):
    """``payload`` is the newest accepted order, ``highest`` its serial.

    Releases are named by their SHA-256: ``returned`` were in use and are left for good, ``leaving`` is one of them that
    the link may still lead to, ``watched`` is the one that is watched. Meanwhile ``running`` is true from the start of
    the process to its orderly end, ``crashes`` counts the ends that were not, and ``before`` is the time of a frame in
    seconds with the model before, if it is known.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    payload: str = ""
    highest: int = Field(default=0, ge=0)
    state: UpdateState = "waiting"
    reason: str = ""
    since: AwareDatetime
    returned: tuple[str, ...] = ()
    leaving: str | None = None
    watched: str | None = None
    running: bool = False
    crashes: int = Field(default=0, ge=0)
    before: float | None = None


class RecordFile:
    """The record in ``path``; a damaged file is moved aside, which is logged, and the record is empty."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def load(self, now: datetime) -> UpdateRecord:
        """The record, else an empty one of this moment."""
        content = load_json(self._path, UpdateRecord.model_validate)
        return UpdateRecord.model_validate(content) if content else UpdateRecord(since=now)

    def save(self, record: UpdateRecord) -> None:
        """Replace it; it is on the disk when this returns. A disk that cannot be written is logged."""
        content: dict[str, Any] = record.model_dump(mode="json")
        save_json(self._path, content)
