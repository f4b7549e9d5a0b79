"""Settings of the broker: address, login, TLS, waiting events, intervals, and the profile of a fleet."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, StringConstraints, model_validator

from edge_emotion.config.broker_hosts import HostPort, plain_host, split_host
from edge_emotion.config.merge import merged
from edge_emotion.config.section import Section, as_text, listed, read_secret

HEARTBEAT = 60.0
"""Seconds after which the state of a camera is published again although it is unchanged."""

STATS_INTERVAL = 60.0
"""Seconds between two reports of statistics."""


TopicPrefix = Annotated[str, StringConstraints(pattern=r"^[a-zA-Z0-9_-]+(/[a-zA-Z0-9_-]+)*$", max_length=200)]


class TlsSettings(Section):
    """TLS towards the broker. Without ``ca`` the system's authorities count."""

    ca: Path | None = None
    certificate: Path | None = None
    key: Path | None = None
    insecure: bool = Field(default=False, description="do not check the broker's name and certificate")

    @model_validator(mode="after")
    def _pair(self) -> TlsSettings:
        if (self.certificate is None) != (self.key is None):
            raise ValueError("certificate and key go together: give both or none")
        return self


def _switched(value: object) -> object:
    """``false`` for ``{enabled: false}``."""
    return {"enabled": value} if isinstance(value, bool) else value


class DiscoverySettings(Section):
    """MQTT discovery, by which the node becomes a device in Home Assistant."""

    enabled: bool = True
    prefix: TopicPrefix = "homeassistant"


FLEET: dict[str, Any] = {
    "heartbeat": 600.0,
    "stats_interval": 600.0,
    "jitter": 0.2,
    "keepalive": 300,
    "reconnect_spread": 30.0,
    "discovery": {"enabled": False},
}
"""Defaults of ``mqtt.profile: fleet``: 100,000 nodes, one camera each, publish 333 messages a second while idle."""


def _expanded(given: dict[str, Any]) -> dict[str, Any]:
    """With ``discovery`` as a mapping, where it is only true or false."""
    return given | ({"discovery": _switched(given["discovery"])} if "discovery" in given else {})


class MqttSettings(Section):
    """The broker, or several of which one is used at a time."""

    host: Annotated[str | None, StringConstraints(min_length=1), AfterValidator(plain_host)] = Field(
        default=None, description="default localhost, unless there are hosts"
    )
    hosts: Annotated[tuple[HostPort, ...], BeforeValidator(listed), Field(max_length=32)] = Field(
        default=(), description="several brokers, host or host:port; the next one is used when a connection is lost"
    )
    port: int | None = Field(
        default=None, ge=1, le=65535, description="default 1883, with TLS 8883; over websockets 80, with TLS 443"
    )
    transport: Literal["tcp", "websockets"] = "tcp"
    path: Annotated[str, StringConstraints(pattern=r"^/[!-~]*$", max_length=1000)] = Field(
        default="/mqtt", description="of the address, over websockets"
    )
    username: Annotated[str | None, BeforeValidator(as_text)] = None
    password: Annotated[SecretStr | None, BeforeValidator(as_text)] = None
    password_file: Path | None = None
    protocol: Annotated[Literal["5", "3.1.1"], BeforeValidator(as_text)] = "5"
    prefix: TopicPrefix = "edge-emotion"
    client_id: Annotated[str | None, BeforeValidator(as_text)] = None
    keepalive: int = Field(default=30, ge=5, le=3600)
    reconnect_spread: float = Field(
        default=0.0, ge=0, le=3600, description="seconds over which lost connections come back; 5 if there are hosts"
    )
    tls: TlsSettings | None = None
    outbox: int = Field(default=10_000, ge=1, description="events that wait for the broker; the oldest are dropped")
    outbox_max_age: float = Field(default=604_800.0, ge=0, description="seconds; older ones are dropped; 0: none")
    outbox_sync_interval: float = Field(
        default=0.5, ge=0, le=60, description="seconds of waiting events that a power cut may cost; 0: none"
    )
    drain_timeout: float = Field(default=3.0, ge=0, le=60, description="seconds to deliver the rest at a stop")
    heartbeat: float = Field(default=HEARTBEAT, gt=0, le=3600, description="seconds between unchanged states")
    stats_interval: float = Field(
        default=STATS_INTERVAL, ge=1, le=86_400, description="seconds between two reports in stats"
    )
    jitter: float = Field(
        default=0.0, ge=0, le=0.5, description="share by which heartbeat and stats_interval vary, at random"
    )
    discovery: Annotated[DiscoverySettings, BeforeValidator(_switched)] = DiscoverySettings()
    profile: Literal["standard", "fleet"] = Field(
        default="standard", description="fleet: defaults for thousands of nodes, docs/how-to/fleet.md"
    )

    @model_validator(mode="before")
    @classmethod
    def _defaults(cls, given: Any) -> Any:
        """Defaults that depend on other settings; what is given stays."""
        if not isinstance(given, dict):
            return given
        several = {"reconnect_spread": 5.0} if given.get("hosts") else {"host": "localhost"}
        return merged(several | (FLEET if given.get("profile") == "fleet" else {}), _expanded(given))

    @model_validator(mode="after")
    def _host_or_hosts(self) -> MqttSettings:
        if self.host is not None and self.hosts:
            raise ValueError("host and hosts exclude each other: write every broker into hosts")
        return self

    @model_validator(mode="after")
    def _one_password(self) -> MqttSettings:
        if self.password is not None and self.password_file is not None:
            raise ValueError("password and password_file exclude each other")
        if self.username is None and (self.password is not None or self.password_file is not None):
            raise ValueError("a password needs a username")
        return self

    @property
    def effective_port(self) -> int:
        """The port of a broker that is given without one."""
        plain, secure = (80, 443) if self.transport == "websockets" else (1883, 8883)
        return self.port or (plain if self.tls is None else secure)

    @property
    def endpoints(self) -> tuple[tuple[str, int], ...]:
        """Host and port of each broker, in the order in which they are tried."""
        pairs = [split_host(each) for each in self.hosts] or [(self.host or "localhost", None)]
        return tuple((host, port or self.effective_port) for host, port in pairs)

    @property
    def brokers(self) -> tuple[MqttSettings, ...]:
        """These settings once for each broker, with its ``host`` and ``port`` and without ``hosts``."""
        return tuple(self.model_copy(update={"host": host, "port": port, "hosts": ()}) for host, port in self.endpoints)

    @property
    def address(self) -> str:
        """``host:port`` of the broker, or of all, separated by commas."""
        return ",".join(f"{host}:{port}" for host, port in self.endpoints)

    def read_password(self) -> str | None:
        """The password from the setting or its file. Raises ConfigError for a file that cannot be read."""
        if self.password_file is None:
            return None if self.password is None else self.password.get_secret_value()
        return read_secret("mqtt.password_file", self.password_file)
