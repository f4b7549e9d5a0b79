"""Follows the orders for a group: fetch, install, use, watch, confirm or go back. In steps, without a thread."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import Any, Protocol

from edge_emotion.errors import BackendUnavailable, ConfigError, EdgeEmotionError, ModelError, ReleaseRefused
from edge_emotion.factory.models import configured_classifier
from edge_emotion.models.classifier import EmotionClassifier
from edge_emotion.system.backoff import Backoff
from edge_emotion.system.log_limit import LogLimit
from edge_emotion.system.plain_words import os_error_text
from edge_emotion.updates.fetch import fetch, forget_download
from edge_emotion.updates.install import install
from edge_emotion.updates.installed import InstallationRuns
from edge_emotion.updates.orders import Orders
from edge_emotion.updates.place import Place
from edge_emotion.updates.progress import Progress, RunEnded, log
from edge_emotion.updates.record import MOST_RETURNED
from edge_emotion.updates.watch import FrameTimes, Watch
from edge_emotion.wire.model_order import ModelOrder
from edge_emotion.wire.update_report import UpdateReport

CRASHES = 2
"""Ends of the process by an error or a kill, while a model is watched, after which it is left."""

RETRY = 10.0, 3600.0
"""Seconds until something is tried again: at first, and at most."""

IDLE, LOOK = 60.0, 1.0
"""Seconds between two steps; while a model is watched."""

_LASTING = ReleaseRefused, ModelError, BackendUnavailable, ConfigError
"""Errors that another attempt with the same release and settings does not mend, except InstallationRuns."""


_NOT_WATCHED: dict[str, Any] = {"watched": None, "running": False, "crashes": 0, "before": None}


class Node(Protocol):
    """The running daemon, as the updater needs it; from the updater's thread."""

    def use(self, classifier: EmotionClassifier) -> None:
        """Go on with this classifier; returns when it is in use. Raises any error; then nothing has changed."""

    def captured(self) -> int:
        """Frames that the cameras have given so far."""


