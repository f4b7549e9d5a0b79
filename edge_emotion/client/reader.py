"""From messages to items: filters, gap detection, and the latest of every node and camera. No network, no clock."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace

from edge_emotion.client.connection import ReceivedMessage
from edge_emotion.client.gaps import GapDetector, Totals, Verdict, summed
from edge_emotion.client.items import AvailabilityReceived, EventReceived, Item, StateReceived, read_event, read_state
from edge_emotion.datatypes import CameraState, EmotionEvent
from edge_emotion.wire.payloads import read_availability
from edge_emotion.wire.topics import Address, read_address

_log = logging.getLogger("edge_emotion.client")

_COMPLAINTS = 1000
"""Faults at most that are logged."""


@dataclass(frozen=True, slots=True)
class CameraStatus:
    """The last that a camera said of itself; None where it has not said anything."""

    online: bool | None = None
    state: CameraState | None = None


class Reader:
    """Reads messages in the order in which they came. What it holds is as of the last one."""

    def __init__(self, prefix: str, node: str | None, camera: str | None, detector: GapDetector | None) -> None:
        """Only ``node`` and ``camera`` are wanted, None for all; without a detector events are not checked."""
        self.detector = detector
        self.not_understood = 0
        self.nodes: dict[str, bool] = {}
        self.cameras: dict[tuple[str, str], CameraStatus] = {}
        self._prefix, self._node, self._camera = prefix, node, camera
        self._hidden: dict[str, int] = {}
        """Node -> events that were found missing at one of a camera that is filtered out."""
        self._unchecked = Totals()
        self._complained: set[tuple[str, type[ValueError]]] = set()

    @property
    def totals(self) -> Totals:
        """The counts of all nodes together."""
        return summed(self.detector.totals.values()) if self.detector else replace(self._unchecked)

    def read(self, message: ReceivedMessage) -> Item | None:
        """The item in a message; None if it is filtered out or not of the contract."""
        try:
            address = read_address(self._prefix, message.topic)
            return self._item(address, message) if self._is_wanted(address) else None
        except ValueError as error:
            self.not_understood += 1
            self._complain(message.topic, error)
            return None

    def _complain(self, topic: str, error: ValueError) -> None:
        """Once for each topic and kind of fault: the log is not the sender's."""
        complaint = (topic, type(error))
        if complaint not in self._complained and len(self._complained) < _COMPLAINTS:
            self._complained.add(complaint)
            _log.warning("%r: skipped, %s; more of this is counted, not logged", topic, f"{error!s:.250}")

    def _is_wanted(self, address: Address) -> bool:
        """A named session may still hold what an earlier choice asked for."""
        if self._node not in (None, address.node):
            return False
        # Events of the other cameras are needed for their numbers.
        return address.camera is None or address.channel == "events" or self._camera in (None, address.camera)

    def _item(self, address: Address, message: ReceivedMessage) -> Item | None:
        if address.channel == "availability":
            return self._note_availability(address, message)
        if address.channel == "state" and address.camera is not None:
            return self._note_state(address.node, address.camera, message)
        return self._judge(read_event(address, message.payload), message)

    def _judge(self, event: EmotionEvent, message: ReceivedMessage) -> EventReceived | None:
        verdict = Verdict("unchecked") if self.detector is None else self.detector.update(event)
        missed = self._hidden.pop(event.node, 0) + verdict.missed
        if self._camera not in (None, event.camera):
            self._hidden[event.node] = missed
            return None
        if self.detector is None:
            self._unchecked += Totals(events=1, replayed=int(event.replayed))
        return EventReceived(event, verdict.arrival, missed, message.received_at, message.payload)

    def _note_availability(self, address: Address, message: ReceivedMessage) -> AvailabilityReceived:
        online, key = read_availability(message.payload), (address.node, address.camera or "")
        if address.camera is not None:
            self.cameras[key] = replace(self.cameras.get(key, CameraStatus()), online=online)
        elif online is None:
            self.nodes.pop(address.node, None)
        else:
            self.nodes[address.node] = online
        return AvailabilityReceived(address.node, address.camera, online, message.received_at)

    def _note_state(self, node: str, camera: str, message: ReceivedMessage) -> StateReceived:
        state = read_state(message.payload)
        self.cameras[node, camera] = replace(self.cameras.get((node, camera), CameraStatus()), state=state)
        return StateReceived(node, camera, state, message.received_at)
