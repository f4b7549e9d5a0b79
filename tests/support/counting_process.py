"""A process that counts and is killed, over and over: what it has shown must never be shown again.

    python counting_process.py FOLDER SEED KILLS MODE

MODE is ``alone`` (a number may be seen as soon as it is saved) or ``outbox`` (as soon as its event is stored). Prints
one line with what was done, or ends with an AssertionError.
"""

from __future__ import annotations

import logging
import os
import random
import signal
import sys
import time
from pathlib import Path

from edge_emotion.outbox.event_counter import EventCounter
from support.node_state import NODE, entry


def show_numbers(folder: Path, mode: str, output: int, draw: random.Random) -> None:
    """Show numbers for ever, one on each line of ``output``."""
    counter = EventCounter(folder, NODE)
    store = counter.store
    assert store is not None
    waiting = [each.number for each in store.open()]
    place = waiting[-1] + 1 if waiting else 0
    if mode == "outbox":
        counter.hand_over()
    while True:
        number = counter()
        counter.save()
        if mode == "outbox":
            gone = [waiting.pop(0) for _ in range(draw.randint(0, 2)) if waiting]
            store.write([entry(number, place)], gone)
            waiting.append(place)
            place += 1
            if draw.random() < 0.2 and waiting:
                store.write([], [waiting.pop(0)])
        os.write(output, b"%d\n" % number)


def life(folder: Path, mode: str, seed: int) -> list[int]:
    """Start, kill at a random moment, and return the numbers that were shown."""
    draw = random.Random(seed)
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            show_numbers(folder, mode, writer, draw)
        finally:
            os._exit(1)
    os.close(writer)
    data = os.read(reader, 65_536) if draw.random() < 0.8 else b""  # otherwise it is killed while it starts
    time.sleep(draw.choice((0.0, draw.random() * 0.003, draw.random() * 0.03)))
    os.kill(child, signal.SIGKILL)
    while more := os.read(reader, 65_536):
        data += more
    os.close(reader)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status), f"seed {seed}: the process has failed"
    return [int(line) for line in data.splitlines()]


def main(folder: Path, seed: int, kills: int, mode: str) -> None:
    lost: list[str] = []
    handler = logging.Handler(logging.WARNING)
    handler.emit = lambda record: lost.append(record.getMessage())  # type: ignore[method-assign]
    logging.getLogger().addHandler(handler)
    last = unseen = 0
    for number in range(kills):
        shown = life(folder, mode, seed * 100_000 + number)
        if shown:
            assert shown == list(range(shown[0], shown[0] + len(shown))), f"seed {seed}, kill {number}: {shown}"
            assert last < shown[0] <= last + 1 + unseen, f"seed {seed}, kill {number}: {shown[0]} after {last}"
            last, unseen = shown[-1], 0
        unseen += 1  # the very last number may have been saved and not shown any more
    counter = EventCounter(folder, NODE)
    following = counter()
    assert counter.store is not None
    assert last < following <= last + 1 + unseen, f"seed {seed}: {following} after {last}"
    assert not counter.store.lost and not lost, f"seed {seed}: {lost}"
    counter.close()
    print(f"seed {seed}: {kills} kills, {last} numbers shown, the next one is {following}")


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4])
