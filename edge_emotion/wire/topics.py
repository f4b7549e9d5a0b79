"""Topics of the MQTT contract, their inverses, and the features that can be set."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal, get_args

Channel = Literal["availability", "info", "state", "events"]
NAME_PATTERN = r"^[a-zA-Z0-9_-]{1,64}$"
RESERVED = ("availability", "info", "stats", "request", "response")
"""Names that cameras cannot have, because the node uses these topics."""
COMMAND_QOS = 0
"""Of a node's subscriptions. Its session is not kept, so QoS 1 would keep nothing either, and it costs NATS a lot."""

Feature = Literal["enabled", "threshold", "classes"]
FEATURES: tuple[Feature, ...] = get_args(Feature)


@dataclass(frozen=True, slots=True)
class SetCommand:
    """A message on ``<camera>/<feature>/set``: it changes a feature of a camera."""

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
        """Of the node: online or offline; also the topic of the last will."""
        return f"{self.root}/availability"

    @property
    def info(self) -> str:
        """Versions, model, cameras."""
        return f"{self.root}/info"

    @property
    def stats(self) -> str:
        """Statistics of the node."""
        return f"{self.root}/stats"

    @property
    def command_filters(self) -> tuple[str, str]:
        """Topic filters of the commands to a node: for features of a camera, and requests."""
        return f"{self.root}/+/+/set", f"{self.root}/request/+"

    def feature(self, camera: str, feature: str) -> str:
        """Current value of a feature of a camera."""
        return f"{self.root}/{camera}/{feature}/state"

    def response(self, command: str) -> str:
        """The answer to ``request/<command>``."""
        return f"{self.root}/response/{command}"

    def read_command(self, topic: str) -> SetCommand | str:
        """The inverse of ``command_filters``: a SetCommand, or the name of a request. Raises ValueError for others."""
        parts = topic.removeprefix(self.root + "/").split("/")
        if topic.startswith(self.root + "/") and len(parts) == 3 and parts[2] == "set":
            return SetCommand(parts[0], parts[1])
        if topic.startswith(self.root + "/") and len(parts) == 2 and parts[0] == "request":
            return parts[1]
        raise ValueError(f"it is not a command for {self.root}")

    def camera(self, camera: str, channel: Channel) -> str:
        """``<prefix>/<node>/<camera>/<channel>``."""
        return f"{self.root}/{camera}/{channel}"


def order_topic(prefix: str, group: str) -> str:
    """The retained order of a release for a group of nodes."""
    return f"{prefix}/fleet/{group}/model"


@dataclass(frozen=True, slots=True)
class Address:
    """Origin of a message: ``<prefix>/<node>[/<camera>]/<channel>``."""

    node: str
    camera: str | None
    channel: str


def read_address(prefix: str, topic: str) -> Address:
    """The parts of a topic. Raises ValueError for a topic to which no client subscribes."""
    parts = topic.removeprefix(prefix + "/").split("/")
    if not topic.startswith(prefix + "/") or len(parts) not in (2, 3):
        raise ValueError(f"the topic is not below {prefix}/<node>")
    for name in parts[:-1]:
        if not re.fullmatch(NAME_PATTERN, name):
            raise ValueError(f"{name!r} is not a valid name of a node or camera")
    return Address(parts[0], parts[1] if len(parts) == 3 else None, parts[-1])
