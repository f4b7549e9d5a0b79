from __future__ import annotations

import os
import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from edge_emotion.outbox.event_counter import BLOCK, Sequence


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Callable[..., Sequence]]:
    made: list[Sequence] = []

    def new(*, die: bool = True) -> Sequence:
        """The counter of the next process; the one before is killed, so that it writes nothing more."""
        if made and die and made[-1]._claim is not None and made[-1]._file is not None:
            made[-1]._wait_for_extender()
            made[-1]._claim.close()
            made[-1]._file.close()
            made[-1]._file = None
        made.append(Sequence(tmp_path, "pi5"))
        return made[-1]

    yield new
    for sequence in made:
        sequence.close()


def count(sequence: Sequence, numbers: int) -> int:
    """Show some numbers; returns the last one."""
    last = 0
    for _ in range(numbers):
        last = sequence()
        sequence.save()
    return last


def reboot(folder: Path) -> None:
    path = folder / "pi5.seq"
    fields = path.read_text().split()
    path.write_text(" ".join([*fields[:3], "another-boot"]))


@contextmanager
def full_disk(limit: int = 0) -> Iterator[None]:
    """No file of this process grows beyond ``limit`` bytes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_after_a_kill_it_goes_on_with_the_next_number(make: Callable[..., Sequence]) -> None:
    assert count(make(), 5) == 5
    assert count(make(), 500) == 505
    assert make()() == 506


def test_after_a_power_cut_it_goes_on_with_a_number_that_was_never_used(
    make: Callable[..., Sequence], tmp_path: Path
) -> None:
    first = make()
    assert count(first, 5) == 5
    first._wait_for_extender()
    reboot(tmp_path)
    assert make()() == BLOCK + 1


def test_no_number_is_shown_that_is_not_reserved_on_the_disk(
    make: Callable[..., Sequence], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    on_disk = [0]
    sync = os.fsync

    def watched(handle: int) -> None:
        content = (tmp_path / "pi5.seq").read_text()
        sync(handle)
        on_disk[0] = int(content.split()[1])

    monkeypatch.setattr(os, "fsync", watched)
    sequence = make()
    for _ in range(3000):
        number = sequence()
        sequence.save()
        assert number <= on_disk[0]


def test_a_slow_stream_reserves_few_numbers(make: Callable[..., Sequence], tmp_path: Path) -> None:
    count(make(), 1)
    assert int((tmp_path / "pi5.seq").read_text().split()[1]) == BLOCK


def test_a_clean_stop_is_exact_also_across_a_reboot(make: Callable[..., Sequence], tmp_path: Path) -> None:
    first = make()
    count(first, 5)
    first.close()
    reboot(tmp_path)
    assert make()() == 6


def test_after_a_kill_the_outbox_says_what_can_have_been_seen(make: Callable[..., Sequence]) -> None:
    first = make()
    first.resume(None)
    assert count(first, 100) == 100
    second = make()
    second.resume(97)  # three were on their way to it
    assert second() == 98


def test_an_outbox_that_has_not_stored_anything_yet_leaves_the_count_where_it_was(
    make: Callable[..., Sequence],
) -> None:
    first = make()
    count(first, 10)
    first.close()
    make().resume(None)
    third = make()
    third.resume(3)  # one that was put back from a backup
    assert third() == 11


def test_when_the_outbox_is_lost_no_number_is_used_twice(make: Callable[..., Sequence]) -> None:
    first = make()
    first.resume(None)
    last = count(first, 100)
    second = make()
    second.resume(None)
    assert second() > last


def test_when_nobody_asks_the_outbox_no_number_is_used_twice(make: Callable[..., Sequence]) -> None:
    first = make()
    first.resume(None)
    last = count(first, 100)
    second = count(make(), 1)
    assert second > last
    assert make()() == second + 1


def test_when_the_outbox_has_stopped_storing_the_counter_remembers_itself(make: Callable[..., Sequence]) -> None:
    first = make()
    first.resume(None)
    count(first, 50)
    first.take_back()
    assert count(first, 10) == 60
    second = make()
    second.resume(50)
    assert second() == 61
    second.save()
    second.hand_over()
    third = make()
    third.resume(61)
    assert third() == 62


def test_a_power_cut_never_rewinds_to_what_the_outbox_knows(make: Callable[..., Sequence], tmp_path: Path) -> None:
    first = make()
    first.resume(None)
    last = count(first, 100)
    first._wait_for_extender()
    reboot(tmp_path)
    second = make()
    second.resume(20)
    assert second() > last


def test_a_damaged_counter_goes_on_after_what_the_outbox_knows(
    make: Callable[..., Sequence], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "pi5.seq").write_bytes(b"\0" * 128)
    sequence = make()
    sequence.resume(500)
    assert sequence() > 500
    assert "damaged" in caplog.text


def test_the_counter_of_the_first_version_is_read(make: Callable[..., Sequence], tmp_path: Path) -> None:
    (tmp_path / "pi5.seq").write_text("4711\n")
    assert make()() == 4712
    assert (tmp_path / "pi5.seq").stat().st_mode & 0o777 == 0o600


def test_a_full_disk_is_said_once_and_the_counter_stays_in_memory(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with full_disk():
        sequence = Sequence(tmp_path, "pi5")
        assert count(sequence, 300) == 300
        sequence.close()
    assert sequence.folder is None
    assert len(caplog.records) == 1 and "kept in memory only" in caplog.text


def test_a_counter_that_cannot_be_saved_goes_on_and_says_so_once(
    make: Callable[..., Sequence], caplog: pytest.LogCaptureFixture
) -> None:
    sequence = make()
    with full_disk():
        assert count(sequence, 300) == 300
    assert caplog.text.count("cannot save the event counter") == 1
    assert count(sequence, 1) == 301
    assert make()() == 302
