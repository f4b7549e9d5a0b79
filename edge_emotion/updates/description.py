"""The signed description of a release, ``release.json``."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Annotated, Literal

from packaging.version import InvalidVersion, Version
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from edge_emotion.errors import ModelError, ReleaseRefused
from edge_emotion.models.folder import MANIFEST
from edge_emotion.models.manifest import VERSION
from edge_emotion.system.plain_words import first_fault

DESCRIPTION, SIGNATURE = "release.json", "release.json.minisig"
MAX_DESCRIPTION = 64 * 2**10
"""Bytes of ``release.json`` at most."""

MAX_RELEASE = 256 * 2**20
"""Bytes of all files of a release together at most."""

MAX_FILES = 32

FILE_NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,100}$"
"""The name of a file directly in the model folder, never a path."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ReleasedFile(_Part):
    """One file of the model folder; ``size`` in bytes."""

    name: Annotated[str, Field(pattern=FILE_NAME)]
    size: int = Field(ge=0, le=MAX_RELEASE)
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class Release(_Part):
    """A release of the model ``name``. ``serial`` grows with each one; no node installs it after ``expires``."""

    schema_version: Literal[1] = Field(alias="schema")
    name: Annotated[str, Field(pattern=r"^[a-z0-9_]{1,64}$")]
    version: Annotated[str, Field(pattern=VERSION)]
    serial: int = Field(ge=1, lt=2**53)
    expires: AwareDatetime
    minimum_runtime: str
    files: tuple[ReleasedFile, ...] = Field(min_length=2, max_length=MAX_FILES)

    @field_validator("minimum_runtime")
    @classmethod
    def _is_a_version(cls, text: str) -> str:
        try:
            Version(text)
        except InvalidVersion:
            raise ValueError(f"{text!r} is no version") from None
        return text

    @model_validator(mode="after")
    def _files_fit(self) -> Release:
        names = [file.name for file in self.files]
        if len(set(names)) != len(names) or MANIFEST not in names or {DESCRIPTION, SIGNATURE} & set(names):
            raise ValueError(f"files: each once, {MANIFEST} among them, without {DESCRIPTION} and its signature")
        if self.size > MAX_RELEASE:
            raise ValueError(f"files: {self.size} bytes together, {MAX_RELEASE} are the most")
        return self

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(file.size for file in self.files)

    @property
    def title(self) -> str:
        """Name, version and serial, for messages."""
        return f"{self.name} {self.version} (serial {self.serial})"


def dump_release(release: Release) -> bytes:
    """The content of ``release.json``."""
    return (release.model_dump_json(by_alias=True, indent=2) + "\n").encode()


def parse_release(content: bytes) -> Release:
    """The description that ``content`` holds. Raises ReleaseRefused with the first fault and its place."""
    try:
        return Release.model_validate_json(content)
    except ValidationError as error:
        raise ReleaseRefused(f"{DESCRIPTION}: {first_fault(error, 'release')}; make the release again") from error


def require_current(release: Release, now: datetime) -> None:
    """Raises ReleaseRefused if the release has expired at ``now``."""
    if now >= release.expires:
        raise ReleaseRefused(
            f"{release.title} has expired on {release.expires.astimezone(timezone.utc):%Y-%m-%d %H:%M} UTC, and the "
            f"clock here is at {now.astimezone(timezone.utc):%Y-%m-%d %H:%M}: get a newer release"
        )


def require_runtime(release: Release, version: str) -> None:
    """Raises ModelError if this ``version`` of the program is older than the release needs."""
    if Version(version) < Version(release.minimum_runtime):
        raise ModelError(
            f"{release.title} needs edge-emotion {release.minimum_runtime}, and this is {version}: upgrade it first"
        )
