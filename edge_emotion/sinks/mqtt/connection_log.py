"""Log lines about the connection to the broker: each change once, not at each further attempt."""

from __future__ import annotations

import logging

from edge_emotion.mqtt.connection import BrokerLimits, Refusal
from edge_emotion.outbox.outbox import Outbox

_log = logging.getLogger("edge_emotion.sinks.mqtt")


class ConnectionLog:
    """Logs the changes of one sender's connection to its brokers."""

    def __init__(self, broker: str) -> None:
        """``broker`` names the first one in messages: ``broker localhost:1883``."""
        self.last_failure: str | None = None
        """Why the last connection was not made, or was lost; None if that never happened."""
        self.broker = broker
        """The current broker in messages."""
        self._logged: set[str] = set()
        self._logged_refusals: set[str] = set()
        self._logged_expired = 0

    def report(self, level: int, status: str) -> None:
        """Log ``status`` unless it was logged since the last connection; above INFO it is a failure."""
        if level > logging.INFO:
            self.last_failure = status
        if status not in self._logged:
            _log.log(level, "%s", status)
        self._logged.add(status)

    def report_fault(self, error: Exception) -> None:
        """A fault of this program has ended the connection."""
        self.report(logging.ERROR, f"{self.broker}: {type(error).__name__}: {error}; trying again")
        _log.debug("traceback of this error", exc_info=error)

    def report_connection(self, limits: BrokerLimits, outbox: Outbox) -> None:
        """A new connection, what its broker cannot do, and what was dropped because there was none."""
        self._logged.clear()
        self.report(logging.INFO, f"connected to {self.broker}")
        failure = self.last_failure
        if not limits.retain:
            effect = "subscribers receive states only when they change, Home Assistant finds the device only if it runs"
            self.report(logging.WARNING, f"{self.broker} keeps no retained messages: {effect}")
        if limits.qos == 0:
            effect = "an event is lost if the connection ends while it is sent"
            self.report(logging.WARNING, f"{self.broker} supports only QoS 0: {effect}")
        self.last_failure = failure
        expired = outbox.expired
        if expired > self._logged_expired:
            count = expired - self._logged_expired
            _log.warning("%d events waited longer than mqtt.outbox_max_age and were dropped", count)
        self._logged_expired = expired

    def report_refusal(self, topic: str, refusal: Refusal) -> None:
        """The broker will never accept a message; each reason once."""
        if refusal.reason not in self._logged_refusals:
            self._logged_refusals.add(refusal.reason)
            advice = "check its access rules" if refusal.reason == "Not authorized" else "see its log"
            _log.error("%s refuses %s (%s): %s", self.broker, topic, refusal.reason, advice)
