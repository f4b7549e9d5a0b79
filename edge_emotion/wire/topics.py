"""Topic names and addresses of the MQTT contract, and what may be set through it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal, get_args

Channel = Literal["availability", "info", "state", "events"]
NAME_PATTERN = r"^[a-zA-Z0-9_-]{1,64}$"
RESERVED = ("availability", "info", "stats", "request", "response")
"""No names for cameras: these topics are the node's own."""
Feature = Literal["enabled", "threshold", "classes"]
FEATURES: tuple[Feature, ...] = get_args(Feature)


@dataclass(frozen=True, slots=True)
class SetCommand:
    """Somebody wants a feature of a camera to be something else: ``<camera>/<feature>/set``."""

    camera: str
    feature: str


@dataclass(frozen=True, slots=True)
class Topics:
    """Topic names of one node under ``<prefix>/<node>``."""

    prefix: str
    node: str

    @property
    def root(self) -> str:
        """``<prefix>/<node>``."""
        return f"{self.prefix}/{self.node}"

    @property
    def availability(self) -> str:
        """Of the node: online or offline; the last will is here."""
        return f"{self.root}/availability"

    @property
    def info(self) -> str:
        """Versions, model, cameras."""
        return f"{self.root}/info"

    @property
    def stats(self) -> str:
        """How the node is doing."""
        return f"{self.root}/stats"

    @property
    def command_filters(self) -> tuple[str, str]:
        """Filters for what a node is asked: of a camera's features, and of the node."""
        return f"{self.root}/+/+/set", f"{self.root}/request/+"

    def feature(self, camera: str, feature: str) -> str:
        """What a feature of a camera is now."""
        return f"{self.root}/{camera}/{feature}/state"

    def response(self, command: str) -> str:
        """The answer to ``request/<command>``."""
        return f"{self.root}/response/{command}"

    def read_command(self, topic: str) -> SetCommand | str:
        """The inverse of ``wishes``: of a camera, or the command that is requested. Raises ValueError for others."""
        parts = topic.removeprefix(self.root + "/").split("/")
        if topic.startswith(self.root + "/") and len(parts) == 3 and parts[2] == "set":
            return SetCommand(parts[0], parts[1])
        if topic.startswith(self.root + "/") and len(parts) == 2 and parts[0] == "request":
            return parts[1]
        raise ValueError(f"nothing is asked of {self.root} there")

    def camera(self, camera: str, channel: Channel) -> str:
        """``<prefix>/<node>/<camera>/<channel>``."""
        return f"{self.root}/{camera}/{channel}"


@dataclass(frozen=True, slots=True)
class Address:
    """Where a message comes from: ``<prefix>/<node>[/<camera>]/<channel>``."""

    node: str
    camera: str | None
    channel: str


def read_address(prefix: str, topic: str) -> Address:
    """The parts of a topic. Raises ValueError if it is none that a subscriber asks for."""
    parts = topic.removeprefix(prefix + "/").split("/")
    if not topic.startswith(prefix + "/") or len(parts) not in (2, 3):
        raise ValueError(f"the topic is none below {prefix}/<node>")
    for name in parts[:-1]:
        if not re.fullmatch(NAME_PATTERN, name):
            raise ValueError(f"{name!r} is no name of a node or camera")
    return Address(parts[0], parts[1] if len(parts) == 3 else None, parts[-1])
