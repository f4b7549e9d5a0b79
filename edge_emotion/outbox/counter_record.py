"""Where the event counter stands, as it is kept on the disk: twice, each copy with a checksum."""

from __future__ import annotations

import re
import zlib
from dataclasses import dataclass

from edge_emotion.system.clock import UNKNOWN

_PATTERN = r"([0-9]{1,15}) ([0-9]{1,15}) (open|closed) ([!-~]{1,40}) (-|[0-9]{1,15}) ([0-9]{1,15}) [0-9a-f]{8}\n"


@dataclass(frozen=True, slots=True)
class CounterRecord:
    """``last`` is the last number that any receiver can have seen, as of when this was written.

    ``reserved``: on the disk before any number up to it is shown. ``closed``: the counter has stopped, ``last`` is
    exact. ``boot`` of the machine in which it was written. ``mark`` and ``waiting``: highest number that the outbox
    has stored (None: none yet), and how many events wait there.
    """

    last: int
    reserved: int
    closed: bool = False
    boot: str = UNKNOWN
    mark: int | None = None
    waiting: int = 0

    def dump(self) -> str:
        """One line with a checksum."""
        mark = "-" if self.mark is None else self.mark
        state = "closed" if self.closed else "open"
        text = f"{self.last} {self.reserved} {state} {self.boot} {mark} {self.waiting}"
        return f"{text} {zlib.crc32(text.encode()):08x}\n"

    @classmethod
    def parse(cls, line: str) -> CounterRecord:
        """The inverse of ``dump``. Raises ValueError for anything else."""
        found = re.fullmatch(_PATTERN, line)
        if found is None:
            raise ValueError("not a record of the event counter")
        last, reserved, state, boot, mark, waiting = found.groups()
        record = cls(
            int(last), int(reserved), state == "closed", boot, None if mark == "-" else int(mark), int(waiting)
        )
        if record.dump() != line:
            raise ValueError("the checksum of the event counter differs")
        return record

    def is_exact(self, boot: str) -> bool:
        """True if ``last`` is the last number, provided that it was written with each number."""
        return self.closed or self.boot == boot != UNKNOWN


def last_used(table: CounterRecord | None, copy: CounterRecord | None, mark: int | None, boot: str) -> int:
    """Highest number that can have been seen, from what is left of the counter's two records.

    ``copy`` is written with each number, ``table`` when numbers are reserved, ``mark`` is the highest number that
    the outbox has stored. If the machine has been switched off since, only what was reserved is certain.
    """
    alive = copy is not None and copy.is_exact(boot) and not copy.closed
    candidates = [mark or 0]
    if copy is not None:
        candidates.append(copy.last if copy.is_exact(boot) else copy.reserved)
    if table is not None:
        candidates.append(table.last if alive or table.closed else table.reserved)
    return max(candidates)
