"""The thread that keeps the file of the outbox up with the send_queue."""

from __future__ import annotations

import logging
import sqlite3
import threading
import time
from contextlib import suppress
from queue import Empty, SimpleQueue

from edge_emotion.outbox.event_counter import EventCounter
from edge_emotion.outbox.store import OutboxFile
from edge_emotion.sinks.mqtt.send_queue import SendQueue

_log = logging.getLogger("edge_emotion.sinks.mqtt")

TIDY = 1.0
"""Seconds at most until the file forgets what was acknowledged; it would only be sent twice."""

RETRY = 30.0
"""Seconds between attempts to write again after the disk has failed."""


class OutboxWriter:
    """Writes events as soon as they come; makes the disk take them over after ``interval`` s if they still wait.

    What is acknowledged within the interval never costs a sync. While the disk fails, events wait in memory only.
    """

    def __init__(
        self,
        file: OutboxFile,
        send_queue: SendQueue,
        interval: float,
        numbers: EventCounter | None,
        retry: float = RETRY,
    ) -> None:
        """``file`` is open, its events are in the send_queue. ``numbers`` leaves its counting to the file, if given."""
        self._file, self._send_queue, self._interval = file, send_queue, interval
        self._numbers, self._retry = numbers, retry
        self._news: SimpleQueue[None] = SimpleQueue()  # cheaper for its callers than an Event, and never blocks them
        self._stopping = threading.Event()
        self._gone: list[int] = []
        self._tidied = 0.0
        self._synced = 0
        self._unsynced_since: float | None = None
        self._retry_at: float | None = None
        self._thread = threading.Thread(target=self._run, name="mqtt-outbox", daemon=True)

    @property
    def failing(self) -> bool:
        """True while nothing can be written and events wait in memory only."""
        return self._retry_at is not None

    def start(self) -> None:
        """Begin; from now on the send_queue wakes this thread."""
        self._send_queue.store_with(self._news)
        self._thread.start()

    def stop(self, patience: float) -> bool:
        """Write the rest, sync, close the file, for at most ``patience`` s. False if events are not safe there."""
        self._stopping.set()
        self._news.put(None)
        self._thread.join(patience)
        return not self._thread.is_alive() and not self.failing

    def _run(self) -> None:
        try:
            while not self._stopping.is_set():
                with suppress(Empty):
                    self._news.get(timeout=self._patience())
                    while True:
                        self._news.get_nowait()
                self._step()
            self._step(last=True)
        finally:
            if not self._stopping.is_set():  # a fault of ours must not keep the events from being sent
                self._fall_back(RuntimeError("the writing thread has failed"))
            self._file.close()

    def _patience(self) -> float | None:
        now = time.monotonic()
        if self._retry_at is not None:
            return max(0.0, self._retry_at - now)
        if not self._gone and not len(self._send_queue):
            return None
        until = now + TIDY
        if self._unsynced_since is not None:
            until = min(until, self._unsynced_since + self._interval)
        return max(0.0, until - now)

    def _step(self, last: bool = False) -> None:
        try:
            if self._retry_at is None:
                self._write(time.monotonic(), last)
            elif last or time.monotonic() >= self._retry_at:
                self._try_again()
        except (sqlite3.Error, OSError) as error:
            self._fall_back(error)

    def _write(self, now: float, last: bool) -> None:
        changes = self._send_queue.collect()
        self._gone += changes.gone
        if changes.new and self._unsynced_since is None:
            self._unsynced_since = changes.new[0].since
        if changes.new or (self._gone and (last or now >= self._tidied + TIDY)):
            self._file.write(changes.new, self._gone)
            self._gone, self._tidied = [], now
        if not self._interval:  # each event is on the disk before the network sees it
            self._sync(changes.upto)
        self._send_queue.stored(changes.upto)
        if last or (self._unsynced_since is not None and now >= self._unsynced_since + self._interval):
            self._sync(changes.upto)
        if not len(self._send_queue):
            self._unsynced_since = None

    def _sync(self, upto: int) -> None:
        """Unless all events since the last sync are acknowledged: the broker has them, the disk is spared."""
        if self._unsynced_since is not None and self._send_queue.waits_from(self._synced):
            self._file.sync()
        self._synced, self._unsynced_since = upto, None

    def _fall_back(self, error: Exception) -> None:
        if self._retry_at is None:
            _log.warning(
                "cannot write events to %s (%s): until that works again they wait in memory only, and a restart "
                "loses them; check the free space and the rights there",
                self._file.path,
                error,
            )
            if self._numbers is not None:  # first: what is sent from now on is not in the file
                self._numbers.take_back()
            self._file.close()
        self._send_queue.release()
        self._retry_at = time.monotonic() + self._retry

    def _try_again(self) -> None:
        try:
            self._file.open()
            changes = self._send_queue.collect_all()
            self._file.replace(changes.new)
            self._file.sync()
        except BaseException:
            self._file.close()
            raise
        if self._numbers is not None:
            self._numbers.hand_over()
        self._retry_at, self._unsynced_since, self._gone, self._synced = None, None, [], changes.upto
        self._news.put(None)
        _log.info("events are written to %s again", self._file.path)
