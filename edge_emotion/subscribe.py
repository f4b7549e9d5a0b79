"""The other end: events as they arrive, for people or, as JSON lines, for programs."""

from __future__ import annotations

import queue
import secrets
import ssl
from collections.abc import Iterator
from typing import Any

from edge_emotion.config import MqttSettings
from edge_emotion.datatypes import EmotionEvent
from edge_emotion.errors import SinkError
from edge_emotion.payload import event_from_json
from edge_emotion.sinks.mqtt_client import new_client

Message = tuple[str, bytes]
"""Topic and payload."""

CONNECT_TIMEOUT = 10.0


class Subscriber:
    """Receives what one node, or every node, says. A context manager; iterate over ``messages``.

    Raises SinkError on entry if the broker cannot be reached or refuses; later losses are mended by itself.
    """

    def __init__(self, settings: MqttSettings, *, node: str | None = None) -> None:
        self._settings = settings
        self._root = f"{settings.prefix}/{node or '+'}"
        self._inbox: queue.Queue[Message] = queue.Queue()
        self._answers: queue.Queue[str] = queue.Queue()
        # Never the configured id: a broker drops the daemon that has the same one.
        self._client = new_client(settings, f"edge-emotion-subscriber-{secrets.token_hex(4)}")
        self._client.on_connect = self._on_connect
        self._client.on_message = self._on_message

    def __enter__(self) -> Subscriber:
        where = f"broker {self._settings.host}:{self._settings.effective_port}"
        self._client.connect_timeout = CONNECT_TIMEOUT
        try:
            self._client.connect(self._settings.host, self._settings.effective_port, self._settings.keepalive)
        except ssl.SSLError as error:
            reason = getattr(error, "verify_message", None) or error.reason or error
            raise SinkError(
                f"{where}: TLS failed: {reason}; did the authority of --ca sign its certificate?"
            ) from error
        except (OSError, UnicodeError) as error:
            raise SinkError(f"{where} is not reachable: {error}; is it running, are host and port right?") from error
        self._client.loop_start()
        try:
            refusal = self._answers.get(timeout=CONNECT_TIMEOUT)
        except queue.Empty:
            refusal = f"no answer within {CONNECT_TIMEOUT:.0f} s; it may want --ca (TLS) or --protocol 3.1.1"
        if refusal:
            self.__exit__()
            raise SinkError(f"{where} refused the connection: {refusal}")
        return self

    def __exit__(self, *_: object) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def messages(self, *, timeout: float | None = None) -> Iterator[Message]:
        """Messages as they come; ends when none came for ``timeout`` seconds, never without one."""
        while True:
            try:
                yield self._inbox.get(timeout=timeout)
            except queue.Empty:
                return

    def _on_connect(self, client: Any, _userdata: Any, _flags: Any, answer: Any, _properties: Any) -> None:
        """Subscribe on every connect: a broker that lost its sessions has lost the subscription, too."""
        if answer.is_failure:
            self._answers.put(f"{answer}; check user name and password")
            return
        topics = ("availability", "+/availability", "+/events")
        client.subscribe([(f"{self._root}/{topic}", 1) for topic in topics])
        self._answers.put("")

    def _on_message(self, _client: Any, _userdata: Any, message: Any) -> None:
        self._inbox.put((message.topic, message.payload))


def subscribe(settings: MqttSettings, *, node: str | None, count: int | None, as_json: bool) -> None:
    """Print until ``count`` events came, or for ever."""
    seen = 0
    with Subscriber(settings, node=node) as subscriber:
        for topic, payload in subscriber.messages():
            line = payload.decode(errors="replace") if as_json else describe(topic, payload, settings.prefix)
            is_event = topic.endswith("/events")
            if is_event or not as_json:
                print(line, flush=True)
            seen += is_event
            if count is not None and seen >= count:
                return


def describe(topic: str, payload: bytes, prefix: str = "edge-emotion") -> str:
    """One message in words, without its prefix."""
    if not topic.endswith("/events"):
        what = topic.removesuffix("/availability").removeprefix(prefix + "/")
        return printable(f"{'':12}  {what:20} is {payload.decode(errors='replace') or 'forgotten'}")
    try:
        return printable(describe_event(event_from_json(payload)))
    except ValueError as error:
        return printable(f"{'':12}  {topic}: not understood: {error}")


def printable(text: str) -> str:
    """Without control characters: what comes over the network must not steer the terminal."""
    return "".join(character if character.isprintable() else "?" for character in text)


def describe_event(event: EmotionEvent) -> str:
    """One event in words; the time is local."""
    clock = event.ts.astimezone().strftime("%H:%M:%S.%f")[:-3]
    before = f", was {event.previous}" if event.previous else ""
    seen = f" after {event.track_duration:.1f} s" if event.type != "start" else ""
    late = ", replayed" if event.replayed else ""
    return (
        f"{clock}  {event.node + '/' + event.camera:20} {event.type:6}  {event.emotion:9} {event.confidence:4.0%}"
        f"{before}{seen}  (face {event.track_id[-6:]}, seq {event.seq}{late})"
    )
