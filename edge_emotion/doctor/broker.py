"""Check of the broker: reachable, login accepted, publishing allowed. It leaves no message and no session there."""

from __future__ import annotations

import secrets
from contextlib import closing

from edge_emotion.config.settings import MqttSettings
from edge_emotion.doctor.report import Finding
from edge_emotion.mqtt.connection import Connection, Refusal
from edge_emotion.mqtt.handshake import establish, login_name, wait_for
from edge_emotion.mqtt.timing import Timing
from edge_emotion.mqtt.wakeup import Wakeup
from edge_emotion.wire.topics import Topics

_LOCAL = ("localhost", "127.0.0.1", "::1")


def broker(settings: MqttSettings, node: str, timing: Timing | None = None) -> Finding:
    """Log in as the daemon does, with another client id, and publish once below the node's topics, not retained.

    Of several brokers each is checked: a failure if none works, a warning if only some do. Raises ConfigError or
    SinkError for files that cannot be read.
    """
    findings = [_one(each, node, timing or Timing()) for each in settings.brokers]
    worst = next((each for status in ("fail", "warn") for each in findings if each.status == status), findings[0])
    if len(findings) == 1:
        return worst
    detail = "; ".join(each.detail for each in findings)
    works = any(each.status != "fail" for each in findings)
    return Finding("warn" if works and worst.status == "fail" else worst.status, detail, worst.fix)


def _one(settings: MqttSettings, node: str, timing: Timing) -> Finding:
    topic = f"{Topics(settings.prefix, node).root}/doctor"
    connection = Connection(settings, f"edge-emotion-doctor-{secrets.token_hex(4)}", None)
    with closing(connection), closing(Wakeup()) as wakeup:
        failure = establish(connection, wakeup, timing)
        if failure is not None:
            return Finding("fail", f"{settings.address} {failure.reason}", failure.advice)
        return _publish(connection, wakeup, timing, topic) or _success(settings, topic)


def _publish(connection: Connection, wakeup: Wakeup, timing: Timing, topic: str) -> Finding | None:
    """One message, QoS 1, not retained; a finding if it is refused or not acknowledged."""
    settings = connection.settings
    connection.publish(topic, b"test of the access rules", retain=False)
    answers: list[tuple[int, Refusal | None]] = []

    def answered() -> bool:
        answers.extend(connection.take_acknowledged())
        return bool(answers)

    wait_for(connection, wakeup, timing.answer, answered)
    rule = f"topic write {topic.removesuffix('doctor')}#"
    user = f"user {settings.username}, then " if settings.username else ""
    fix = f"add to the broker's acl_file: {user}{rule}; restart the broker"
    if not answers:
        why = connection.ended or f"no acknowledgement within {timing.answer:g} s"
        return Finding("fail", f"{settings.address} did not accept a message on {topic}: {why}", fix)
    connection.disconnect()
    refusal = answers[0][1]
    if refusal is None:
        return None
    who = login_name(settings)
    return Finding("fail", f"{settings.address}: {who} may not publish on {topic}: {refusal.reason}", fix)


def _success(settings: MqttSettings, topic: str) -> Finding:
    """The finding after a publication that the broker accepted: ok, or a warning about a setting."""
    detail = f"{settings.address} accepted {login_name(settings)} and a message on {topic}"
    if settings.protocol == "3.1.1":
        fix = 'set mqtt.protocol: "5" if the broker supports it; otherwise check with mosquitto_sub that events arrive'
        return Finding("warn", f"{detail}; MQTT 3.1.1 does not report a refusal by the access rules", fix)
    if settings.tls is not None and settings.tls.insecure:
        return Finding("warn", f"{detail}; its certificate was not checked", "set mqtt.tls.ca, not mqtt.tls.insecure")
    if settings.tls is None and settings.username is not None and settings.host not in _LOCAL:
        detail += "; the password crosses the network in plain text"
        return Finding("warn", detail, "set mqtt.tls: docs/how-to/broker.md")
    return Finding("ok", f"{detail}{'' if settings.tls is None else ', over TLS'}")
