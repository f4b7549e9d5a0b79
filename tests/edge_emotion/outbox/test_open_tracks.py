"""Tracks that have not ended, as the outbox file has them."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from pathlib import Path

import pytest
from support.node_state import NODE, copy_state
from support.samples import event

from edge_emotion.outbox.event_counter import EventCounter
from edge_emotion.outbox.outbox import Entry, Outbox
from edge_emotion.wire.payloads import event_from_json, event_to_json, track_of


def entries(*steps: str, first: int = 1) -> list[Entry]:
    """Events by type and track: ``start a``, ``change a``, ``end b``."""
    made = []
    for number, step in enumerate(steps, first):
        kind, track = step.split()
        payload = event_to_json(event(number, type=kind, track_id=track))
        made.append(Entry(number, number, "desk", payload, 0.0))
    return made


def tracks(payloads: Sequence[bytes]) -> list[str]:
    return sorted(f"{each.type} {each.track_id}" for each in map(event_from_json, payloads))


def after_a_kill(counter: EventCounter, target: Path) -> EventCounter:
    assert counter.folder is not None
    copied = copy_state(counter.folder, target)
    counter.close()
    return EventCounter(copied, NODE)


def test_a_track_is_read_from_its_events_without_parsing_them() -> None:
    assert track_of(event_to_json(event(1, type="end", track_id='a"}é'))) == (b"end", '"a\\"}é"'.encode())
    tricky = event_to_json(
        event(1, emotion=',"track":{"id":"x"', probabilities={'"track":{"id":"x"': 0.5}, track_id="y")
    )
    assert track_of(tricky) == (b"start", b'"y"')
    assert track_of(b'{"schema":2,"type":"end"}') is track_of(b"") is None


def test_tracks_whose_end_was_not_stored_are_open_with_their_last_event(tmp_path: Path) -> None:
    counter = EventCounter(tmp_path / "state", NODE)
    assert counter.store is not None and counter.interrupted() == []
    counter.store.write(entries("start a", "start b", "start c"), [])
    counter.store.write(entries("change a", "end b", "start d", "end d", first=4), [1, 2, 3])  # acknowledged
    counter.store.write([], [4, 5, 6, 7])
    again = after_a_kill(counter, tmp_path / "killed")
    assert tracks(again.interrupted()) == ["change a", "start c"]
    assert again.store is not None and again.store.open() == []
    again.hand_over()
    again.ends_are_made()
    once_more = after_a_kill(again, tmp_path / "again")  # before their ends were stored
    assert tracks(once_more.interrupted()) == ["change a", "start c"]
    assert once_more.store is not None
    once_more.store.write(entries("end a", "end c", first=8), [])
    last = after_a_kill(once_more, tmp_path / "last")
    assert last.interrupted() == []
    last.close()


def test_without_an_outbox_that_stores_ends_the_tracks_are_forgotten_when_they_are_made(tmp_path: Path) -> None:
    counter = EventCounter(tmp_path / "state", NODE)
    assert counter.store is not None
    counter.store.write(entries("start a"), [])
    again = after_a_kill(counter, tmp_path / "killed")
    assert tracks(again.interrupted()) == ["start a"]
    again.ends_are_made()
    assert again.interrupted() == []
    last = after_a_kill(again, tmp_path / "last")
    assert last.interrupted() == []
    last.close()


def test_after_a_clean_stop_no_track_is_open_even_if_its_end_could_not_be_stored(tmp_path: Path) -> None:
    counter = EventCounter(tmp_path, NODE)
    assert counter.store is not None
    counter.store.write(entries("start a"), [])
    counter.close()  # the disk refused the end
    again = EventCounter(tmp_path, NODE)
    assert again.interrupted() == []
    again.close()


def test_when_the_disk_works_again_the_file_has_the_tracks_of_now(tmp_path: Path) -> None:
    counter, outbox = EventCounter(tmp_path / "state", NODE), Outbox(100)
    assert counter.store is not None
    outbox.load(counter.store.open(), 0.0)

    def publish(*steps: str, first: int) -> None:
        for each in entries(*steps, first=first):
            outbox.append(each.seq, each.camera, each.payload, 0.0)

    publish("start a", "start b", first=1)
    counter.store.write(outbox.collect().new, [])
    outbox.release()  # the disk fails
    publish("end a", "start c", "change b", first=3)
    changes = outbox.collect_all()
    counter.store.replace(changes.new, changes.tracks)
    again = after_a_kill(counter, tmp_path / "killed")
    assert tracks(again.interrupted()) == ["change b", "start c"]
    again.close()


def test_a_file_of_the_version_before_has_no_open_tracks_and_keeps_its_events(tmp_path: Path) -> None:
    counter = EventCounter(tmp_path, NODE)
    assert counter.store is not None
    counter.store.write(entries("start a"), [])
    counter.close()
    with sqlite3.connect(tmp_path / f"{NODE}.outbox.db") as connection:
        connection.executescript("DROP TABLE track; PRAGMA user_version = 2;")
    connection.close()
    again = EventCounter(tmp_path, NODE)
    assert again.store is not None and len(again.store.open()) == 1 and again.interrupted() == []
    again.store.write(entries("start b", first=2), [])
    again.close()


def test_a_damaged_row_is_logged_and_the_others_are_ended(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    counter = EventCounter(tmp_path / "state", NODE)
    assert counter.store is not None and counter.store._connection is not None
    counter.store.write(entries("start a", "start b"), [])
    counter.store._connection.execute("UPDATE track SET payload = payload || 'x' WHERE number = 1")
    again = after_a_kill(counter, tmp_path / "killed")
    assert tracks(again.interrupted()) == ["start b"]
    assert caplog.text.count("1 open tracks in") == 1
    again.close()


def test_tracks_of_a_damaged_file_are_taken_over_with_its_events(tmp_path: Path) -> None:
    counter = EventCounter(tmp_path / "state", NODE)
    assert counter.store is not None
    counter.store.write(entries("start a", "start b"), [])
    copied = copy_state(tmp_path / "state", tmp_path / "killed")
    counter.close()
    with sqlite3.connect(copied / f"{NODE}.outbox.db") as connection:
        connection.execute("DROP TABLE client")
    connection.close()
    again = EventCounter(copied, NODE)
    assert (copied / f"{NODE}.outbox.db.damaged").exists()
    assert tracks(again.interrupted()) == ["start a", "start b"]
    again.close()
