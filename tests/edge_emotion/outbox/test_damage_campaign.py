"""One flipped bit anywhere in the files of the outbox: no number is given twice, every loss is logged and counted.

``FLIPS=20000`` makes it longer, ``SEED=7`` another one.
"""

from __future__ import annotations

import logging
import os
import random
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from support.node_state import FILES, NODE, copy_state, count, entry, store

from edge_emotion.outbox.event_counter import BLOCK, EventCounter
from edge_emotion.outbox.outbox import Entry

FLIPS = int(os.environ.get("FLIPS", "48"))
SEED = int(os.environ.get("SEED", "1"))
LAST = 90


@dataclass(frozen=True)
class Left:
    """What a process has left behind: its files, and the events that wait in them."""

    folder: Path
    waiting: frozenset[int]


@pytest.fixture(params=["killed", "killed, written to the database", "stopped"])
def left(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Left]:
    """``LAST`` numbers shown; all but the newest thirty events and some between them have gone."""
    counter = EventCounter(tmp_path / "first", NODE)
    counter.hand_over()
    for seq in range(1, LAST + 1):
        count(counter, 1)
        store(counter, seq, gone=(seq - 30,) if seq > 30 else ())
        if "database" in request.param and seq == 60:
            counter.close()
            counter = EventCounter(tmp_path / "first", NODE)
            counter.hand_over()
    store(counter, gone=(70, 75))
    if request.param == "stopped":
        counter.close()
    yield Left(copy_state(tmp_path / "first", tmp_path / "left"), frozenset(range(61, LAST + 1)) - {70, 75})
    counter.close()


def flip(file: Path, bit: int) -> None:
    data = bytearray(file.read_bytes())
    data[bit // 8] ^= 1 << bit % 8
    file.write_bytes(data)


def places(folder: Path, draw: random.Random) -> Iterator[tuple[str, int]]:
    """File and bit, from every region of every file: as many as ``FLIPS``, evenly spread with a random offset."""
    files = [name for name in (f"{NODE}.{ending}" for ending in FILES) if (folder / name).exists()]
    for name in files:
        bits = 8 * (folder / name).stat().st_size
        step = max(1, bits * len(files) // FLIPS)
        for begin in range(0, bits, step):
            yield name, min(bits - 1, begin + draw.randrange(step))


def true_event(found: Entry) -> bool:
    made = entry(found.number)
    return (found.camera, found.payload) == (made.camera, made.payload) and 1 <= found.number <= LAST


def test_after_one_flipped_bit_no_number_is_given_twice_and_every_loss_is_counted(
    left: Left, tmp_path: Path, caplog: pytest.LogCaptureFixture, record_property: Callable[[str, object], None]
) -> None:
    print("seed", SEED)
    caplog.set_level(logging.WARNING)
    tried = lossy = lost = skipped = 0
    for name, bit in places(left.folder, random.Random(SEED)):
        where = f"seed {SEED}, {name}, bit {bit}"
        caplog.clear()
        folder = copy_state(left.folder, tmp_path / "flipped")
        flip(folder / name, bit)
        counter = EventCounter(folder, NODE)
        file = counter.store
        assert file is not None, where
        found = file.open()
        assert all(map(true_event, found)), where
        missing = left.waiting - {each.number for each in found}
        assert file.lost >= len(missing), f"{where}: {sorted(missing)} are missing, {file.lost} counted"
        assert caplog.text or not missing, where
        first = counter()
        assert LAST < first <= LAST + 2 * BLOCK, f"{where}: {first}"
        assert caplog.text or first == LAST + 1, where
        check_that_it_goes_on(counter, found, first, where)
        shutil.rmtree(folder)
        tried, lossy, lost, skipped = tried + 1, lossy + bool(missing), lost + len(missing), skipped + first - LAST - 1
    figures = {"flips": tried, "with losses": lossy, "events lost": lost, "numbers skipped": skipped}
    record_property("figures", figures)
    print(figures)
    assert tried >= FLIPS / 2 and lossy


def check_that_it_goes_on(counter: EventCounter, found: list[Entry], first: int, where: str) -> None:
    """The mended files take new events, and the process after that finds them."""
    assert counter.folder is not None and counter.store is not None
    counter.save()
    counter.hand_over()
    place = found[-1].number + 1 if found else 0
    counter.store.write([entry(first, place)], [])
    counter.close()
    following = EventCounter(counter.folder, NODE)
    assert following.store is not None
    assert following() == first + 1, where
    assert [each.number for each in following.store.open()] == [*(each.number for each in found), place], where
    assert following.store.lost == 0, where
    following.close()


@pytest.mark.parametrize("seed", range(20))
def test_after_heavy_damage_it_starts_and_only_true_events_come_out(seed: int, left: Left, tmp_path: Path) -> None:
    """Many bytes in one file, or a cut end; the other files are whole."""
    draw = random.Random(seed)
    print("seed", seed)
    folder = copy_state(left.folder, tmp_path / "damaged")
    victim = draw.choice([folder / f"{NODE}.{ending}" for ending in FILES if (folder / f"{NODE}.{ending}").exists()])
    data = bytearray(victim.read_bytes())
    for _ in range(draw.randint(0, 200)):
        data[draw.randrange(len(data))] = draw.randrange(256)
    victim.write_bytes(data[: draw.choice((len(data), draw.randrange(len(data) + 1)))])
    counter = EventCounter(folder, NODE)
    assert counter.store is not None
    found = counter.store.open()
    assert all(map(true_event, found))
    assert counter.store.lost >= len(left.waiting - {each.number for each in found}) or victim.suffix == ".lock"
    assert counter() > LAST
    counter.close()
