"""Engines are kept, and built again, with the reason, when something changes that they depend on."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from support.tensorrt_stage import PAIRS, Network, Stage, pixels

from edge_emotion.backends.tensorrt.cache import EngineCache
from edge_emotion.errors import ModelError
from edge_emotion.system.paths import cache_dir


def start(stage: Stage, content: bytes | None = None, **options: object) -> int:
    """One start of the program; how many engines have been built so far."""
    backend = stage.backend(content, **options)
    assert backend.run(pixels(1))[0].shape == (1, 3)
    backend.close()
    return len(stage.trt.builds)


def test_the_second_start_takes_the_kept_engine(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    assert [start(stage), start(stage)] == [1, 1]
    assert sorted(path.suffix for path in stage.cache.iterdir()) == [".json", ".plan", ".timings"]


def test_a_kept_engine_needs_the_model_file_no_more(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    stage.backend().close()
    digest = json.loads(next(stage.cache.glob("*.json")).read_text())["key"]["model"]
    with stage.installed():
        from edge_emotion.backends.tensorrt import TensorRtBackend

        stage.path.unlink()
        TensorRtBackend(stage.path, sha256=digest, precision="float32", cache_dir=stage.cache).close()
    assert len(stage.trt.builds) == 1


@pytest.mark.parametrize(
    ("versions", "device", "reason"),
    [
        (PAIRS[2], {}, "TensorRT was 10.3.0 and is 10.13.3.9"),
        (PAIRS[1], {"device": "Xavier"}, "GPU was Orin and is Xavier"),
        (PAIRS[1], {"capability": (11, 0)}, "compute capability was 8.7 and is 11.0"),
    ],
)
def test_another_device_or_version_builds_anew(
    tmp_path: Path, versions: tuple[str, str], device: dict[str, object], reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    start(Stage(tmp_path))
    caplog.clear()
    later = Stage(tmp_path, versions, **device)
    assert [start(later), start(later)] == [1, 1]
    assert caplog.messages == [f"building an engine for small.onnx, which takes minutes: {reason}"]


def test_another_model_of_the_same_name_builds_anew(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    stage = Stage(tmp_path)
    start(stage)
    assert start(stage, Network(batch=1).content) == 2
    assert "model was " in caplog.messages[-1]


def test_other_scales_build_anew(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    stage = Stage(tmp_path)
    start(stage, precision="int8", scales={"relu6": 0.1})
    assert start(stage, precision="int8", scales={"relu6": 0.2}) == 2
    assert "scales was " in caplog.messages[-1]


def test_precisions_and_cores_keep_engines_of_their_own(tmp_path: Path) -> None:
    stage = Stage(tmp_path, dla_cores=2)
    options = [{}, {"precision": "int8", "scales": {"relu6": 0.1}}]
    options += [{"precision": "float16", "dla_core": core} for core in (0, 1)]
    for _ in range(2):
        for option in options:
            start(stage, **option)
    assert len(stage.trt.builds) == len(options)


def test_a_damaged_engine_is_built_anew(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    stage = Stage(tmp_path)
    start(stage)
    plan = next(stage.cache.glob("*.plan"))
    content = bytearray(plan.read_bytes())
    content[-1] ^= 1
    plan.write_bytes(content)
    assert start(stage) == 2
    assert f"{plan} is damaged" in caplog.messages[-1]


@pytest.mark.parametrize("note", ["", "[]", "{}", '{"key": 1, "sha256": ""}', "\0"])
def test_a_damaged_note_is_an_engine_that_cannot_be_read(
    tmp_path: Path, note: str, caplog: pytest.LogCaptureFixture
) -> None:
    stage = Stage(tmp_path)
    start(stage)
    next(stage.cache.glob("*.json")).write_text(note)
    assert [start(stage), start(stage)] == [2, 2]
    assert f"the one in {stage.cache} cannot be read" in caplog.messages[-1]


def test_an_engine_that_tensorrt_does_not_take_is_built_anew(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    stage = Stage(tmp_path)
    start(stage)
    note = next(stage.cache.glob("*.json"))
    key = json.loads(note.read_text())["key"]
    EngineCache(stage.cache, note.stem).store(key, b"of a compiler that has gone")
    assert start(stage) == 2
    assert "does not take the one in" in caplog.messages[-1]
    assert "magicTag mismatch" in caplog.messages[-1]


def test_a_changed_file_is_not_built_under_the_promised_hash(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    with pytest.raises(ModelError, match=r"small\.onnx: its sha256 is not 000000000000\.\.\."):
        stage.backend(sha256="0" * 64)
    assert not stage.cache.exists()


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    with pytest.raises(ModelError, match=r"absent\.onnx: cannot be read: No such file"), stage.installed():
        from edge_emotion.backends.tensorrt import TensorRtBackend

        TensorRtBackend(tmp_path / "absent.onnx", sha256="0" * 64, precision="int8", cache_dir=stage.cache)


def test_where_nothing_can_be_kept_it_runs_all_the_same(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    stage = Stage(tmp_path)
    stage.cache.write_text("a file where the folder should be")
    assert start(stage) == 1
    assert "the next start builds it again" in caplog.messages[-1]


def test_half_a_file_is_never_left(tmp_path: Path) -> None:
    cache = EngineCache(tmp_path, "small")
    cache.plan_path.mkdir()
    cache.store({"TensorRT": "10.3.0"}, b"plan")
    assert list(tmp_path.iterdir()) == [cache.plan_path]


def test_timings_are_kept_between_builds_and_per_version(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    start(stage)
    start(stage, Network(batch=1).content)
    assert [record["timings"] for record in stage.trt.builds] == ["", "measured;"]
    other = Stage(tmp_path, PAIRS[2])
    start(other)
    assert other.trt.builds[0]["timings"] == ""


def test_damaged_timings_are_started_anew(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    start(stage)
    next(stage.cache.glob("*.timings")).write_bytes(b"of another device")
    start(stage, Network(batch=1).content)
    assert stage.trt.builds[1]["timings"] == ""


def test_engines_are_kept_where_the_system_keeps_caches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CACHE_DIRECTORY", "/var/cache/edge-emotion:/var/cache/other")
    assert cache_dir() == Path("/var/cache/edge-emotion")
    monkeypatch.delenv("CACHE_DIRECTORY")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_dir() == tmp_path / "edge-emotion"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_dir() == Path.home() / ".cache" / "edge-emotion"
