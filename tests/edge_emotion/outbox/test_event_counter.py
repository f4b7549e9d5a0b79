from __future__ import annotations

import logging
import os
import random
import resource
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from support.broker import wait_until
from support.node_state import FILES, NODE, copy_state, count, name_of, store

from edge_emotion.errors import ConfigError
from edge_emotion.outbox.counter_record import CounterRecord, last_used
from edge_emotion.outbox.event_counter import BLOCK, LARGEST_BLOCK, EventCounter
from edge_emotion.outbox.node_lock import read_copy

MakeCounter = Callable[..., EventCounter]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[MakeCounter]:
    made: list[EventCounter] = []

    def new(*, boot: str | None = None) -> EventCounter:
        """The counter of the next process, after the one before was killed: with a copy of the files it left."""
        folder = tmp_path / f"state{len(made)}"
        if made:
            copy_state(tmp_path / f"state{len(made) - 1}", folder)
        made.append(EventCounter(folder, NODE, boot))
        return made[-1]

    yield new
    for counter in made:
        counter.close()


def state(counter: EventCounter) -> Path:
    assert counter.folder is not None
    return counter.folder


@contextmanager
def full_disk(limit: int = 0) -> Iterator[None]:
    """No file of this process grows beyond ``limit`` bytes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def damage(path: Path, place: int = 3) -> None:
    data = bytearray(path.read_bytes())
    data[place] ^= 1
    path.write_bytes(data)


def test_after_a_kill_it_goes_on_with_the_next_number(make: MakeCounter) -> None:
    assert count(make(), 5) == 5
    assert count(make(), 500) == 505
    assert make()() == 506


def test_after_a_power_cut_it_goes_on_with_a_number_that_was_never_used(make: MakeCounter) -> None:
    assert count(make(), 5) == 5
    assert make(boot="another")() == BLOCK + 1


def test_a_machine_that_does_not_tell_its_boot_is_taken_for_switched_off(make: MakeCounter) -> None:
    count(make(boot="-"), 5)
    assert make(boot="-")() == BLOCK + 1


def test_no_number_is_shown_that_is_not_reserved_on_the_disk(
    make: MakeCounter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    on_disk = [0]
    sync = os.fsync

    def watched(handle: int) -> None:
        reserved = counter.store.counter.reserved if counter.store and counter.store.counter else 0
        sync(handle)
        if name_of(handle) == f"{NODE}.outbox.db-wal":
            on_disk[0] = max(on_disk[0], reserved)

    counter = make()
    assert counter.store is not None and counter.store.counter is not None
    on_disk[0] = counter.store.counter.reserved
    monkeypatch.setattr(os, "fsync", watched)
    for _ in range(3000):
        number = counter()
        counter.save()
        assert number <= on_disk[0]


def test_a_slow_stream_reserves_few_numbers_and_syncs_for_none_of_them(
    make: MakeCounter, monkeypatch: pytest.MonkeyPatch
) -> None:
    counter = make()
    synced: list[int] = []
    monkeypatch.setattr(os, "fsync", synced.append)
    count(counter, BLOCK // 2)
    assert counter.store is not None and counter.store.counter is not None
    assert counter.store.counter.reserved == BLOCK and synced == []


def test_a_clean_stop_is_exact_also_across_a_reboot(tmp_path: Path) -> None:
    first = EventCounter(tmp_path, NODE)
    count(first, 5)
    first.close()
    assert EventCounter(tmp_path, NODE, "another")() == 6


def test_a_clean_stop_leaves_one_file_of_the_outbox(tmp_path: Path) -> None:
    counter = EventCounter(tmp_path, NODE)
    count(counter, 5)
    counter.close()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["pi5.lock", "pi5.outbox.db"]
    assert all(path.stat().st_mode & 0o777 == 0o600 for path in tmp_path.iterdir())


def test_after_a_kill_the_outbox_tells_what_can_have_been_seen(make: MakeCounter) -> None:
    first = make()
    first.hand_over()
    assert count(first, 100) == 100
    store(first, *range(1, 98))  # three were on their way to it
    assert make()() == 98


def test_an_outbox_that_has_not_stored_anything_yet_leaves_the_count_where_it_was(make: MakeCounter) -> None:
    count(make(), 10)
    second = make()
    second.hand_over()
    count(second, 3)
    assert make()() == 11


def test_events_that_are_shown_elsewhere_count_before_the_outbox_has_stored_them(make: MakeCounter) -> None:
    first = make()
    first.shown_elsewhere = True
    first.hand_over()
    count(first, 20)
    store(first, *range(1, 11))
    assert make()() == 21


def test_when_the_outbox_is_lost_no_number_is_used_twice(
    make: MakeCounter, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    first = make()
    first.hand_over()
    count(first, 100)
    store(first, *range(1, 101), gone=tuple(range(1, 91)))
    for ending in FILES[1:]:
        (state(first) / f"{NODE}.{ending}").unlink()
    second = make()
    assert second() == 101
    assert second.store is not None and second.store.lost == 10 and "10 events" in caplog.text


def test_when_the_lock_file_is_lost_no_number_is_used_twice(make: MakeCounter) -> None:
    first = make()
    last = count(first, 10)
    (state(first) / f"{NODE}.lock").unlink()
    second = count(make(), 1)
    assert second > last
    assert make()() == second + 1


@pytest.mark.parametrize("content", [b"\0" * 160, b"9" * 160, b"\xff", b"12 64 open - - 0 00000000\n", b"7"])
def test_a_damaged_copy_is_logged_and_no_number_is_used_twice(
    content: bytes, make: MakeCounter, caplog: pytest.LogCaptureFixture
) -> None:
    first = make()
    last = count(first, 30)
    (state(first) / f"{NODE}.lock").write_bytes(content)
    assert make()() > last
    assert caplog.text.count("the event counter of node pi5 is damaged") == 1


def test_when_the_outbox_has_stopped_storing_the_counter_remembers_itself(make: MakeCounter) -> None:
    first = make()
    first.hand_over()
    count(first, 50)
    store(first, *range(1, 51))
    first.take_back()
    assert count(first, 10) == 60
    second = make()
    assert count(second, 1) == 61
    second.hand_over()
    count(second, 5)
    store(second, 62)
    assert make()() == 63


def test_a_power_cut_never_rewinds_to_what_the_outbox_knows(make: MakeCounter) -> None:
    first = make()
    first.hand_over()
    last = count(first, 100)
    store(first, *range(1, 21))
    assert make(boot="another")() > last


@pytest.mark.parametrize("seed", range(30))
def test_after_a_simulated_power_cut_no_number_is_used_twice(
    seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of each file the disk has what was there at its last sync, what is there now, or something between."""
    draw = random.Random(seed)
    print("seed", seed)
    before = tmp_path / "before"
    counter = EventCounter(before, NODE)
    synced = {ending: (before / f"{NODE}.{ending}").read_bytes() for ending in FILES}
    sync = os.fsync

    def watched(handle: int) -> None:
        content = (before / name_of(handle)).read_bytes() if name_of(handle) != "before" else b""
        sync(handle)
        synced[name_of(handle).removeprefix(f"{NODE}.")] = content

    monkeypatch.setattr(os, "fsync", watched)
    if outbox := draw.random() < 0.5:
        counter.hand_over()
    last = 0
    for _ in range(draw.randint(1, 20)):
        last = count(counter, draw.randint(1, 30))
        if outbox:
            store(counter, last)
            time.sleep(draw.choice((0, 0.002)))
    monkeypatch.undo()
    after = tmp_path / "after"
    now = copy_state(before, tmp_path / "now")
    after.mkdir()
    for ending in FILES:
        old, new = synced[ending], (now / f"{NODE}.{ending}").read_bytes()
        cut = draw.randint(min(len(old), len(new)), len(new))
        between = new[:cut] if ending == "outbox.db-wal" else draw.choice((old, new))
        (after / f"{NODE}.{ending}").write_bytes(draw.choice((old, between)) if ending != "outbox.db" else new)
    following = EventCounter(after, NODE, "another")
    assert last < following() <= last + LARGEST_BLOCK * 2
    counter.close()
    following.close()


