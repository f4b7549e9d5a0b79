"""What tests compile for themselves, by the C compiler that `make test` installs."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest


def compile_c(source: str, target: Path, *options: str) -> Path:
    """Compile C to a program, or by ``options`` to a library; returns ``target``."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("needs a C compiler: apt install gcc libc6-dev")
    file = target.with_suffix(".c")
    file.write_text(source, encoding="utf-8")
    subprocess.run([compiler, *options, "-o", target, file], check=True, timeout=60)
    return target
