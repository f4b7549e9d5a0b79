from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from edge_emotion.system.state_file import load_json, save_json

CONTENT = {"cameras": ["desk", "hall"], "devices": ["homeassistant/device/edge-emotion_pi5/config"]}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "pi5.announced.json"


def test_what_was_saved_is_loaded_and_is_private(path: Path) -> None:
    save_json(path, CONTENT)
    assert load_json(path) == CONTENT
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_file_that_is_absent_is_empty_and_no_fault(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert load_json(path) == {} and not caplog.text


def test_a_file_of_the_version_without_checksums_is_read(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path.write_text(json.dumps(CONTENT))
    assert load_json(path) == CONTENT and not caplog.text


def test_one_flipped_bit_never_gives_other_content(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    save_json(path, CONTENT)
    good = path.read_bytes()
    harmless = 0
    for bit in range(8 * len(good)):
        data = bytearray(good)
        data[bit // 8] ^= 1 << bit % 8
        path.write_bytes(data)
        caplog.clear()
        loaded = load_json(path, _only_known_keys)
        if loaded == CONTENT:  # white space, "format", the case of the checksum's key
            harmless += 1
        else:
            assert loaded == {} and caplog.text.count("pi5.announced.json.damaged") == 1
            assert not path.exists() and path.with_name("pi5.announced.json.damaged").read_bytes() == data
    assert harmless < len(good)


def _only_known_keys(content: dict[str, object]) -> None:
    if not content.keys() <= {"cameras", "devices", "components"}:
        raise KeyError("unknown")


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\0" * 512,
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b"[]",
        b"7",
        b'"text"',
        b'{"format": 1, "crc32": 5, "content": {}}',
        b'{"format": 1, "crc32": "00000000", "content": []}',
        b'{"format": 1, "crc32": null, "content": null}',
        b"9" * 10_000,
        b'"' + b"x" * (1 << 20) + b'"',
    ],
    ids=lambda data: repr(data[:12]),
)
def test_whatever_is_in_it_a_damaged_file_is_moved_aside_and_logged(
    data: bytes, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path.write_bytes(data)
    assert load_json(path) == {}
    assert len(caplog.records) == 1 and "moved to pi5.announced.json.damaged" in caplog.text
    save_json(path, CONTENT)
    assert load_json(path) == CONTENT


@pytest.mark.parametrize("error", [ValueError, KeyError, TypeError, RecursionError, UnicodeError, AttributeError])
def test_content_that_its_owner_refuses_is_moved_aside_whatever_the_exception(
    error: type[Exception], path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def check(_content: object) -> None:
        raise error("not ours")

    save_json(path, CONTENT)
    assert load_json(path, check) == {}
    assert caplog.text.count("moved to") == 1


def test_a_symbolic_link_is_neither_read_nor_written_through(path: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.write_text('{"cameras": ["planted"]}')
    path.symlink_to(other)
    assert load_json(path) == {}
    path.symlink_to(other)
    path.with_name(path.name + ".part").symlink_to(other)
    save_json(path, CONTENT)
    assert other.read_text() == '{"cameras": ["planted"]}'
    assert load_json(path) == CONTENT and not path.is_symlink()


def test_a_fifo_in_its_place_does_not_stop_the_start(path: Path) -> None:
    os.mkfifo(path)
    assert load_json(path) == {}
    save_json(path, CONTENT)
    assert load_json(path) == CONTENT


def test_a_folder_that_has_gone_is_logged_and_no_error(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    save_json(tmp_path / "gone" / "pi5.announced.json", CONTENT)
    assert len(caplog.records) == 1 and "cannot save" in caplog.text
