"""The handshake with a broker: socket, TLS, CONNECT and CONNACK, and the reason if there is no connection."""

from __future__ import annotations

import math
import socket
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from paho.mqtt.client import WebsocketConnectionError

from edge_emotion.config.settings import MqttSettings
from edge_emotion.mqtt.connection import Connection
from edge_emotion.mqtt.timing import Timing
from edge_emotion.mqtt.wakeup import Wakeup

Cause = Literal["socket", "tls", "no answer", "credentials", "refused", "stopped"]


@dataclass(frozen=True, slots=True)
class ConnectFailure:
    """The reason why a connection was not made.

    ``reason`` continues a sentence that begins with the broker's address; ``advice`` names the setting or the command
    that helps.
    """

    cause: Cause
    reason: str
    advice: str


def unlimited() -> float:
    """The caller does not limit the handshake."""
    return math.inf


def establish(
    connection: Connection, wakeup: Wakeup, timing: Timing, remaining: Callable[[], float] = unlimited
) -> ConnectFailure | None:
    """Connect, negotiate TLS, send CONNECT and wait for CONNACK; None if the broker accepted.

    ``remaining`` gives the seconds that the caller still has; at 0 or less the handshake ends with cause ``stopped``.
    The connection stays open in any case: the caller closes it.
    """
    settings = connection.settings
    try:
        connection.connect(max(0.1, min(timing.connect, remaining())))
    except (OSError, ValueError) as error:
        return _socket_failure(settings, error)
    seconds = min(timing.answer, 0.8 * settings.keepalive)  # paho closes the socket after the keep-alive
    wait_for(connection, wakeup, seconds, lambda: connection.accepted is not None, remaining)
    if connection.accepted:
        return None
    if connection.accepted is None and connection.alive and remaining() <= 0:
        return ConnectFailure("stopped", "did not answer before the stop", "start again")
    if connection.accepted is None:
        return _no_answer(settings, connection.ended or f"no answer within {seconds:g} s")
    if connection.credentials_refused:
        return _credentials_refused(settings, connection.refusal)
    advice = _other_version(settings) if connection.version_refused else "see the broker's log"
    return ConnectFailure("refused", f"refuses the connection ({connection.refusal})", advice)


def wait_for(
    connection: Connection,
    wakeup: Wakeup,
    seconds: float,
    done: Callable[[], bool],
    remaining: Callable[[], float] = unlimited,
) -> bool:
    """Serve the connection until ``done``. False after ``seconds``, if it ends, or if ``remaining`` falls to 0."""
    until = time.monotonic() + seconds
    while not done():
        left = min(until - time.monotonic(), remaining())
        if left <= 0 or not connection.alive:
            return False
        connection.step(wakeup, left)
    return True


def login_name(settings: MqttSettings) -> str:
    """The user in messages: ``user 'pi5'``, or ``a client without username``."""
    return "a client without username" if settings.username is None else f"user {settings.username!r}"


def _socket_failure(settings: MqttSettings, error: OSError | ValueError) -> ConnectFailure:
    """Reasons before MQTT begins: name, route, port, TLS."""
    cause: Cause = "socket"
    if isinstance(error, ssl.SSLCertVerificationError):
        cause, reason = "tls", f"has no certificate that is trusted for {settings.host!r} ({error.verify_message})"
        advice = (
            f"set mqtt.tls.ca to the authority that signed it; the certificate must name {settings.host} "
            "(make-certificates.sh server)"
        )
    elif isinstance(error, WebsocketConnectionError):
        cause, reason = "no answer", f"does not accept MQTT over websockets on {settings.path}"
        advice = "check mqtt.port, mqtt.path and mqtt.transport; mosquitto needs a listener with protocol websockets"
    elif isinstance(error, (ssl.SSLError, ConnectionResetError)):
        cause, reason = "tls", f"is not reachable: TLS failed ({getattr(error, 'reason', None) or error.strerror})"
        advice = "set mqtt.port to that of the TLS listener, usually 8883, or remove mqtt.tls"
    elif isinstance(error, (socket.gaierror, ValueError)):
        reason = f"is not reachable: the host name is unknown ({getattr(error, 'strerror', None) or error})"
        advice = f"check getent hosts {settings.host}; correct mqtt.host or use an IP address"
    elif isinstance(error, ConnectionRefusedError):
        reason = "is not reachable: connection refused, no program listens on this port"
        advice = (
            "on the broker's machine: sudo systemctl start mosquitto; check that it has a listener for the network, "
            "and mqtt.port"
        )
    else:
        reason = f"is not reachable: {error.strerror or error}"
        advice = "check that the machine is on, in the same network and its port open, and mqtt.host and mqtt.port"
    return ConnectFailure(cause, reason, advice)


def _other_version(settings: MqttSettings) -> str:
    """The advice for a broker that refuses this version of MQTT."""
    return 'set mqtt.protocol: "3.1.1"' if settings.protocol == "5" else 'set mqtt.protocol: "5"'


def _no_answer(settings: MqttSettings, why: str) -> ConnectFailure:
    """The failure when no CONNACK came, which leaves the cause open; the advice names the likely ones."""
    advice = []
    if settings.tls is None:
        advice.append("if it requires TLS, set mqtt.tls")
    elif settings.tls.certificate is None:
        advice.append("if it requires a client certificate, set mqtt.tls.certificate and mqtt.tls.key")
    else:
        advice.append("see the broker's log: it may reject mqtt.tls.certificate")
    if settings.protocol == "5" and "ssl" not in why.lower():
        advice.append(f"if it does not support MQTT 5, {_other_version(settings)}")
    return ConnectFailure("no answer", f"does not answer as an MQTT broker ({why})", "; ".join(advice))


def _credentials_refused(settings: MqttSettings, reason: str) -> ConnectFailure:
    if settings.username is None:
        advice = "set mqtt.username and mqtt.password_file: the broker accepts no client without them"
    else:
        advice = (
            "correct mqtt.username and mqtt.password_file, or set the password on the broker's machine: "
            f"sudo mosquitto_passwd /etc/mosquitto/passwords {settings.username}, and restart the broker"
        )
    return ConnectFailure("credentials", f"refuses {login_name(settings)} ({reason})", advice)
