"""``edge-emotion doctor``: looks at everything that the daemon needs, and says how to mend what is wrong."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from edge_emotion.config import ClassifierSettings, DetectorSettings, Settings
from edge_emotion.doctor_broker import broker
from edge_emotion.doctor_camera import camera_check
from edge_emotion.doctor_models import classifier, detector
from edge_emotion.doctor_report import Check, Finding, Report, run_checks
from edge_emotion.doctor_state import daemon_runs, state
from edge_emotion.doctor_system import clock, is_jetson, jetson, opencv, packages, python, temperature, throttling
from edge_emotion.errors import ConfigError
from edge_emotion.layers import load

EXIT_FAIL = 9
"""What the command returns if anything fails."""

_PROGRAM = "install the program again: sudo deploy/install.sh, or pip install --force-reinstall edge-emotion"


def examine(settings: Settings) -> Report:
    """Look at everything; also while the daemon runs, whose cameras and connection are left alone.

    Takes as long as the slowest check: seconds, and a minute beyond the longest time-out of a camera if all hangs.
    Never raises.
    """
    return Report(dict(run_checks(checks(settings))))


def doctor(file: Path | None, overrides: Mapping[str, Any], *, as_json: bool) -> int:
    """Examine and print; 0, or EXIT_FAIL if anything fails. Wrong settings are a finding, and the rest is examined."""
    settings, findings = None, {}
    try:
        settings = load(file, overrides)
    except ConfigError as error:
        findings["settings"] = Finding("fail", str(error), "correct it; edge-emotion check-config shows what is read")
    else:
        findings["settings"] = Finding("ok", f"node {settings.node}, cameras: {', '.join(settings.cameras)}")
    if not as_json:
        print(_line("settings", findings["settings"]), flush=True)
    for name, finding in run_checks(checks(settings)):
        findings[name] = finding
        if not as_json:
            print(_line(name, finding), flush=True)
    report = Report(findings)
    print(json.dumps(report.as_dict(), indent=2) if as_json else _summary(report))
    return EXIT_FAIL if report.status == "fail" else 0


def checks(settings: Settings | None) -> Sequence[Check]:
    """What there is to look at; without settings the machine and the default models."""
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
    found += [camera_check(name, camera, in_use=in_use) for name, camera in settings.cameras.items()]
    if settings.mqtt is not None:
        look, fix = partial(broker, settings.mqtt, settings.node), "correct the file that it names, or its rights"
        found.append(Check("broker", look, fix))
    return found


def _line(name: str, finding: Finding) -> str:
    text = f"{finding.status:4}  {name:12}  {finding.detail}"
    return f"{text}\n{'':20}fix: {finding.fix}" if finding.fix else text


def _summary(report: Report) -> str:
    return ", ".join(f"{report.count(status)} {status}" for status in ("ok", "warn", "fail"))
