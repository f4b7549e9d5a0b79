"""Things that are measured in processes of their own, in turns: A B A B."""

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


def in_turns(
    things: Mapping[str, Callable[[], Outcome]],
    rounds: int,
    absent: dict[str, str],
    show: Callable[[str], None],
    gist: Callable[[Outcome], str],
) -> dict[str, list[Outcome]]:
    """Run each thing once in each round, so that whatever else the machine does meets all of them.

    One that fails, or gives what is no outcome, is run no more, and ``absent`` says why. ``show`` gets a line for each
    run, with its ``gist``.
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
        show(f"round {turn + 1} of {rounds}: {name}: {gist(outcome)}")
    draw_bar("runs", rounds * len(things), rounds * len(things))
    return outcomes


def ask(module: str, job: str, patience: float) -> str:
    """The last line that ``python -m module job`` prints, a process of its own, within ``patience`` seconds.

    Raises EdgeEmotionError with that process' last words.
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
