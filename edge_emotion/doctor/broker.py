"""The check of the broker: can it be reached, does it let us in, may the node publish. Nothing is left behind there."""

from __future__ import annotations

import secrets
import socket
import ssl
import time
from collections.abc import Callable
from contextlib import closing

from edge_emotion.config.settings import MqttSettings
from edge_emotion.doctor.report import Finding
from edge_emotion.mqtt.connection import Connection
from edge_emotion.mqtt.timing import Timing
from edge_emotion.mqtt.wakeup import Wakeup
from edge_emotion.wire.topics import Topics

_LOCAL = ("localhost", "127.0.0.1", "::1")


def broker(settings: MqttSettings, node: str, timing: Timing | None = None) -> Finding:
    """Log in as the daemon does, under another client id, and publish once below the node's topics, not retained.

    Raises ConfigError or SinkError for files that cannot be read.
    """
    timing = timing or Timing()
    topic = f"{Topics(settings.prefix, node).root}/doctor"
    line = Connection(settings, f"edge-emotion-doctor-{secrets.token_hex(4)}", None)
    with closing(line), closing(Wakeup()) as wakeup:
        return (
            _reach(line, settings, timing)
            or _log_in(line, settings, wakeup, timing)
            or _publish(line, settings, wakeup, timing, topic)
            or _judge(settings, topic)
        )


def _reach(line: Connection, settings: MqttSettings, timing: Timing) -> Finding | None:
    """Socket and TLS; a finding if they fail."""
    try:
        line.connect(timing.connect)
    except ssl.SSLCertVerificationError as error:
        detail = f"its certificate is not trusted for {settings.host!r}: {error.verify_message}"
        fix = f"mqtt.tls.ca: the authority that signed it; it must name {settings.host} (make-certificates.sh server)"
    except (ssl.SSLError, ConnectionResetError) as error:
        detail = f"TLS failed: {getattr(error, 'reason', None) or error.strerror}"
        fix = "correct mqtt.port: that of its TLS listener, usually 8883; or leave mqtt.tls out"
    except (socket.gaierror, UnicodeError) as error:
        detail = f"its name is not known: {getattr(error, 'strerror', None) or error}"
        fix = f"try getent hosts {settings.host}; correct mqtt.host, or give its address"
    except ConnectionRefusedError:
        detail = "nobody listens there"
        fix = (
            "on its machine: sudo systemctl start mosquitto; has it a listener for the network? else correct mqtt.port"
        )
    except OSError as error:
        detail = f"not reachable: {error.strerror or error}"
        fix = "is it on, in the same network, its port open in the firewall? else correct mqtt.host and mqtt.port"
    else:
        return None
    return _fail(settings, detail, fix)


def _log_in(line: Connection, settings: MqttSettings, wakeup: Wakeup, timing: Timing) -> Finding | None:
    """CONNECT and its answer; a finding if it is no."""
    _await(line, wakeup, timing.answer, lambda: line.accepted is not None)
    if line.accepted:
        return None
    if line.accepted is None:
        why = line.ended or f"no answer within {timing.answer:g} s"
        fix = 'if it does not speak MQTT 5: mqtt.protocol: "3.1.1"; '
        if settings.tls is None:
            fix += "if it wants TLS: mqtt.tls"
        elif settings.tls.certificate is None:
            fix += "if it wants a client certificate: mqtt.tls.certificate and key"
        else:
            fix += "its log says whether it takes mqtt.tls.certificate"
        return _fail(settings, f"it does not answer as a broker ({why})", fix)
    if not line.credentials_refused:
        return _fail(settings, f"it refuses the connection: {line.refusal}", "its log says why")
    if settings.username is None:
        fix = "set mqtt.username and mqtt.password_file: it lets nobody in without them"
    else:
        fix = (
            f"on its machine: sudo mosquitto_passwd /etc/mosquitto/passwords {settings.username}, restart it; "
            "the same password into the file of mqtt.password_file"
        )
    return _fail(settings, f"it refuses {_who(settings)}: {line.refusal}", fix)


def _publish(line: Connection, settings: MqttSettings, wakeup: Wakeup, timing: Timing, topic: str) -> Finding | None:
    """One message, QoS 1, not retained; a finding if it is refused or not acknowledged."""
    line.publish(topic, b"test of the access rules", retain=False)
    answers: list[tuple[int, str | None]] = []

    def answered() -> bool:
        answers.extend(line.take_acknowledged())
        return bool(answers)

    _await(line, wakeup, timing.answer, answered)
    rule = f"topic write {topic.removesuffix('doctor')}#"
    who = f"user {settings.username}, then " if settings.username else ""
    fix = f"give it in the broker's acl_file: {who}{rule}; restart the broker"
    if not answers:
        why = line.ended or f"no acknowledgement within {timing.answer:g} s"
        return _fail(settings, f"a message on {topic} was not taken: {why}", fix)
    line.disconnect()
    refusal = answers[0][1]
    return _fail(settings, f"{_who(settings)} may not publish on {topic}: {refusal}", fix) if refusal else None


def _judge(settings: MqttSettings, topic: str) -> Finding:
    """All went well; what is still worth a warning."""
    detail = f"{_where(settings)} let {_who(settings)} in and took a message on {topic}"
    if settings.protocol == "3.1.1":
        fix = 'mqtt.protocol: "5", if the broker speaks it; else look with mosquitto_sub whether events arrive'
        return Finding("warn", f"{detail}; MQTT 3.1.1 does not tell whether it passed the access rules", fix)
    if settings.tls is not None and settings.tls.insecure:
        return Finding("warn", f"{detail}; its certificate was not checked", "set mqtt.tls.ca, not mqtt.tls.insecure")
    if settings.tls is None and settings.username is not None and settings.host not in _LOCAL:
        return Finding(
            "warn", f"{detail}; the password crosses the network in plain text", "mqtt.tls, docs/how-to/broker.md"
        )
    return Finding("ok", f"{detail}{'' if settings.tls is None else ', over TLS'}")


def _await(line: Connection, wakeup: Wakeup, seconds: float, done: Callable[[], bool]) -> None:
    until = time.monotonic() + seconds
    while not done() and line.alive and (left := until - time.monotonic()) > 0:
        line.step(wakeup, left)


def _fail(settings: MqttSettings, detail: str, fix: str) -> Finding:
    return Finding("fail", f"{_where(settings)}: {detail}", fix)


def _where(settings: MqttSettings) -> str:
    return f"{settings.host}:{settings.effective_port}"


def _who(settings: MqttSettings) -> str:
    return "a client without username" if settings.username is None else f"user {settings.username!r}"
