"""The ``end`` of tracks that were open when the process was killed."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace

from edge_emotion.datatypes import EmotionEvent
from edge_emotion.wire.payloads import event_from_json
from edge_emotion.wire.ulid import ulid

log = logging.getLogger(__name__)

REASON = "interrupted"
"""``reason`` of such an event."""


def interrupted_ends(last_events: Iterable[bytes], node: str, next_seq: Callable[[], int]) -> Iterator[EmotionEvent]:
    """An ``end`` for each track, from the payload of its last event: with the time and values of that.

    When the face left is not known. An event that cannot be read is logged and left out.
    """
    for payload in last_events:
        try:
            last = event_from_json(payload)
        except ValueError as error:
            log.warning("the last event of a track cannot be read any more (%s): the track gets no end", error)
            continue
        yield replace(
            last,
            type="end",
            id=ulid(last.ts),
            seq=next_seq(),
            node=node,
            previous=None,
            latency_ms=0.0,
            replayed=False,
            reason=REASON,
        )
