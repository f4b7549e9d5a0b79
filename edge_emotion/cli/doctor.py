"""``edge-emotion doctor``: runs the checks and prints their findings."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edge_emotion.config.loader import environment_settings, load
from edge_emotion.doctor.examination import checks
from edge_emotion.doctor.report import Finding, Report, run_checks
from edge_emotion.errors import ConfigError

EXIT_FAIL = 9
"""Exit code if any check fails."""


def doctor(file: Path | None, overrides: Mapping[str, Any], *, as_json: bool) -> int:
    """Examine and print; 0, or EXIT_FAIL if anything fails. Wrong settings are a finding, and the rest is examined."""
    settings, findings = None, {}
    try:
        settings = load(file, overrides)
    except ConfigError as error:
        findings["settings"] = (
            Finding("fail", str(error), "correct it; edge-emotion check-config shows what is read")
            if file or overrides or environment_settings()
            else Finding("warn", "none given: cameras and broker are not examined", "add -c FILE, or --source 0")
        )
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


def _line(name: str, finding: Finding) -> str:
    text = f"{finding.status:4}  {name:12}  {finding.detail}"
    return f"{text}\n{'':20}fix: {finding.fix}" if finding.fix else text


def _summary(report: Report) -> str:
    return ", ".join(f"{report.count(status)} {status}" for status in ("ok", "warn", "fail"))
