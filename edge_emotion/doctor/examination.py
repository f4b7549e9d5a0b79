"""``edge-emotion doctor``: checks everything that the daemon needs, and explains how to fix what is wrong."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from edge_emotion.config.settings import ClassifierSettings, DetectorSettings, Settings
from edge_emotion.doctor.broker import broker
from edge_emotion.doctor.camera import camera_check
from edge_emotion.doctor.delivery import delivery
from edge_emotion.doctor.machine import clock, is_jetson, jetson, opencv, packages, python, temperature, throttling
from edge_emotion.doctor.models import classifier, detector
from edge_emotion.doctor.page import page
from edge_emotion.doctor.report import Check, Report, run_checks
from edge_emotion.doctor.state_dir import daemon_runs, state

_PROGRAM = "install the program again: sudo deploy/install.sh, or pip install --force-reinstall edge-emotion"


def examine(settings: Settings) -> Report:
    """Look at everything; also while the daemon runs, whose cameras and connection are left alone.

    Takes as long as the slowest check: seconds, and a minute beyond the longest time-out of a camera if all hangs.
    Never raises.
    """
    return Report(dict(run_checks(checks(settings))))


def checks(settings: Settings | None) -> Sequence[Check]:
    """All checks; without settings those of the machine and the default models."""
    found = DetectorSettings() if settings is None else settings.detector
    judged = ClassifierSettings() if settings is None else settings.classifier
    machine = [
        Check("python", python, _PROGRAM),
        Check("packages", packages, _PROGRAM),
        Check("opencv", opencv, _PROGRAM),
        Check("detector", partial(detector, found), f"correct detector.model, or {_PROGRAM}"),
        Check("classifier", partial(classifier, judged), f"correct classifier.*, or {_PROGRAM}"),
        Check("clock", clock),
        Check("temperature", temperature),
        Check("throttling", throttling),
    ]
    if is_jetson():
        machine.append(Check("jetson", jetson))
    return machine if settings is None else [*machine, *_configured(settings)]


def _configured(settings: Settings) -> list[Check]:
    in_use = daemon_runs(settings)
    found = [Check("state", partial(state, settings), "set state_dir to a folder that this user can reach")]
    found += [
        camera_check(name, camera, min_size=settings.detector.min_size, in_use=in_use)
        for name, camera in settings.cameras.items()
    ]
    if settings.mqtt is not None:
        look, fix = partial(broker, settings.mqtt, settings.node), "correct the file that it names, or its rights"
        found.append(Check("broker", look, fix))
        if in_use:
            found.append(Check("delivery", partial(delivery, settings, settings.mqtt), fix))
    if settings.web is not None:
        fix = "correct the file that it names, or its rights"
        found.append(Check("page", partial(page, settings.web, in_use=in_use), fix))
    return found
