from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from edge_emotion.system.atomic_file import PRIVATE, sha256, write_all, write_bytes, write_text


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_is_replaced_as_a_whole_and_nothing_is_left_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "manifest.json"
    write_text(path, "old")
    write_text(path, "new ü")
    assert path.read_text(encoding="utf-8") == "new ü" and names(tmp_path) == ["manifest.json"]
    assert sha256(path) == "8f1bdaca060008f4a2ff3a294706b413488b6b2ec40e092ba123576e054a55b0"


def test_content_is_synced_before_the_rename_and_the_folder_after_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[str] = []
    sync, replace = os.fsync, Path.replace

    def watched_sync(handle: int) -> None:
        steps.append("folder" if stat.S_ISDIR(os.fstat(handle).st_mode) else "file")
        sync(handle)

    def watched_replace(path: Path, target: Path) -> Path:
        steps.append(f"rename {target.name}")
        return replace(path, target)

    monkeypatch.setattr(os, "fsync", watched_sync)
    monkeypatch.setattr(Path, "replace", watched_replace)
    write_all({tmp_path / "a": b"1", tmp_path / "b": b"2"})
    assert steps == ["file", "file", "rename a", "rename b", "folder"]


def test_what_cannot_be_written_leaves_the_old_files_and_no_part(tmp_path: Path) -> None:
    write_bytes(tmp_path / "a", b"old")
    with pytest.raises(OSError, match="No such file"):
        write_all({tmp_path / "a": b"new", tmp_path / "absent" / "b": b"new"})
    assert (tmp_path / "a").read_bytes() == b"old" and names(tmp_path) == ["a"]


def test_links_planted_in_its_way_are_not_followed(tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.write_bytes(b"precious")
    path = tmp_path / "state.json"
    for planted in (path, path.with_name("state.json.part")):
        planted.symlink_to(other)
    write_bytes(path, b"content")
    assert other.read_bytes() == b"precious" and path.read_bytes() == b"content" and not path.is_symlink()


@pytest.mark.parametrize(("mode", "expected"), [(None, 0o644), (PRIVATE, 0o600)])
def test_nobody_else_can_write_it_whatever_the_umask(mode: int | None, expected: int, tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        write_bytes(tmp_path / "a", b"", *([] if mode is None else [mode]))
    finally:
        os.umask(before)
    assert (tmp_path / "a").stat().st_mode & 0o777 == expected
