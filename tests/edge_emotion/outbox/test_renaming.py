"""The files of a node that has got another name."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from support.node_state import NODE, count, store

from edge_emotion.outbox import renaming
from edge_emotion.outbox.event_counter import EventCounter
from edge_emotion.outbox.renaming import continue_under


def left_by_a_kill(tmp_path: Path) -> Path:
    """State of a node with two events and an override: the write-ahead log is still there."""
    folder = tmp_path / "running"
    counter = EventCounter(folder, NODE)
    count(counter, 2)
    store(counter, 1, 2)
    (folder / f"{NODE}.features.json").write_text("{}")
    (folder / f"{NODE}.models" / "tiny.releases").mkdir(parents=True)
    copied = Path(shutil.copytree(folder, tmp_path / "state"))
    counter.close()
    return copied


def test_a_new_name_continues_numbers_and_events_and_leaves_no_file_of_the_old(tmp_path: Path) -> None:
    folder = left_by_a_kill(tmp_path)
    assert (folder / f"{NODE}.outbox.db-wal").exists()
    counter = EventCounter(folder, "hall")
    assert counter.store is not None and len(counter.store.open()) == 2 and counter() == 3
    assert not list(folder.glob(f"{NODE}.*")) and (folder / "hall.features.json").exists()
    assert (folder / "hall.models" / "tiny.releases").is_dir()
    counter.close()


@pytest.mark.parametrize("done", range(len(renaming.ENDINGS)))
def test_a_move_that_was_interrupted_is_continued(tmp_path: Path, done: int) -> None:
    folder = left_by_a_kill(tmp_path)
    for ending in renaming.ENDINGS[:done]:
        if (folder / f"{NODE}{ending}").exists():
            (folder / f"{NODE}{ending}").rename(folder / f"hall{ending}")
    counter = EventCounter(folder, "hall")
    assert counter.store is not None and len(counter.store.open()) == 2 and counter() == 3
    assert not list(folder.glob(f"{NODE}.*"))
    counter.close()


def test_the_node_that_was_used_last_is_continued_and_a_node_with_files_keeps_them(tmp_path: Path) -> None:
    for name, numbers in (("a", 3), ("b", 7)):
        EventCounter(tmp_path / name, name).close()
        counter = EventCounter(tmp_path / name, name)
        count(counter, numbers)
        counter.close()
    folder = tmp_path / "a"
    for file in (tmp_path / "b").iterdir():
        shutil.copy(file, folder)  # newer
    assert continue_under(folder, "b") is None
    assert continue_under(folder, "c") == "b"
    counter = EventCounter(folder, "c")
    assert counter() == 8
    counter.close()


def test_a_directory_without_earlier_node_has_nothing_to_continue(tmp_path: Path) -> None:
    (tmp_path / "not a name.lock").touch()
    (tmp_path / "link.lock").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "folder.lock").mkdir()
    assert continue_under(tmp_path, "hall") is None
    assert sorted(path.name for path in tmp_path.iterdir()) == ["folder.lock", "link.lock", "not a name.lock"]
