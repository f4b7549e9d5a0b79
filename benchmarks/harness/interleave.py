"""Interleaved measurement of several subjects, each in subprocesses: A B A B."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Mapping
from itertools import product
from typing import TypeVar

from benchmarks.harness.progress import draw_bar
from benchmarks.results.machine import CHECKOUT
from edge_emotion.errors import EdgeEmotionError

Outcome = TypeVar("Outcome")


def interleave(
    things: Mapping[str, Callable[[], Outcome]],
    rounds: int,
    absent: dict[str, str],
    show: Callable[[str], None],
    summary: Callable[[Outcome], str],
) -> dict[str, list[Outcome]]:
    """Run each of ``things`` once per round, so that disturbances of the machine meet all of them alike.

    A run that fails, or whose outcome is invalid, is not repeated; the reason goes to ``absent``. ``show`` gets one
    line per run, with the ``summary`` of its outcome. Returns name -> outcomes, one per round.
    """
    outcomes: dict[str, list[Outcome]] = {name: [] for name in things}
    for number, (turn, (name, run)) in enumerate(product(range(rounds), things.items())):
        draw_bar(name, number, rounds * len(things))
        if name in absent:
            continue
        try:
            outcome = run()
        except (EdgeEmotionError, OSError, ValueError) as error:  # pydantic's ValidationError is a ValueError
            absent[name] = " ".join(str(error).split())
            outcomes[name].clear()
            show(f"{name}: {absent[name]}")
            continue
        outcomes[name].append(outcome)
        show(f"round {turn + 1} of {rounds}: {name}: {summary(outcome)}")
    draw_bar("runs", rounds * len(things), rounds * len(things))
    return outcomes


def run_module(module: str, job: str, patience: float) -> str:
    """Run ``python -m module job`` in a subprocess of at most ``patience`` seconds; the last line that it prints.

    Raises EdgeEmotionError with the last line on stderr if it fails, or if it prints nothing or takes too long.
    """
    try:
        done = subprocess.run(
            [sys.executable, "-m", module, job], cwd=CHECKOUT, capture_output=True, text=True, timeout=patience
        )
    except subprocess.TimeoutExpired as error:
        raise EdgeEmotionError(f"not done after {patience:g} s") from error
    if done.returncode:
        last = "".join(done.stderr.strip().splitlines()[-1:])
        raise EdgeEmotionError(last.removeprefix("error: ") or f"its process has ended with {done.returncode}")
    if not done.stdout.strip():
        raise EdgeEmotionError("its process has ended without an answer")
    return done.stdout.strip().splitlines()[-1]
