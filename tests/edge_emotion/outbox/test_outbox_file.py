from __future__ import annotations

import random
import sqlite3
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import pytest
from support.samples import event

from edge_emotion.errors import SinkError
from edge_emotion.outbox.outbox import Entry
from edge_emotion.outbox.store import OutboxFile
from edge_emotion.wire.payloads import event_to_json


def entries(*seqs: int, since: float | None = None) -> list[Entry]:
    """Events whose place in the outbox is a hundred less than their number."""
    moment = time.monotonic() if since is None else since
    return [Entry(seq - 100, seq, "desk", event_to_json(event(seq)), moment) for seq in seqs]


def filled(path: Path, *seqs: int) -> OutboxFile:
    file = OutboxFile(path)
    file.open()
    file.write(entries(*seqs), [])
    return file


def numbers(waiting: Sequence[Entry]) -> list[int]:
    return [entry.number for entry in waiting]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "pi5.outbox.db"


def test_what_was_written_is_there_after_the_next_open_in_order_and_byte_for_byte(path: Path) -> None:
    filled(path, 101, 102, 103).close()
    waiting = OutboxFile(path).open()
    assert [(entry.number, entry.camera, entry.payload) for entry in waiting] == [
        (number, "desk", event_to_json(event(number + 100))) for number in (1, 2, 3)
    ]
    assert path.stat().st_mode & 0o777 == 0o600


def test_what_has_gone_does_not_come_back(path: Path) -> None:
    file = filled(path, 101, 102, 103)
    file.write(entries(104), [1, 3])
    file.close()
    assert numbers(OutboxFile(path).open()) == [2, 4]


def test_the_highest_number_is_remembered_although_its_event_has_gone(path: Path) -> None:
    file = OutboxFile(path)
    assert file.open() == [] and file.mark is None
    file.write(entries(101, 102), [])
    file.write([], [1, 2])
    file.close()
    again = OutboxFile(path)
    assert again.open() == [] and again.mark == 102
    again.write(entries(103), [])
    again.write(entries(104), [3])
    again.write([], [4])
    again.close()
    last = OutboxFile(path)
    assert last.open() == [] and last.mark == 104


def test_the_time_of_waiting_goes_on_while_nothing_runs(path: Path) -> None:
    file = OutboxFile(path)
    file.open()
    file.write(entries(101, since=time.monotonic() - 3600), [])
    file.close()
    assert time.monotonic() - OutboxFile(path).open()[0].since == pytest.approx(3600, abs=60)


def test_an_event_from_a_clock_that_was_ahead_is_new_not_older_or_younger_than_that(path: Path) -> None:
    file = OutboxFile(path)
    file.open()
    file.write(entries(101, since=time.monotonic() + 86_400), [])
    file.close()
    assert time.monotonic() - OutboxFile(path).open()[0].since == pytest.approx(0, abs=60)


def test_the_token_stays_with_the_file(path: Path) -> None:
    file = filled(path)
    token = file.token
    file.close()
    again = OutboxFile(path)
    again.open()
    assert again.token == token and len(token) == 8


def test_a_commit_without_a_sync_is_seen_by_the_next_process(path: Path, tmp_path: Path) -> None:
    file = filled(path, 101)
    copy = tmp_path / "copy.db"
    for suffix in ("", "-wal"):  # what the kernel has, as after a SIGKILL
        Path(f"{copy}{suffix}").write_bytes(Path(f"{path}{suffix}").read_bytes())
    assert numbers(OutboxFile(copy).open()) == [1]
    file.close()


def test_two_processes_cannot_share_it(path: Path) -> None:
    file = filled(path, 101)
    with pytest.raises(SinkError, match=r"another process uses the outbox .*pi5\.outbox\.db: stop it first"):
        OutboxFile(path).open()
    file.write(entries(102), [])
    file.close()
    assert numbers(OutboxFile(path).open()) == [1, 2]


def foreign(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE event (somebody TEXT)")


def of_another_version(path: Path) -> None:
    filled(path, 101).close()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA user_version = 99")


def cut_off(path: Path) -> None:
    filled(path, *range(101, 301)).close()
    path.write_bytes(path.read_bytes()[:50_000])


def no_database(path: Path) -> None:
    path.write_bytes(b"once upon a time" * 1000)


@pytest.mark.parametrize("make", [foreign, of_another_version, cut_off, no_database])
def test_a_file_that_is_not_ours_is_moved_aside_and_a_new_one_begins(
    make: object, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert callable(make)
    make(path)
    before = path.read_bytes()
    file = OutboxFile(path)
    assert file.open() == []
    file.write(entries(101), [])
    file.close()
    assert path.with_name(path.name + ".damaged").read_bytes()[100:] == before[100:]  # SQLite may note it was there
    assert caplog.text.count("moved to pi5.outbox.db.damaged") == 1
    assert numbers(OutboxFile(path).open()) == [1]


def test_an_empty_file_is_a_new_one(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path.touch()
    assert OutboxFile(path).open() == []
    assert not caplog.text


def test_an_event_in_which_a_bit_has_flipped_is_not_sent(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    filled(path, 101, 102).close()
    data = bytearray(path.read_bytes())
    data[data.index(b'"confidence":0.93', data.index(b'"seq":102')) + 15] ^= 1
    path.write_bytes(data)
    file = OutboxFile(path)
    assert numbers(file.open()) == [1]
    assert file.lost == 1 and "1 events in" in caplog.text


@pytest.mark.parametrize("seed", range(40))
def test_whatever_became_of_the_bytes_only_true_events_come_out(seed: int, path: Path) -> None:
    draw = random.Random(seed)
    file = filled(path, *range(101, 141))
    file.write([], list(range(5, 15)))
    wal = Path(f"{path}-wal")
    kept = {path: path.read_bytes(), wal: wal.read_bytes()}
    file.close()
    if seed % 2:
        kept = {path: path.read_bytes()}
    for place, content in kept.items():
        data = bytearray(content)
        for _ in range(draw.randint(1, 30) if data else 0):
            data[draw.randrange(min(len(data), draw.choice((100, 4096, len(data)))))] = draw.randrange(256)
        place.write_bytes(data[: draw.choice((len(data), draw.randrange(len(data) + 1)))])
    again = OutboxFile(path)
    try:
        waiting = again.open()
    except sqlite3.OperationalError as error:  # the sink then goes on in memory
        pytest.fail(f"not moved aside: {error}")
    for entry in waiting:
        assert entry.payload == event_to_json(event(entry.number + 100)) or entry.number not in range(1, 41)
    again.write([Entry(10_000, 10_100, "desk", b"{}", 0.0)], [])
    again.close()


def test_a_folder_that_is_not_there_is_an_error_of_the_system(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No such file"):
        OutboxFile(tmp_path / "none" / "pi5.outbox.db").open()
