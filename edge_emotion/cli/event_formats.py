"""Received items as lines: text for people, JSON and CSV for programs. Control characters are removed."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable

from edge_emotion.client.gaps import Totals
from edge_emotion.client.items import AvailabilityReceived, EventReceived, Item
from edge_emotion.datatypes import EmotionEvent
from edge_emotion.labels import EMOTIONS
from edge_emotion.wire.payloads import format_time

CSV_HEADER = ",".join(
    [
        *("ts", "node", "camera", "type", "emotion", "confidence", "previous", "seq", "id", "track", "track_started"),
        *("track_duration", "box_x", "box_y", "box_width", "box_height", "quality", "latency_ms", "model"),
        *("model_version", "replayed", "received_at", "arrival", "missed"),
        *(f"p_{emotion}" for emotion in EMOTIONS),
    ]
)
"""The columns: the event, when and how it came, how many events are missing before it, the probabilities."""


def item_as_text(item: Item) -> list[str]:
    """Lines for people: events, with remarks on gaps and repeats, and availability. States are left out."""
    if isinstance(item, EventReceived):
        return [printable(line) for line in (*_remarks(item), describe_event(item.event, item.arrival))]
    if isinstance(item, AvailabilityReceived):
        name = item.node if item.camera is None else f"{item.node}/{item.camera}"
        status = {True: "online", False: "offline", None: "forgotten"}[item.online]
        return [printable(f"{'':12}  {name:20} is {status}")]
    return []


def item_as_json(item: Item) -> list[str]:
    """An event as it came, unknown fields included, with one more: ``received`` {at, arrival, missed}."""
    if not isinstance(item, EventReceived):
        return []
    received = {"at": format_time(item.received_at), "arrival": item.arrival, "missed": item.missed}
    data = {**json.loads(item.payload), "received": received}
    return [json.dumps(data, separators=(",", ":"), ensure_ascii=False)]


def item_as_csv(item: Item) -> list[str]:
    """An event as one line, in the columns of ``CSV_HEADER``, empty for emotions that the model lacks; else no line."""
    if not isinstance(item, EventReceived):
        return []
    event, box = item.event, item.event.box
    texts = (event.type, event.emotion, event.confidence, event.previous, event.seq, event.id, event.track_id)
    cells = (
        *(format_time(event.ts), event.node, event.camera),
        *map(_cell, texts),
        *(format_time(event.track_started), event.track_duration, box.x, box.y, box.width, box.height),
        *(event.quality, event.latency_ms, _cell(event.model_name), _cell(event.model_version)),
        *(str(event.replayed).lower(), format_time(item.received_at), item.arrival, item.missed),
        *(event.probabilities.get(emotion, "") for emotion in EMOTIONS),
    )
    line = io.StringIO()
    csv.writer(line, lineterminator="").writerow(cells)
    return [line.getvalue()]


FORMATS: dict[str, Callable[[Item], list[str]]] = {"text": item_as_text, "jsonl": item_as_json, "csv": item_as_csv}
"""Name of a format -> what makes its lines, without line ends."""


def describe_event(event: EmotionEvent, arrival: str = "next") -> str:
    """One event in words; the time is local."""
    clock = event.ts.astimezone().strftime("%H:%M:%S.%f")[:-3]
    emotion = f"{event.emotion:9} {event.confidence:4.0%}" + (f", {event.reason}" if event.reason else "")
    before = f", was {event.previous}" if event.previous else ""
    seen = f" after {event.track_duration:.1f} s" if event.type != "start" else ""
    odd = f", {arrival}" if arrival in ("late", "duplicate") else ""
    return (
        f"{clock}  {event.node + '/' + event.camera:20} {event.type:6}  {emotion}"
        f"{before}{seen}  (face {event.track_id[-6:]}, seq {event.seq}{', replayed' if event.replayed else ''}{odd})"
    )


def describe_totals(totals: Totals, *, checked: bool, not_understood: int) -> str:
    """The counts in one line; without ``checked``, gaps were not looked for."""
    text = f"{_counted(totals.events, 'event')} ({totals.replayed} replayed"
    if checked:
        text += f", {totals.late} late), {_counted(totals.gaps, 'gap')} ({totals.missed} missed)"
        text += f", {_counted(totals.duplicates, 'duplicate')}"
    else:
        text += "), gaps and duplicates not looked for"
    if totals.restarts:
        text += f", {_counted(totals.restarts, 'new count')}"
    return text + (f", {_counted(not_understood, 'message')} not understood" if not_understood else "")


def printable(text: str) -> str:
    """Without control characters: what comes over the network must not steer the terminal."""
    return "".join(character if character.isprintable() else "?" for character in text)


def _remarks(item: EventReceived) -> list[str]:
    lines = []
    if item.missed:
        lines.append(f"{'':12}  {item.event.node:20} -- {_counted(item.missed, 'event')} missing before the next --")
    if item.arrival == "restart":
        why = "it lost its counter, or two daemons use this name"
        lines.append(f"{'':12}  {item.event.node:20} -- counts anew from {item.event.seq}: {why} --")
    return lines


def _counted(number: int, thing: str) -> str:
    return f"{number} {thing}" + ("" if number == 1 else "s")


def _cell(value: object) -> object:
    """Text without control characters, after a ' if a spreadsheet would take it for a formula; else the value."""
    if not isinstance(value, str):
        return value
    text = printable(value)
    return "'" + text if text.startswith(("=", "+", "-", "@")) else text