class Updater:
    """What a node does about its newest order."""

    def __init__(
        self,
        place: Place,
        progress: Progress,
        node: Node,
        times: FrameTimes,
        *,
        interrupted: Callable[[], bool] = lambda: False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """``times`` is filled by the main loop. A download ends soon after ``interrupted`` returns True."""
        self._place, self._progress, self._node, self._times = place, progress, node, times
        self._interrupted, self._clock, self._refusals = interrupted, clock, LogLimit(log)
        self._watch: Watch | None = None
        self._loaded: str | None = None
        """SHA-256 of the release that this process uses; None for the model of the settings."""
        self._backoff, self._try_at = Backoff(*RETRY), 0.0
        self._orders = Orders(place, progress)
        self._delay()

    def take(self, payload: bytes) -> None:
        """Accept an order if it is a newer one; see ``Orders.checked``."""
        record, before = self._progress.record, self._orders.newest
        order = self._orders.checked(payload)
        if order is None:
            return
        log.info("model update: order %d: %s %s", order.serial, order.action, order.release.title)
        self._orders.newest = order
        same = before is not None and before.release == order.release
        stays = record.state == "switched" or (same and record.state in ("confirmed", "returned"))
        self._delay()
        state, reason = (record.state, record.reason) if stays else ("waiting", "")
        self._progress.set(state, reason, payload=payload.decode("latin-1"), highest=order.serial)

    def is_newer(self, payload: bytes) -> bool:
        """Whether ``take`` would accept it; if not, and it is not the same again, one line is logged."""
        return self._orders.checked(payload) is not None

    def step(self) -> float:
        """Do what is due; returns the seconds until the next step is."""
        self._orders.look()
        if self._progress.record.leaving is not None:
            self._finish_leaving(live=True)
        elif self._is_aborted():
            self._go_back(f"order {self._progress.record.highest} is to abort it")
        elif self._state == "switched":
            self._look()
        if self._state == "switched" or self._progress.record.leaving is not None:
            return LOOK
        if self._orders.newest is not None:
            self._follow(self._orders.newest)
        return LOOK if self._state == "switched" else min(IDLE, max(0.0, self._try_at - self._clock()) or IDLE)

    def report(self) -> UpdateReport:
        """For the node's info; from any thread."""
        record, order = self._progress.record, self._orders.newest
        return UpdateReport(
            group=self._place.group,
            order=None if order is None else order.serial,
            release=None if order is None else order.release,
            state=record.state,
            reason=record.reason[:2000],
            since=record.since,
            installed=self._place.installed.current_serial(),
            expired=self._orders.expired,
        )

    @property
    def _state(self) -> str:
        return self._progress.record.state

    def _delay(self) -> None:
        """Nodes of a group do not begin at the same moment."""
        self._backoff.reset()
        self._try_at = self._clock() + random.uniform(0, self._place.settings.update.spread)

    def _is_aborted(self) -> bool:
        order = self._orders.newest
        return order is not None and order.action == "abort" and self._uses(order)

    def _uses(self, order: ModelOrder) -> bool:
        return self._place.installed.current_sha256() == order.release.sha256

    def _follow(self, order: ModelOrder) -> None:
        record, release = self._progress.record, order.release
        if self._clock() < self._try_at and record.reason:
            return
        if self._uses(order):
            if self._loaded != release.sha256:
                self._take_into_use(release.sha256)
            elif record.state != "confirmed":
                self._progress.set("confirmed", "it was in use before the order")
        elif release.sha256 in record.returned:
            if record.state != "returned":
                self._progress.set("returned", "it was left before, and is not tried again here")
        elif record.state != "refused":
            self._begin(order)

    def _begin(self, order: ModelOrder) -> None:
        wait, node = self._try_at - self._clock(), self._place.settings.node
        if order.action == "abort":
            self._progress.set("waiting", "the order is aborted")
        elif self._orders.expired:
            self._progress.set("waiting", "the order has expired")
        elif not order.is_for(node):
            self._progress.set("waiting", f"not among the {order.percent:g} % of nodes")
        elif order.action == "pause":
            self._progress.set("waiting", "the order is paused")
        elif order.release.name != self._place.name:
            self._progress.set("refused", f"this node runs {self._place.name}, not {order.release.name}")
        elif wait > 0:
            self._progress.set("waiting", f"it begins in {wait:.0f} s")
        else:
            self._update(order)

    def _update(self, order: ModelOrder) -> None:
        """Bring the release here, install it, and use it."""
        place, update = self._place, self._place.settings.update
        self._progress.set("fetching", order.source)
        try:
            folder = fetch(order, place.installed.folder, update.ca, cancelled=self._interrupted)
            self._progress.set("checking", before=self._times.median())
            sha256 = order.release.sha256
            install(folder, place.models, place.keys, classifier=place.settings.classifier, ordered=sha256)
        except (EdgeEmotionError, OSError) as error:
            if isinstance(error, _LASTING) and not isinstance(error, InstallationRuns):
                forget_download(place.installed.folder)
                self._progress.set("refused", str(error))
                return
            delay = self._backoff.next()
            self._try_at = self._clock() + delay
            self._progress.set("waiting", f"{_in_words(error)}; tried again in {delay:.0f} s")
        else:
            self._take_into_use(sha256)

    def _take_into_use(self, sha256: str) -> None:
        """Use the release that is installed, and watch it."""
        self._progress.set("switched", watched=sha256, running=True, crashes=0)
        try:
            self._node.use(configured_classifier(self._place.classifier))
        except RunEnded:
            raise
        except Exception as error:  # noqa: BLE001 - whatever it is, the model before must stay
            self._go_back(f"it cannot be used: {error or type(error).__name__}", live=False)
        else:
            self._loaded = sha256
            self._times.restart()
            self._watch = self._new_watch()

    def _new_watch(self) -> Watch:
        seconds, before = self._place.settings.update.watch, self._progress.record.before
        return Watch(seconds, self._clock(), before, self._times.processed, self._node.captured())

    def _look(self) -> None:
        """Judge the model that is watched."""
        self._watch = self._watch or self._new_watch()
        now = self._clock()
        fault = self._watch.fault(now, self._times.processed, self._node.captured())
        if fault is not None:
            self._go_back(fault)
        elif now >= self._watch.until:
            stays, reason = self._watch.verdict(self._times)
            if stays:
                self._progress.set("confirmed", reason, **_NOT_WATCHED)
                self._watch = None
            else:
                self._go_back(reason)

    def _go_back(self, reason: str, *, live: bool = True) -> None:
        """Leave the release in use, on the disk and, if ``live``, in the running program."""
        left, returned = self._place.installed.current_sha256(), self._progress.record.returned
        self._watch = None
        self._progress.set(
            "returned",
            reason,
            leaving=left,
            returned=(*returned, *([left] if left else []))[-MOST_RETURNED:],
            **_NOT_WATCHED,
        )
        self._finish_leaving(live=live)

    def _finish_leaving(self, *, live: bool) -> None:
        """Set the link back, unless that was done before the process ended. A failure is tried again."""
        record = self._progress.record
        try:
            if self._place.installed.current_sha256() == record.leaving:
                self._place.undo()
        except (EdgeEmotionError, OSError) as error:
            self._refusals.warning(
                "model update: the release cannot be left now, it is tried again: %s", _in_words(error)
            )
            return
        self._progress.set(record.state, record.reason, leaving=None)
        if live:
            self._use_old()

    def _use_old(self) -> None:
        try:
            self._node.use(configured_classifier(self._place.classifier))
        except RunEnded:
            raise
        except Exception as error:  # noqa: BLE001 - the program goes on, whatever it is
            reason = f"{self._progress.record.reason}; this process still uses it ({error}): restart it"
            self._progress.set("returned", reason)
        else:
            self._loaded = self._place.installed.current_sha256()
            self._times.restart()

    def begin(self) -> None:
        """Before the models are made: settle what an earlier process has left, and count its end."""
        record, order = self._progress.record, self._orders.newest
        used = self._place.installed.current_sha256()
        if record.leaving is not None:
            self._finish_leaving(live=False)
        elif record.state == "checking" and order is not None and used == order.release.sha256:
            self._progress.set("switched", watched=used)
            forget_download(self._place.installed.folder)
        elif record.state in ("fetching", "checking") or (record.state == "switched" and used != record.watched):
            self._progress.set("waiting", **_NOT_WATCHED)
        record = self._progress.record
        if record.state != "switched":
            return
        crashes = record.crashes + record.running
        if crashes >= CRASHES:
            self._go_back(f"the program has ended {crashes} times without order while it was watched", live=False)
        else:
            self._progress.set("switched", record.reason, running=False, crashes=crashes)

    def models_are_made(self) -> None:
        """The process uses what is installed now. Until its main loop runs, an end is no fault of the model."""
        self._loaded = self._place.installed.current_sha256()
        self.mark_running(False)

    def mark_running(self, running: bool) -> None:
        """While a model is watched: whether an end of the process from now on counts against it."""
        if self._state == "switched":
            self._progress.set("switched", self._progress.record.reason, running=running)

    def cannot_start(self, error: EdgeEmotionError) -> bool:
        """The models cannot be made; True if the reason may be a release that was watched, which is left then."""
        if self._state == "switched":
            self._go_back(str(error), live=False)
        return self._state == "returned"


def _in_words(error: Exception) -> str:
    return os_error_text(error) if isinstance(error, OSError) else str(error)
