"""Where the figures of a report come from: date, machine, versions, data, models."""

from __future__ import annotations

import os
import platform

from edge_emotion import __version__
from edge_emotion.system.processor import processor_name
from train.evaluation.comparison import Comparison
from train.reporting.tables import Table
from train.runs.run_directory import code_version, versions


def provenance(comparison: Comparison) -> Table:
    """Facts that a reader needs to measure the same again."""
    packages = ", ".join(f"{name} {number}" for name, number in versions().items())
    rows = [
        ["measured", comparison.measured.strftime("%Y-%m-%d %H:%M UTC")],
        ["machine", f"{processor_name()}, {os.cpu_count()} cores, {platform.system()} {platform.release()}"],
        ["program", f"edge-emotion {__version__}, commit {code_version()}"],
        ["versions", packages],
        ["data set", f"{comparison.dataset}, split {comparison.split}"],
        ["fingerprint of the split", f"sha256 {comparison.fingerprint}"],
        *([f"model {result.name}", result.origin] for result in comparison.results),
    ]
    return Table(["", "origin"], rows)
