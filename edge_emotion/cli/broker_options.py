"""Options of the commands that connect to a broker, and the settings that they make."""

from __future__ import annotations

import argparse
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge_emotion.errors import ConfigError

if TYPE_CHECKING:
    from edge_emotion.config.settings import MqttSettings


def connection_options(
    parser: argparse.ArgumentParser, default: str = "EDGE_EMOTION_MQTT__HOST, else localhost"
) -> None:
    """Add them. ``default`` is the broker without ``--mqtt``, for the help."""
    parser.add_argument(
        "--mqtt", metavar="HOST[:PORT][,...]", help=f"the broker, also ws:// or wss:// (default: {default})"
    )
    parser.add_argument("--username", help="the password: EDGE_EMOTION_MQTT__PASSWORD or --password-file")
    parser.add_argument("--password-file", type=Path)
    parser.add_argument("--ca", type=Path, metavar="FILE", help="use TLS, trusting this authority")
    parser.add_argument("--cert", type=Path, metavar="FILE", help="use TLS with this client certificate")
    parser.add_argument("--key", type=Path, metavar="FILE", help="the key of --cert")
    parser.add_argument("--protocol", choices=("5", "3.1.1"))
    parser.add_argument("--prefix", help="first part of the topics (default: edge-emotion)")


def connection_settings(options: argparse.Namespace) -> MqttSettings:
    """Broker and login from the options, else from the environment. Raises ConfigError."""
    from edge_emotion.client import TlsSettings, broker_settings

    if (options.cert is None) != (options.key is None):
        raise ConfigError("--cert and --key go together: give both or none")
    broker = {} if options.mqtt is None else broker_of(options.mqtt)
    broker["host"] = broker.get("host") or ",".join(broker.pop("hosts", ())) or None
    broker.pop("hosts", None)
    files = {"ca": options.ca, "certificate": options.cert, "key": options.key}
    tls = broker.pop("tls", {}) | {key: file for key, file in files.items() if file is not None}
    return broker_settings(
        **broker,
        username=options.username,
        password_file=options.password_file,
        protocol=options.protocol,
        prefix=options.prefix,
        tls=TlsSettings.model_validate(tls) if tls else None,
    )


def broker_of(text: str) -> dict[str, Any]:
    """Addresses of one broker, or of several with commas, as MQTT settings. Raises ConfigError."""
    each = [_address(part) for part in text.split(",")]
    if len(each) == 1:
        return {"hosts": (), **each[0]}
    hosts = [_with_port(part.pop("host"), part.pop("port", None)) for part in each]
    if any(part != each[0] for part in each):
        raise ConfigError(f"--mqtt {text}: all brokers must have the same scheme and path")
    return {"host": None, "hosts": hosts, **each[0]}


def _with_port(host: str, port: int | None) -> str:
    return host if port is None else f"{host}:{port}"


def _address(text: str) -> dict[str, Any]:
    """``host``, ``host:port``, ``[v6]:port`` or an address with a scheme as MQTT settings. Raises ConfigError."""
    address = re.fullmatch(r"(mqtt|ws)(s?)://(\[[^]]+\]|[^/:@]+)(?::([0-9]+))?(/.*)?", text)
    if address is not None:
        scheme, secure, host, port, path = address.groups()
        parts = {"host": host, "port": port and int(port), "tls": {"insecure": False} if secure else None}
        if scheme == "ws":
            parts |= {"transport": "websockets", "path": path}
        return {key: value for key, value in parts.items() if value is not None}
    if re.match("(mqtt|ws)s?://", text):
        raise ConfigError(f"--mqtt {text}: expected HOST[:PORT], mqtts://HOST[:PORT], ws://... or wss://...")
    if not text.strip() or re.match(":(?!:)", text):
        raise ConfigError(f"--mqtt {text!r}: a host is missing")
    host, colon, port = text.rpartition(":")
    if not colon or (":" in host and not host.startswith("[")) or port.endswith("]"):
        return {"host": text}
    if not (port.isascii() and port.isdecimal() and 1 <= int(port) <= 65535):
        raise ConfigError(f"--mqtt {text}: the port {port!r} is not a number from 1 to 65535")
    return {"host": host, "port": int(port)}
