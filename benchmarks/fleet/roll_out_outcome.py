"""What roll-outs have shown, and what of it is not as it should be."""

from __future__ import annotations

from dataclasses import dataclass

from edge_emotion.errors import RollOutStopped


@dataclass(frozen=True)
class Wave:
    """``seconds`` from the order until all of its nodes were finished."""

    percent: float
    nodes: int
    seconds: float


@dataclass(frozen=True)
class RolledOut:
    """One command, and the simulated nodes and real daemons with its release afterwards."""

    code: int
    seconds: float
    waves: tuple[Wave, ...]
    touched: int
    """Nodes that have used the release."""
    using: int
    """Nodes that use it still."""
    real_touched: int
    """The same of real daemons, during this command."""
    real_using: int
    real_refused: int
    """Real daemons that refused it: it failed its self-test there."""
    real_returned: int


@dataclass(frozen=True)
class RollOutOutcome:
    """The three commands, and what the simulated nodes did with forged and old orders."""

    nodes: int
    daemons: int
    first_wave: int
    """Of nodes and daemons, for the bad release."""
    connecting: float
    bad: RolledOut
    good: RolledOut
    back: RolledOut
    """The good release aborted."""
    forged_refused: int
    old_refused: int
    broker_peak: float
    simulator_cpu: float

    @property
    def faults(self) -> list[str]:
        """What is not as it should be."""
        kept = {
            "the bad release did not end with code 13": self.bad.code == RollOutStopped.exit_code,
            "the bad release went beyond the first wave": self.bad.touched + self.bad.real_refused <= self.first_wave,
            "the bad release was used by a real daemon": self.bad.real_touched == 0,
            "a node still uses the bad release": self.bad.using + self.bad.real_using == 0,
            "the good release did not end with code 0": self.good.code == 0,
            "a node does not use the good release": (self.good.using, self.good.real_using) == self._all,
            "a node did not refuse a forged order": self.forged_refused == self.nodes,
            "a node did not refuse an old order": self.old_refused == self.nodes,
            "the abort did not end with code 0": self.back.code == 0,
            "a node still uses the aborted release": self.back.using + self.back.real_using == 0,
        }
        return [text for text, held in kept.items() if not held]

    @property
    def _all(self) -> tuple[int, int]:
        return self.nodes, self.daemons
