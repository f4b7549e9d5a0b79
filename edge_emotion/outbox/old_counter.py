"""The event counter of versions before 1.1, ``<node>.seq``, which is taken over once."""

from __future__ import annotations

import re
from pathlib import Path

from edge_emotion.system.clock import UNKNOWN

_LENGTH = 128


def read_old_counter(path: Path, mark: int | None, boot: str) -> int | None:
    """Highest number that can have been seen as of ``path``; None if there is no such file.

    ``mark`` is the highest number in the outbox. Version 1.0 wrote the last number; its successors ``last reserved
    keeper boot``, in which ``keeper`` is how exact ``last`` is: ``closed`` (the counter had stopped), ``here`` (if
    the machine has not been switched off since), ``outbox`` (at least this; the outbox has the exact one).
    Raises ValueError if the file is damaged, OSError.
    """
    try:
        fields = path.read_bytes()[:_LENGTH].decode("utf-8", "replace").split()
    except FileNotFoundError:
        return None
    numbers = [int(field) for field in fields[:2] if re.fullmatch("[0-9]{1,15}", field)]
    if len(fields) == len(numbers) == 1:
        return numbers[0]
    if len(fields) != 4 or len(numbers) != 2 or fields[2] not in ("closed", "here", "outbox"):
        raise ValueError("not an event counter")
    (last, reserved), keeper, alive = numbers, fields[2], fields[3] == boot != UNKNOWN
    if keeper == "closed" or (keeper == "here" and alive):
        return last
    if keeper == "outbox" and alive and mark is not None:
        return max(last, mark)
    return reserved
