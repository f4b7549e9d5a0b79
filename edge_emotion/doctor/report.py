"""What an examination says: findings, and how checks are run so that none of them raises or hangs."""

from __future__ import annotations

import queue
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from edge_emotion import __version__
from edge_emotion.config.source_spec import redact
from edge_emotion.errors import EdgeEmotionError

Status = Literal["ok", "warn", "fail"]
_SEVERITY: tuple[Status, ...] = ("ok", "warn", "fail")


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check has found, and what to do about it; ``fix`` is empty where all is well."""

    status: Status
    detail: str
    fix: str = ""


@dataclass(frozen=True, slots=True)
class Check:
    """One thing to look at: ``look`` gives a finding within ``limit`` seconds, or raises EdgeEmotionError or OSError.

    ``fix`` is what to do about such an error.
    """

    name: str
    look: Callable[[], Finding]
    fix: str = "please report this"
    limit: float = 60.0


@dataclass(frozen=True, slots=True)
class Report:
    """Findings by the name of their check, in the order in which they are shown."""

    findings: Mapping[str, Finding]

    @property
    def status(self) -> Status:
        """The worst of all."""
        return max((finding.status for finding in self.findings.values()), key=_SEVERITY.index, default="ok")

    def count(self, status: Status) -> int:
        """How many findings have this status."""
        return sum(finding.status == status for finding in self.findings.values())

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON values, without credentials."""
        checks = [
            {"name": name, "status": finding.status, "detail": finding.detail, "fix": finding.fix or None}
            for name, finding in self.findings.items()
        ]
        return {"schema": 1, "version": __version__, "status": self.status, "checks": checks}


def run_checks(checks: Sequence[Check]) -> Iterator[tuple[str, Finding]]:
    """All at once, each in a thread of its own; gives names and findings in the order of ``checks``.

    A check that is not done after its limit is left behind and counts as failed.
    """
    start = time.monotonic()
    answers = [_start(check) for check in checks]
    for check, answer in zip(checks, answers, strict=True):
        try:
            finding = answer.get(timeout=max(0.0, start + check.limit - time.monotonic()))
        except queue.Empty:
            finding = Finding("fail", f"no answer within {check.limit:g} s", check.fix)
        yield check.name, finding


def _start(check: Check) -> queue.SimpleQueue[Finding]:
    answer: queue.SimpleQueue[Finding] = queue.SimpleQueue()
    threading.Thread(target=lambda: answer.put(_look(check)), name=f"doctor {check.name}", daemon=True).start()
    return answer


def _look(check: Check) -> Finding:
    try:
        return check.look()
    except EdgeEmotionError as error:
        return Finding("fail", str(error), check.fix)
    except OSError as error:
        place = "" if error.filename is None else f"{redact(error.filename)}: "
        return Finding("fail", f"{place}{error.strerror or type(error).__name__}", check.fix)
    except Exception as error:  # noqa: BLE001 - one check that is wrong must not hide the others
        # Not the message: nobody has made sure that it holds no secret.
        last = traceback.extract_tb(error.__traceback__)[-1]
        where = f"{Path(last.filename).name} line {last.lineno}"
        return Finding("fail", f"the check itself failed: {type(error).__name__} in {where}", "please report this")
