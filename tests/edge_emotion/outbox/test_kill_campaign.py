"""SIGKILL at random moments: no number is given twice and no event is counted as lost.

``KILLS=1000`` makes it longer, ``SEED=7`` another one.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from support.paths import ROOT

KILLS = int(os.environ.get("KILLS", "40"))
SEED = int(os.environ.get("SEED", "1"))


@pytest.mark.parametrize("mode", ["alone", "outbox"])
def test_numbers_go_on_without_repetition_however_often_the_process_is_killed(mode: str, tmp_path: Path) -> None:
    program = ROOT / "tests" / "support" / "counting_process.py"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests")])}
    done = subprocess.run(
        [sys.executable, str(program), str(tmp_path / "state"), str(SEED), str(KILLS), mode],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60 + KILLS,
    )
    print(done.stdout)
    assert done.returncode == 0, done.stderr
