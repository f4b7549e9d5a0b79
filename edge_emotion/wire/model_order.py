"""The retained message that tells a group of nodes which release of a model to use. See docs/reference/mqtt.md.

The payload is one line of JSON, and after it the signature of that line as minisign writes it: four lines. This module
has no cryptography: ``edge_emotion.updates.signed_order`` signs and verifies.
"""

from __future__ import annotations

import hashlib
import json
from datetime import datetime
from typing import Annotated, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError, field_serializer

from edge_emotion.system.plain_words import first_fault
from edge_emotion.wire.payloads import check_depth, format_time
from edge_emotion.wire.topics import NAME_PATTERN

MAX_ORDER = 4096
"""Bytes of the whole payload at most; one has about 800."""

Action = Literal["install", "pause", "abort"]
"""``install``: the chosen nodes install the release. ``pause``: no further node begins. ``abort``: nodes that use the
release go back to the one before, and no further node begins."""

MODEL_NAME, SHA256 = r"^[a-z0-9_]{1,64}$", r"^[0-9a-f]{64}$"

SOURCE = r"^(https?://[!-~]{1,990}|/[^\x00-\x1f\x7f]{1,990})$"
"""Of the files of a release: an address, or an absolute path."""

_LARGEST_NUMBER = 2**53


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class OrderedRelease(_Part):
    """A release: name, version and serial from its ``release.json``, and the SHA-256 of that file."""

    name: Annotated[str, Field(pattern=MODEL_NAME)]
    version: Annotated[str, Field(pattern=r"^[!-~]{1,64}$")]
    serial: int = Field(ge=1, lt=_LARGEST_NUMBER)
    sha256: Annotated[str, Field(pattern=SHA256)]

    @property
    def title(self) -> str:
        """Name, version and serial, for messages."""
        return f"{self.name} {self.version} (serial {self.serial})"


class ModelOrder(_Part):
    """What the nodes of ``group`` shall do with one release.

    ``serial`` grows with each order of the group. ``source`` is the https URL or absolute folder that holds the files
    of the release. ``percent`` of the nodes are chosen. After ``expires`` no node begins, and each reports that it has
    had no newer order.
    """

    schema_version: Literal[1] = Field(default=1, alias="schema")
    group: Annotated[str, Field(pattern=NAME_PATTERN)]
    serial: int = Field(ge=1, lt=_LARGEST_NUMBER)
    action: Action
    release: OrderedRelease
    source: Annotated[str, Field(pattern=SOURCE)]
    percent: float = Field(ge=0, le=100)
    expires: AwareDatetime

    @field_serializer("expires")
    def _written(self, moment: datetime) -> str:
        return format_time(moment)

    def is_for(self, node: str) -> bool:
        """Whether ``node`` is among the chosen ones: more percent of the same release only add nodes."""
        return place_of(node, self.release.sha256) < self.percent


def place_of(node: str, sha256: str) -> float:
    """Percentage, from 0 to below 100, above which a node is chosen for a release; other releases, other places."""
    digest = hashlib.sha256(f"{sha256}/{node}".encode()).digest()
    return int.from_bytes(digest[:4], "big") / 2**32 * 100


def order_to_json(order: ModelOrder) -> bytes:
    """The line that is signed, without a line break."""
    return json.dumps(order.model_dump(mode="json", by_alias=True), separators=(",", ":")).encode()


def order_from_json(line: bytes) -> ModelOrder:
    """The inverse of ``order_to_json``. Raises ValueError with the field that is wrong."""
    check_depth(line)
    try:
        return ModelOrder.model_validate_json(line)
    except ValidationError as error:
        raise ValueError(first_fault(error, "the order")) from error


def join_order(line: bytes, signature: bytes) -> bytes:
    """The payload of a signed line."""
    return line + b"\n" + signature


def split_order(payload: bytes) -> tuple[bytes, bytes]:
    """The inverse of ``join_order``: the signed line and its signature. Raises ValueError."""
    if len(payload) > MAX_ORDER:
        raise ValueError(f"{len(payload)} bytes, {MAX_ORDER} are the most")
    line, separator, signature = payload.partition(b"\n")
    if not separator:
        raise ValueError("it has no signature")
    return line, signature
