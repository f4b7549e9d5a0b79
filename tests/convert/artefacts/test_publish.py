"""Model folders are written completely or not at all; errors on the command line of convert are one line."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

pytest.importorskip("onnx")

from convert.artefacts.write_folder import write_model
from convert.cli import main
from edge_emotion.errors import ModelError
from edge_emotion.models.folder import find_model, load_manifest
from edge_emotion.models.manifest import ModelManifest


@pytest.fixture
def tiny() -> ModelManifest:
    manifest = load_manifest(find_model("tiny"))
    assert isinstance(manifest, ModelManifest)
    return manifest


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_full_disk_leaves_the_old_folder_as_it_was(
    tiny: ModelManifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that is full when the third file is written."""
    folder = write_model(tmp_path / "models" / "tiny", tiny, {"a.tflite": b"old", "b.onnx": b"old"})
    before = content(folder)
    synced = 0

    def full(_: int) -> None:
        nonlocal synced
        synced += 1
        if synced == 3:
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    newer = tiny.model_copy(update={"version": "9.0.0"})
    with pytest.raises(OSError, match="No space left"):
        write_model(folder, newer, {"a.tflite": b"new", "b.onnx": b"new"})
    assert synced == 3
    assert content(folder) == before


def test_a_manifest_that_would_be_refused_is_not_written(tiny: ModelManifest, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"manifest\.json: version: must match '"):
        write_model(tmp_path / "tiny", tiny.model_copy(update={"version": "2.0"}), {"a.tflite": b"new"})
    assert not (tmp_path / "tiny").exists()


@pytest.mark.parametrize("command", [["recalibrate", "tiny"], ["tflite", "run"], ["all", "run"]])
@pytest.mark.parametrize("version", ["2.0", "v2.0.0", "2.0.0\n"])
def test_a_version_that_is_none_is_refused_at_once(
    command: list[str], version: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        main([*command, "--data", "nowhere", "--version", version])
    assert caught.value.code == 2
    assert "is not three numbers such as 2.0.0" in capsys.readouterr().err


def test_a_conversion_that_is_stopped_says_what_goes_on(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("convert.cli._qat", interrupted)
    monkeypatch.setattr("convert.cli._recalibrate", interrupted)
    assert main(["qat", "run", "--data", "nowhere"]) == 130
    assert capsys.readouterr().err == "stopped; the same command goes on after the last finished epoch\n"
    assert main(["recalibrate", "tiny", "--data", "nowhere", "--version", "2.0.0"]) == 130
    assert capsys.readouterr().err == "stopped\n"
