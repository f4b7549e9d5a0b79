"""A real mosquitto on a free loopback port, a subscriber that keeps what it received, and a bounded wait."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.subscribeoptions import SubscribeOptions

# Debian installs it in /usr/sbin.
MOSQUITTO = shutil.which("mosquitto", path=os.environ.get("PATH", os.defpath) + ":/usr/sbin:/usr/local/sbin")

needs_mosquitto = pytest.mark.skipif(
    MOSQUITTO is None, reason="mosquitto is not installed: apt-get install --no-install-recommends mosquitto"
)


def wait_until(predicate: Callable[[], object], timeout: float = 20.0) -> None:
    """Return as soon as ``predicate`` is true; fail after ``timeout`` seconds."""
    deadline = time.monotonic() + timeout
    while not predicate():
        assert time.monotonic() < deadline, f"not within {timeout:g} s"
        time.sleep(0.01)


def free_port() -> int:
    """A free TCP port."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


class Broker:
    """One mosquitto with a plain listener on ``port`` and, given an authority, a TLS listener on ``tls_port``.

    Sessions, subscriptions and retained messages survive ``kill`` and ``start``: every change is saved at once.
    """

    def __init__(
        self,
        folder: Path,
        access: Sequence[str] = ("allow_anonymous true",),
        authority: Authority | None = None,
        client_certificates: bool = False,
        persistence: bool = True,
        limits: Sequence[str] = (),
    ) -> None:
        self.folder, self.port, self.tls_port = folder, free_port(), free_port()
        self._process: subprocess.Popen[bytes] | None = None
        lines = ["per_listener_settings false", "log_type all", *access, f"listener {self.port} 127.0.0.1"]
        lines += limits
        if authority is not None:
            certificate, key = authority.issue("broker")
            lines += [f"listener {self.tls_port} 127.0.0.1", f"cafile {authority.certificate}"]
            lines += [f"certfile {certificate}", f"keyfile {key}"]
            lines += [f"require_certificate {str(client_certificates).lower()}"]
        if persistence:
            lines += ["persistence true", f"persistence_location {folder}/"]
            lines += ["autosave_interval 1", "autosave_on_changes true"]
        if os.geteuid() == 0:
            lines.append("user root")  # otherwise it becomes a user without write access here
        self._config = folder / "mosquitto.conf"
        self._config.write_text("\n".join(lines) + "\n", encoding="utf-8")

    @property
    def log(self) -> str:
        """Its output so far."""
        return (self.folder / "mosquitto.log").read_text(encoding="utf-8", errors="replace")

    def start(self) -> Broker:
        """Start, also again on the same port; returns when it accepts connections."""
        assert MOSQUITTO is not None
        with (self.folder / "mosquitto.log").open("ab") as log:
            self._process = subprocess.Popen([MOSQUITTO, "-c", str(self._config)], stdout=log, stderr=log)
        wait_until(self._accepts)
        return self

    def stop(self) -> None:
        """End it cleanly; nothing if it does not run."""
        self._signal(signal.SIGCONT)
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End it without a chance to send or save anything."""
        self._end(signal.SIGKILL)

    def reload(self) -> None:
        """Read the password and ACL files again."""
        self._signal(signal.SIGHUP)

    def freeze(self) -> None:
        """Stop the process; its connections stay open."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Undo ``freeze``."""
        self._signal(signal.SIGCONT)

    def _accepts(self) -> bool:
        assert self._process is not None and self._process.poll() is None, f"mosquitto ended: {self.log}"
        with socket.socket() as sock:
            sock.settimeout(1.0)
            return sock.connect_ex(("127.0.0.1", self.port)) == 0

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(number)

    def _end(self, number: signal.Signals) -> None:
        self._signal(number)
        if self._process is not None:
            try:
                self._process.wait(10)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait(10)
        self._process = None