def test_a_full_disk_is_said_once_and_the_counter_stays_in_memory(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with full_disk():
        counter = EventCounter(tmp_path, NODE)
        assert count(counter, 300) == 300
        counter.close()
    assert counter.folder is None and counter.store is None
    assert len(caplog.records) == 1 and "kept in memory only" in caplog.text


def test_without_room_it_goes_on_after_what_is_known_and_with_room_again_too(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    first = EventCounter(tmp_path, NODE)
    count(first, 5)
    first.close()
    with full_disk():
        second = EventCounter(tmp_path, NODE)
        assert count(second, 1) == 6 and second.folder is None
        second.close()
    assert EventCounter(tmp_path, NODE)() >= 6


def test_a_counter_that_cannot_be_saved_goes_on_and_says_so_once(
    make: MakeCounter, caplog: pytest.LogCaptureFixture
) -> None:
    counter = make()
    with full_disk():
        assert count(counter, 300) == 300
        wait_until(lambda: "cannot save the event counter" in caplog.text)
    assert caplog.text.count("cannot save the event counter") == 1
    assert count(counter, 1) == 301
    assert make()() == 302


def test_without_a_folder_it_counts_in_memory() -> None:
    counter = EventCounter(None)
    assert count(counter, 200) == 200 and counter.folder is None and counter.store is None
    counter.close()


def write_old(folder: Path, text: str) -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / f"{NODE}.seq"
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("4711\n", 4712),
        ("4711 4800 closed another", 4712),
        ("4711 4800 closed this", 4712),
        ("4711 4800 here this", 4712),
        ("4711 4800 here another", 4801),
        ("4711 4800 outbox this", 4801),  # its outbox is not there any more
        ("4711 4800 outbox another", 4801),
        ("4711 4800 here -", 4801),
    ],
)
def test_the_counter_of_an_older_version_is_taken_over_once(text: str, expected: int, tmp_path: Path) -> None:
    path = write_old(tmp_path, text.ljust(128))
    first = EventCounter(tmp_path, NODE, "this")
    assert first() == expected and not path.exists()
    first.save()
    first.close()
    second = EventCounter(tmp_path, NODE, "this")
    assert second() == expected + 1
    second.close()


