"""The thread that keeps the outbox's file up to date."""

from __future__ import annotations

import logging
import threading
import time
from contextlib import suppress
from queue import Empty, SimpleQueue

from edge_emotion.outbox.event_counter import EventCounter
from edge_emotion.outbox.outbox import Outbox
from edge_emotion.outbox.store import OutboxFile

_log = logging.getLogger("edge_emotion.sinks.mqtt")

DELETE_INTERVAL = 1.0
"""Longest time in seconds until acknowledged events leave the file; after a crash they would only be sent twice."""

RETRY = 30.0
"""Seconds between attempts to write again after the disk has failed."""


class OutboxWriter:
    """Writes events as soon as they come, and syncs them to the disk if they still wait after ``interval`` s.

    An event that is acknowledged within the interval never costs a sync. While the disk fails, events wait in memory
    only.
    """

    def __init__(
        self, file: OutboxFile, outbox: Outbox, interval: float, numbers: EventCounter | None, retry: float = RETRY
    ) -> None:
        """``file`` is open, its events are in ``outbox``. With ``numbers``, the file is theirs and they close it."""
        self._file, self._outbox, self._interval = file, outbox, interval
        self._numbers, self._retry = numbers, retry
        self._wake: SimpleQueue[None] = SimpleQueue()  # cheaper for its callers than an Event, and never blocks them
        self._stopping = threading.Event()
        self._acknowledged: list[int] = []
        self._deleted_at = 0.0
        self._synced = 0
        self._unsynced_since: float | None = None
        self._retry_at: float | None = None
        self._busy_since: float | None = None
        self._thread = threading.Thread(target=self._run, name="mqtt-outbox", daemon=True)

    @property
    def failing(self) -> bool:
        """True while nothing can be written and events wait in memory only."""
        return self._retry_at is not None

    def hangs(self, limit: float) -> bool:
        """True if the disk has not answered for ``limit`` s."""
        since = self._busy_since
        return since is not None and time.monotonic() - since > limit

    def start(self) -> None:
        """Start the thread, and write what is in the outbox already."""
        self._outbox.on_new = self._notify
        self._notify()
        self._thread.start()

    def stop(self, timeout: float) -> bool:
        """Write the rest, sync and close the file, for at most ``timeout`` s. False if events are not safe there."""
        self._stopping.set()
        self._notify()
        self._thread.join(timeout)
        return not self._thread.is_alive() and not self.failing

    def _notify(self) -> None:
        self._wake.put(None)

    def _run(self) -> None:
        try:
            while not self._stopping.is_set():
                with suppress(Empty):
                    self._wake.get(timeout=self._timeout())
                    while True:
                        self._wake.get_nowait()
                self._step()
            self._step(last=True)
        finally:
            if not self._stopping.is_set():
                self._fall_back(RuntimeError("the writing thread has failed"))
            if self._numbers is None:
                self._file.close()

    def _timeout(self) -> float | None:
        now = time.monotonic()
        if self._retry_at is not None:
            return max(0.0, self._retry_at - now)
        if not self._acknowledged and not len(self._outbox):
            return None
        until = now + DELETE_INTERVAL
        if self._unsynced_since is not None:
            until = min(until, self._unsynced_since + self._interval)
        return max(0.0, until - now)

    def _step(self, last: bool = False) -> None:
        self._busy_since = time.monotonic()
        try:
            if self._retry_at is None:
                self._write(time.monotonic(), last)
            elif last or time.monotonic() >= self._retry_at:
                self._try_again()
        except MemoryError:
            raise
        except Exception as error:  # noqa: BLE001 - a fault of this thread must not keep the events from being sent
            self._fall_back(error)
        finally:
            self._busy_since = None

    def _write(self, now: float, last: bool) -> None:
        changes = self._outbox.collect()
        self._acknowledged += changes.gone
        if changes.new and self._unsynced_since is None:
            self._unsynced_since = changes.new[0].since
        if changes.new or (self._acknowledged and (last or now >= self._deleted_at + DELETE_INTERVAL)):
            self._file.write(changes.new, self._acknowledged)
            self._acknowledged, self._deleted_at = [], now
        if not self._interval:  # each event is on the disk before it is sent
            self._sync(changes.upto)
        self._outbox.stored(changes.upto)
        if last or (self._unsynced_since is not None and now >= self._unsynced_since + self._interval):
            self._sync(changes.upto)
        if not len(self._outbox):
            self._unsynced_since = None

    def _sync(self, upto: int) -> None:
        """Sync, unless all events since the last sync are acknowledged: then the broker has them."""
        if self._unsynced_since is not None and self._outbox.waits_from(self._synced):
            self._file.sync()
        self._synced, self._unsynced_since = upto, None

    def _fall_back(self, error: Exception) -> None:
        """Let events be sent without being stored, and plan the next attempt."""
        if self._retry_at is None:
            _log.warning(
                "cannot write events to %s (%s): until that works again they wait in memory only and are lost at a "
                "restart; check the free space and the permissions there",
                self._file.path,
                error,
            )
            if self._numbers is not None:  # first: events that are sent from now on are not in the file
                self._numbers.take_back()
            self._file.close()
        self._outbox.release()
        self._retry_at = time.monotonic() + self._retry

    def _try_again(self) -> None:
        try:
            self._file.open()
            changes = self._outbox.collect_all()
            self._file.replace(changes.new, changes.tracks)
            self._file.sync()
        except BaseException:
            self._file.close()
            raise
        if self._numbers is not None:
            self._numbers.hand_over()
        self._retry_at, self._unsynced_since, self._acknowledged, self._synced = None, None, [], changes.upto
        self._notify()
        _log.info("events are written to %s again", self._file.path)
