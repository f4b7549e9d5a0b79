"""Broker and login of a subscriber: from arguments, or from the daemon's environment variables."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from edge_emotion.config.settings import ENV_PREFIX, MqttSettings, TlsSettings
from edge_emotion.errors import ConfigError
from edge_emotion.system.plain_words import first_fault


class _Environment(BaseSettings):
    """The part of the settings that a subscriber shares with the daemon."""

    model_config = SettingsConfigDict(
        extra="ignore", env_prefix=ENV_PREFIX, env_nested_delimiter="__", hide_input_in_errors=True
    )
    mqtt: MqttSettings = MqttSettings()


def broker_settings(
    host: str | None = None,
    port: int | None = None,
    *,
    username: str | None = None,
    password: str | None = None,
    password_file: Path | None = None,
    tls: TlsSettings | None = None,
    protocol: str | None = None,
    prefix: str | None = None,
    transport: str | None = None,
    path: str | None = None,
) -> MqttSettings:
    """Settings of the connection. Arguments that are None are taken from the environment, as by the daemon.

    ``host`` may be several, ``"one.local,two.local:1884"``: the next is used when a connection fails or is lost.
    The variables are ``EDGE_EMOTION_MQTT__HOST``, ``__PORT``, ``__USERNAME``, ``__PASSWORD``, ``__TLS__CA`` and so on;
    the default is localhost without login. ``tls=TlsSettings()`` trusts the system's authorities. Raises ConfigError.
    """
    given = {
        "port": port, "username": username, "password": password, "password_file": password_file,
        "protocol": protocol, "prefix": prefix, "transport": transport, "path": path,
        "tls": None if tls is None else tls.model_dump(exclude_none=True),
    }  # fmt: skip
    given = {key: value for key, value in given.items() if value is not None} | _hosts(host)
    try:
        return _Environment(**({"mqtt": given} if given else {})).mqtt  # type: ignore[arg-type]
    except ValidationError as error:
        raise ConfigError(first_fault(error, "")) from error
    except ValueError as error:  # pydantic-settings: a malformed JSON value in the environment
        raise ConfigError(f"environment: {error}") from error


def _hosts(host: str | None) -> dict[str, Any]:
    """``mqtt.host``, or ``mqtt.hosts`` for several with commas or with a port, and the other one unset."""
    if host is None:
        return {}
    with_port = "," in host or host.count(":") == 1
    return {"host": None, "hosts": host.split(",")} if with_port else {"host": host, "hosts": ()}