def test_an_old_counter_that_is_put_back_never_sets_the_numbers_back(tmp_path: Path) -> None:
    counter = EventCounter(tmp_path, NODE)
    count(counter, 50)
    counter.close()
    path = write_old(tmp_path, "7\n")
    again = EventCounter(tmp_path, NODE)
    assert again() == 51 and not path.exists()
    again.close()


def test_a_kill_while_an_old_counter_is_taken_over_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At each sync: what the next process finds."""
    first = tmp_path / "first"
    write_old(first, "4711 4800 here this")
    found: list[Path] = []
    sync = os.fsync

    def watched(handle: int) -> None:
        sync(handle)
        found.append(copy_state(first, tmp_path / f"found{len(found)}"))

    monkeypatch.setattr(os, "fsync", watched)
    counter = EventCounter(first, NODE, "this")
    monkeypatch.undo()
    assert len(found) >= 3
    for folder in found:
        following = EventCounter(folder, NODE, "this")
        assert following() == 4712
        following.close()
    counter.close()


@pytest.mark.parametrize("text", ["", "-5", "1.5", "many", "4711 4800 nobody this", "4711 4800"])
def test_a_damaged_counter_of_an_older_version_is_kept_aside_and_said(
    text: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = write_old(tmp_path, text)
    counter = EventCounter(tmp_path, NODE)
    assert counter() == 1
    assert caplog.text.count("damaged") == 1
    assert path.with_name("pi5.seq.damaged").read_text() == text and not path.exists()
    counter.close()


def test_when_both_records_are_damaged_it_goes_on_after_what_the_outbox_knows(
    make: MakeCounter, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    first = make()
    first.hand_over()
    last = count(first, 50)
    store(first, *range(1, 51))
    first.close()
    damage(tmp_path / "state0" / f"{NODE}.lock")
    database = tmp_path / "state0" / f"{NODE}.outbox.db"
    damage(database, database.read_bytes().index(b" closed ") - 1)
    assert make()() > last
    assert caplog.text.count("the event counter of node pi5 is damaged") == 1


def test_a_state_directory_deleted_while_running_is_said_and_made_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "state"
    counter = EventCounter(folder, NODE)
    count(counter, 5)
    shutil.rmtree(folder)

    def is_back() -> bool:
        count(counter, 1)
        return (folder / f"{NODE}.outbox.db").exists()

    wait_until(is_back)
    last = count(counter, 3)
    assert caplog.text.count("deleted while it was in use") == 1
    assert folder.stat().st_mode & 0o777 == 0o700
    counter.close()
    following = EventCounter(folder, NODE)
    assert following() == last + 1
    following.close()


@pytest.mark.parametrize("ending", ["lock", "outbox.db", "outbox.db-wal", "outbox.db-journal", "seq"])
def test_a_symbolic_link_in_the_state_directory_is_not_followed(ending: str, tmp_path: Path) -> None:
    folder, other = tmp_path / "state", tmp_path / "other"
    folder.mkdir()
    other.write_text("4711\n")
    other.chmod(0o644)
    (folder / f"{NODE}.{ending}").symlink_to(other)
    counter = EventCounter(folder, NODE)
    assert count(counter, 3) == 3
    counter.close()
    assert other.read_text() == "4711\n" and other.stat().st_mode & 0o777 == 0o644
    assert not any(path.is_symlink() and not path.name.endswith(".damaged") for path in folder.iterdir())


def test_no_folder_and_no_file_can_be_written_by_others_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        counter = EventCounter(tmp_path / "above" / "state", NODE)
        counter.hand_over()
        count(counter, 3)
        store(counter, 1, 2, 3)
    finally:
        os.umask(before)
    assert (tmp_path / "above").stat().st_mode & 0o777 == 0o755
    assert (tmp_path / "above" / "state").stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in (tmp_path / "above" / "state").iterdir()} == {0o600}
    counter.close()


def test_a_second_process_of_the_node_is_refused_and_changes_nothing(tmp_path: Path) -> None:
    first = EventCounter(tmp_path, NODE)
    count(first, 3)
    with pytest.raises(ConfigError, match="another daemon runs as node 'pi5'"):
        EventCounter(tmp_path, NODE)
    assert read_copy(tmp_path / f"{NODE}.lock") == CounterRecord(3, BLOCK, boot=boot_of(tmp_path))
    first.close()


def boot_of(folder: Path) -> str:
    record = read_copy(folder / f"{NODE}.lock")
    assert record is not None
    return record.boot


@pytest.mark.parametrize(
    ("table", "copy", "mark", "expected"),
    [
        (None, None, None, 0),
        (CounterRecord(5, 5, closed=True), CounterRecord(5, 5, closed=True), 5, 5),
        (CounterRecord(5, 69, boot="this"), CounterRecord(9, 69, boot="this"), None, 9),
        (CounterRecord(5, 69, boot="this"), CounterRecord(9, 69, boot="this"), 10, 10),  # killed between the two
        (CounterRecord(5, 69, boot="before"), CounterRecord(9, 69, boot="before"), None, 69),
        (CounterRecord(5, 69, boot="this"), None, None, 69),
        (None, CounterRecord(9, 69, boot="this"), None, 9),
        (None, CounterRecord(9, 69, boot="before"), None, 69),
        (CounterRecord(5, 5, closed=True), CounterRecord(9, 69, boot="this"), None, 9),  # the end of the log is hidden
        (CounterRecord(5, 69, boot="before"), CounterRecord(5, 5, closed=True), None, 69),  # not synced at the start
        (None, None, 44, 44),
    ],
)
def test_the_last_number_is_told_by_whatever_is_left_of_the_records(
    table: CounterRecord | None, copy: CounterRecord | None, mark: int | None, expected: int
) -> None:
    assert last_used(table, copy, mark, "this") == expected


def test_a_record_is_what_was_written_or_refused() -> None:
    record = CounterRecord(4711, 4800, boot="b-7", mark=4700, waiting=3)
    line = record.dump()
    assert CounterRecord.parse(line) == record
    for bit in range(8 * len(line)):
        data = bytearray(line.encode())
        data[bit // 8] ^= 1 << bit % 8
        with pytest.raises(ValueError, match="event counter"):
            CounterRecord.parse(data.decode("latin-1"))


@pytest.fixture(autouse=True)
def _level(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