def password_access(folder: Path, user: str, password: str, rules: Sequence[str] = ()) -> list[str]:
    """Lines of a configuration that accepts only ``user``, with the ACL ``rules``, or without restriction."""
    passwords = folder / "passwords"
    passwords.write_text(f"{user}:{password}\n", encoding="utf-8")
    tool = shutil.which("mosquitto_passwd") or "mosquitto_passwd"
    subprocess.run([tool, "-U", str(passwords)], check=True, timeout=20)
    lines = ["allow_anonymous false", f"password_file {passwords}"]
    if rules:
        (folder / "acl").write_text("\n".join([f"user {user}", *rules, ""]), encoding="utf-8")
        lines.append(f"acl_file {folder / 'acl'}")
    return lines


class Authority:
    """A made-up certificate authority."""

    def __init__(self, folder: Path) -> None:
        if shutil.which("openssl") is None:
            pytest.skip("openssl is not installed, so there is no certificate to test with")
        folder.mkdir()
        self._folder = folder
        self.certificate, self._key = folder / "ca.pem", folder / "ca.key"
        self._openssl("req", "-x509", *self._new_key(self._key), "-subj", "/CN=made up", "-out", self.certificate)

    def issue(self, name: str) -> tuple[Path, Path]:
        """Certificate and key of ``name``, good for localhost and 127.0.0.1."""
        certificate, key, request, names = (self._folder / f"{name}.{kind}" for kind in ("pem", "key", "csr", "ext"))
        names.write_text("subjectAltName=DNS:localhost,IP:127.0.0.1\n", encoding="utf-8")
        self._openssl("req", *self._new_key(key), "-subj", f"/CN={name}", "-out", request)
        ca = ("-CA", self.certificate, "-CAkey", self._key, "-CAcreateserial")
        self._openssl("x509", "-req", "-in", request, *ca, "-extfile", names, "-out", certificate)
        return certificate, key

    def _new_key(self, path: Path) -> tuple[str | Path, ...]:
        return "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", path

    def _openssl(self, *arguments: str | Path) -> None:
        subprocess.run(["openssl", *arguments], check=True, capture_output=True, timeout=20)


@dataclass(frozen=True)
class Received:
    """One message as a subscriber saw it; ``retain`` as it was published."""

    topic: str
    payload: bytes
    qos: int
    retain: bool


class Subscriber:
    """Collects all messages. Its session outlives its own and the broker's absence."""

    def __init__(self, broker: Broker, name: str, username: str | None = None, password: str | None = None) -> None:
        self.messages: list[Received] = []
        self._granted = False
        self._client = Client(CallbackAPIVersion.VERSION2, name, protocol=MQTTProtocolVersion.MQTTv5)
        self._client.username_pw_set(username, password)
        self._client.on_connect = self._on_connect
        self._client.on_subscribe = self._on_subscribe
        self._client.on_message = self._on_message
        self._client.reconnect_delay_set(1, 1)
        session = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
        session.SessionExpiryInterval = 300
        self._client.connect("127.0.0.1", broker.port, clean_start=False, properties=session)
        self._client.loop_start()
        wait_until(lambda: self._granted)

    def on(self, topic: str) -> list[Received]:
        """Messages on topics that end in ``topic``."""
        return [message for message in list(self.messages) if message.topic.endswith(topic)]

    def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        """Publish with QoS 1."""
        self._client.publish(topic, payload, qos=1, retain=retain)

    def close(self) -> None:
        """Disconnect; the session stays."""
        self._client.disconnect()
        self._client.loop_stop()

    def _on_connect(self, client: Client, *_: Any) -> None:
        options = SubscribeOptions(
            qos=1, retainAsPublished=True, retainHandling=SubscribeOptions.RETAIN_SEND_IF_NEW_SUB
        )
        client.subscribe("#", options=options)

    def _on_subscribe(self, *_: Any) -> None:
        self._granted = True

    def _on_message(self, _client: Client, _data: Any, message: MQTTMessage) -> None:
        self.messages.append(Received(message.topic, bytes(message.payload), message.qos, bool(message.retain)))
