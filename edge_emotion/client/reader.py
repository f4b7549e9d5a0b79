"""From messages to items: filters, gap detection, and the latest state of nodes and cameras. No network, no clock."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace

from edge_emotion.client.connection import ReceivedMessage
from edge_emotion.client.gaps import GapDetector, Totals, Verdict, summed
from edge_emotion.client.items import (
    AvailabilityReceived,
    EventReceived,
    Item,
    StateReceived,
    StatsReceived,
    read_event,
    read_state,
)
from edge_emotion.datatypes import CameraState, EmotionEvent
from edge_emotion.wire.hours import hours_from_stats
from edge_emotion.wire.payloads import availability_from_payload
from edge_emotion.wire.topics import Address, read_address

_log = logging.getLogger("edge_emotion.client")

_MAX_WARNINGS = 1000
"""Largest number of skipped messages that are logged."""


@dataclass(frozen=True, slots=True)
class CameraStatus:
    """Latest availability and state of a camera; None before the first message."""

    online: bool | None = None
    state: CameraState | None = None


class Reader:
    """Reads messages in order of arrival. Its attributes are as of the last one."""

    def __init__(self, prefix: str, node: str | None, camera: str | None, detector: GapDetector | None) -> None:
        """Keep only ``node`` and ``camera``, None for all; without a detector events are not checked."""
        self.detector = detector
        self.not_understood = 0
        self.nodes: dict[str, bool] = {}
        self.cameras: dict[tuple[str, str], CameraStatus] = {}
        self._prefix, self._node, self._camera = prefix, node, camera
        self._hidden: dict[str, int] = {}
        """Node -> missing events that were detected at an event of another camera, which was filtered out."""
        self._unchecked = Totals()
        self._warned: set[tuple[str, type[Exception]]] = set()

    @property
    def totals(self) -> Totals:
        """Counts of all nodes together."""
        return summed(self.detector.totals.values()) if self.detector else replace(self._unchecked)

    def read(self, message: ReceivedMessage) -> Item | None:
        """The item in a message; None if it is filtered out or does not conform to the contract."""
        try:
            address = read_address(self._prefix, message.topic)
            return self._item(address, message) if self._is_wanted(address) else None
        except MemoryError:
            raise
        except Exception as error:  # noqa: BLE001 - whatever a message contains, it must not end the subscriber
            self.not_understood += 1
            self._warn_once(message.topic, error)
            return None

    def _warn_once(self, topic: str, error: Exception) -> None:
        """Once for each topic and kind of fault: a sender must not be able to fill the log."""
        warning = (topic, type(error))
        if warning not in self._warned and len(self._warned) < _MAX_WARNINGS:
            self._warned.add(warning)
            _log.warning("%r: skipped, %s; more of this is counted, not logged", topic, f"{error!s:.250}")

    def _is_wanted(self, address: Address) -> bool:
        """A named session may still contain messages of an earlier subscription."""
        if self._node not in (None, address.node):
            return False
        # The numbers of the other cameras' events are needed for gap detection.
        return address.camera is None or address.channel == "events" or self._camera in (None, address.camera)

    def _item(self, address: Address, message: ReceivedMessage) -> Item | None:
        if address.channel == "availability":
            return self._update_availability(address, message)
        if address.channel == "state" and address.camera is not None:
            return self._update_state(address.node, address.camera, message)
        if address.channel == "stats" and address.camera is None:
            hours = hours_from_stats(message.payload)
            return StatsReceived(address.node, hours, message.received_at) if hours else None
        return self._check_arrival(read_event(address, message.payload), message)

    def _check_arrival(self, event: EmotionEvent, message: ReceivedMessage) -> EventReceived | None:
        verdict = Verdict("unchecked") if self.detector is None else self.detector.update(event)
        missed = self._hidden.pop(event.node, 0) + verdict.missed
        if self._camera not in (None, event.camera):
            self._hidden[event.node] = missed
            return None
        if self.detector is None:
            self._unchecked += Totals(events=1, replayed=int(event.replayed))
        return EventReceived(event, verdict.arrival, missed, message.received_at, message.payload)

    def _update_availability(self, address: Address, message: ReceivedMessage) -> AvailabilityReceived:
        online, key = availability_from_payload(message.payload), (address.node, address.camera or "")
        if address.camera is not None:
            self.cameras[key] = replace(self.cameras.get(key, CameraStatus()), online=online)
        elif online is None:
            self.nodes.pop(address.node, None)
        else:
            self.nodes[address.node] = online
        return AvailabilityReceived(address.node, address.camera, online, message.received_at)

    def _update_state(self, node: str, camera: str, message: ReceivedMessage) -> StateReceived:
        state = read_state(message.payload)
        self.cameras[node, camera] = replace(self.cameras.get((node, camera), CameraStatus()), state=state)
        return StateReceived(node, camera, state, message.received_at)
