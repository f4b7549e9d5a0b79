"""The composition root: builds a daemon and its parts from the settings."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from edge_emotion.config.settings import Settings
from edge_emotion.daemon.control import Control
from edge_emotion.daemon.daemon import Daemon
from edge_emotion.daemon.overrides import OverrideStore
from edge_emotion.doctor.examination import examine
from edge_emotion.factory.cameras import CameraMaker
from edge_emotion.factory.models import Models, make_models
from edge_emotion.factory.sinks import make_sinks
from edge_emotion.outbox.event_counter import EventCounter
from edge_emotion.protocols import ControlChannel, EventSink
from edge_emotion.system.telemetry import MIB
from edge_emotion.updates.library import pynacl_for
from edge_emotion.web.sink import PageSink

if TYPE_CHECKING:
    from edge_emotion.updates.service import UpdateService


def make_daemon(
    settings: Settings,
    *,
    fail_fast: bool = False,
    load: Callable[[], Settings] | None = None,
    more_sinks: Sequence[EventSink] = (),
    on_page: Callable[[str], None] | None = None,
) -> Daemon:
    """A daemon as the settings describe it; no camera and no connection is opened yet.

    ``fail_fast`` ends the run when a camera cannot be opened the first time, instead of trying again. ``load`` reads
    the settings again for a reload. ``more_sinks`` get all events beside the sinks of the settings. ``on_page`` gets
    the address of the page, if there is one, when it is served.
    """
    updates: UpdateService | None = None
    if settings.update.group is None:
        models, sequence = make_models(settings), _event_counter(settings)
    else:
        sequence = _event_counter(settings)  # first: no second process of this node counts a crash
        updates, models = _models_in_use(settings, sequence)
    changed = threading.Condition()
    kept = None if sequence.folder is None else sequence.folder / f"{settings.node}.features.json"
    features = OverrideStore(kept, models.classifier.manifest.labels)
    maker = CameraMaker(models, sequence, changed, fail_fast=fail_fast)
    cameras = [maker.camera(settings, name, features[name]) for name in settings.cameras]
    page = None if settings.web is None else PageSink(settings.web, on_page)
    own = make_sinks(settings, models.classifier, models.detector, sequence)
    sinks = [*own, *([] if page is None else [page]), *more_sinks]
    max_rss = None if settings.max_rss is None else settings.max_rss * MIB
    daemon = Daemon(
        cameras, sinks, changed, sequence, heartbeat=settings.heartbeat, jitter=settings.jitter, max_rss=max_rss
    )
    channels = [sink for sink in sinks if isinstance(sink, ControlChannel)]
    more_info = dict if updates is None else updates.info
    control = Control(
        daemon, maker, settings, features, channels, load or (lambda: settings), _examination, page, more_info
    )
    control.begin()
    if updates is not None:
        updates.connect(daemon, control)
    if page is not None:
        page.connect(daemon, control)
    return daemon


def _event_counter(settings: Settings) -> EventCounter:
    return EventCounter(settings.state_path, settings.node)


def _models_in_use(settings: Settings, sequence: EventCounter) -> tuple[UpdateService, Models]:
    """What follows the orders for ``update.group``, and the models. Raises BackendUnavailable without PyNaCl."""
    try:
        with pynacl_for("update.group"):
            from edge_emotion.updates.service import UpdateService
        updates = UpdateService(settings)
        return updates, updates.models()
    except BaseException:
        sequence.close()
        raise


def _examination(settings: Settings) -> dict[str, Any]:
    """The answer to ``request/doctor``, plain JSON values."""
    return examine(settings).as_dict()
