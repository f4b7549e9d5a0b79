"""Figures and texts of ``python -m benchmarks latency``; no test depends on the speed of this machine."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.model_folders import copy_with_first_file

from benchmarks.cli import main
from benchmarks.model_speed import latency
from benchmarks.model_speed.latency import MeasuredFile, latency_measurements, mac_rates, peak_measurements
from benchmarks.model_speed.machine_peak import INPUT, LAYERS, SIDE, SIZE, write_peak_model
from benchmarks.model_speed.macs import count_macs, operation_macs
from benchmarks.model_speed.worker import DELEGATES, SAMPLES, Job, Report, Scenario, offline, single_stream
from benchmarks.results.results import read_result
from edge_emotion.backends.tflite import Operation, TfliteBackend
from edge_emotion.errors import ConfigError, EdgeEmotionError, ModelError
from edge_emotion.models.folder import MANIFEST, MODELS, dump_manifest, load_manifest
from edge_emotion.system.atomic_file import sha256

QUICK = ["--rounds", "2", "--queries", "100", "--seconds", "0.05"]


def job(backend: str = "tflite", scenario: Scenario | None = None) -> Job:
    manifest = load_manifest(MODELS / "tiny")
    return Job(
        folder=MODELS / "tiny",
        entry=manifest.file(),
        input=manifest.input,
        backend=backend,
        threads=1,
        scenario=scenario or Scenario(queries=100, seconds=0.05),
    )


def report(p50: float, queries: int = 1024, seconds: float = 2.0, backend: str = "ai-edge-litert") -> Report:
    return Report(
        backend=backend,
        load=5.0,
        latency={"p50": p50, "p90": 2 * p50},
        fastest=p50 / 2,
        queries=queries,
        seconds=seconds,
        offline=100.0,
        offline_n=200,
        base_rss=60.0,
        peak_rss=80.0,
        file_size=2048,
    )


@pytest.mark.parametrize(
    ("operation", "macs"),
    [
        (Operation("CONV_2D", ((1, 8, 8, 3), (16, 3, 3, 3), (16,)), ((1, 4, 4, 16),)), 4 * 4 * 16 * 27),
        (Operation("DEPTHWISE_CONV_2D", ((1, 8, 8, 6), (1, 3, 3, 6), (6,)), ((1, 8, 8, 6),)), 8 * 8 * 6 * 9),
        (Operation("FULLY_CONNECTED", ((1, 10), (7, 10), (7,)), ((1, 7),)), 70),
        (Operation("TRANSPOSE_CONV", ((4,), (5, 2, 2, 3), (1, 4, 4, 3)), ((1, 8, 8, 5),)), 4 * 4 * 3 * 5 * 2 * 2),
        (Operation("ADD", ((1, 8), (1, 8)), ((1, 8),)), 0),
    ],
    ids=lambda value: value.name if isinstance(value, Operation) else "",
)
def test_macs_follow_from_shapes(operation: Operation, macs: int) -> None:
    assert operation_macs(operation) == macs


def test_macs_of_onnx_are_those_of_its_convolutions_and_products(tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    helper, float32 = onnx.helper, onnx.TensorProto.FLOAT
    weights = [
        onnx.numpy_helper.from_array(np.zeros(shape, np.float32), name)
        for name, shape in (("w", (4, 1, 3, 3)), ("m", (64, 5)), ("g", (7, 5)))
    ]
    nodes = [
        helper.make_node("Transpose", ["x"], ["t"], perm=[0, 3, 1, 2]),
        helper.make_node("Conv", ["t", "w"], ["c"], group=2, strides=[2, 2], pads=[1, 1, 1, 1]),
        helper.make_node("Flatten", ["c"], ["f"]),
        helper.make_node("MatMul", ["f", "m"], ["p"]),
        helper.make_node("Gemm", ["p", "g"], ["y"], transB=1),
    ]
    pixels = helper.make_tensor_value_info("x", float32, ["N", 8, 8, 2])
    logits = helper.make_tensor_value_info("y", float32, ["N", 7])
    graph = helper.make_graph(nodes, "net", [pixels], [logits], weights)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), tmp_path / "n.onnx")
    assert count_macs(tmp_path / "n.onnx", "onnx") == 4 * 4 * 4 * 9 + 64 * 5 + 5 * 7


def test_a_file_that_is_no_onnx_has_no_macs(tmp_path: Path) -> None:
    pytest.importorskip("onnx")
    (tmp_path / "junk.onnx").write_bytes(b"no network")
    with pytest.raises(ModelError, match=r"junk\.onnx cannot be read as an ONNX model: "):
        count_macs(tmp_path / "junk.onnx", "onnx")


def test_the_peak_is_a_model_of_products_that_this_machine_runs(tmp_path: Path) -> None:
    inputs = np.random.default_rng(0).normal(size=(1, *INPUT.shape)).astype(np.float32)
    for arithmetic in ("int8", "float32"):
        entry = write_peak_model(tmp_path, arithmetic)  # type: ignore[arg-type]
        path = tmp_path / entry.file
        assert count_macs(path, "tflite") == SIDE**2 * (INPUT.channels * SIZE + LAYERS * SIZE**2 + SIZE)
        outputs = [TfliteBackend(path, plain_kernels=plain).run(inputs)[0] for plain in (False, True)]
        assert np.ptp(outputs[0]) > 0, "a network that answers zero to everything might be computed faster"
        assert np.corrcoef(*(output.ravel() for output in outputs))[0, 1] > 0.99  # eight roundings


def test_a_stream_ends_when_there_are_enough_queries_and_seconds_or_at_the_limit() -> None:
    samples = np.arange(SAMPLES, dtype=np.float32)[:, None, None, None]
    asked: list[float] = []

    def answer(batch: Any) -> None:
        asked.append(float(batch[0, 0, 0, 0]))

    times, took = single_stream(answer, samples, Scenario(queries=100, seconds=0.001, limit=60))
    assert len(times) >= 100 and took >= 0.001 and set(asked) == set(range(SAMPLES))
    times, took = single_stream(answer, samples, Scenario(queries=10**9, seconds=0.001, limit=0.01))
    assert len(times) < 10**9 and took >= 0.01
    sizes: list[int] = []
    batches, _ = offline(lambda batch: sizes.append(len(batch)), samples, Scenario(batch=40, seconds=0.001))
    assert set(sizes) == {40} and len(sizes) == batches + 1  # the first one warms up


def test_a_run_is_valid_only_with_enough_queries_and_seconds() -> None:
    scenario = Scenario(queries=1000, seconds=2, limit=60)
    assert report(1.0, queries=1000, seconds=2.0).fault(scenario) is None
    for few in (report(1.0, queries=999, seconds=60.0), report(1.0, queries=1000, seconds=1.9)):
        assert "of 1000 queries" in str(few.fault(scenario))


def test_the_peak_is_the_fastest_query_of_all_runs() -> None:
    peak = MeasuredFile("peak", job(), macs=50_000_000)
    thing = MeasuredFile("net", job(), macs=10_000_000, peak=peak)
    reports = {"net": [report(1.0), report(2.0)], "peak": [report(2.0), report(5.0)]}
    assert mac_rates(50_000_000, reports["peak"]) == (25.0, 10.0)
    assert [one.runs for one in peak_measurements(peak, reports["peak"])] == [(50.0, 20.0)]
    found = {one.metric: one for one in latency_measurements(thing, reports)}
    assert found["rate"].runs == (10.0, 5.0)
    assert found["of peak"].runs == (20.0, 10.0)
    assert found["MACs"].value == 10.0
    assert found["p90"].runs == (2.0, 4.0) and found["p90"].n == 1024
    assert found["added RSS"].value == 20.0 and found["file"].value == 2.0


@pytest.mark.parametrize(
    ("backend", "name", "compared"),
    [
        ("onnxruntime", "onnxruntime 1.20 (CUDA)", False),
        ("onnxruntime", "onnxruntime 1.20 (CPU)", True),
        ("tensorrt", "TensorRT 10.3", False),
        ("tflite-plain", "ai-edge-litert 2.3 without delegate", True),
    ],
)
def test_a_gpu_is_not_held_against_the_processor(backend: str, name: str, compared: bool) -> None:
    peak = MeasuredFile("peak", job(), macs=100)
    reports = {"net": [report(1.0, backend=name)], "peak": [report(1.0)]}
    found = {one.metric for one in latency_measurements(MeasuredFile("net", job(backend), 10, peak), reports)}
    assert ("of peak" in found) is compared


def test_rounds_take_turns_and_what_fails_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []

    def run(done: Job) -> Report:
        order.append(done.backend)
        if done.backend == "tensorrt":
            raise EdgeEmotionError("no TensorRT")
        return report(1.0)

    monkeypatch.setattr(latency, "run_job", run)
    things = [MeasuredFile(name, job(name), None) for name in ("tflite", "tensorrt", "tflite-plain")]
    absent: dict[str, str] = {}
    reports = latency.run_interleaved(things, 2, absent, lambda line: None)
    assert order == ["tflite", "tensorrt", "tflite-plain", "tflite", "tflite-plain"]
    assert absent == {"tensorrt": "no TensorRT"}
    assert [len(reports[thing.subject]) for thing in things] == [2, 0, 2]


def test_latency_measures_a_shipped_model(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "r.json"
    assert main(["latency", str(copy_with_first_file("tiny", tmp_path / "tiny")), *QUICK, "--json", str(path)]) == 0
    result = read_result(path)
    assert result.subjects == (
        "tiny/tiny_int8.tflite, tflite-plain, 1 thread",
        "tiny/tiny_int8.tflite, tflite, 1 thread",
        "peak int8, 1 thread",
    )
    for subject in result.subjects[:2]:
        for metric in ("p50", "p90", "p99", "offline", "load", "peak RSS", "file", "MACs", "rate"):
            one = result.find(subject, metric)
            assert one and one.value > 0, (subject, metric)
        assert len(one.runs) == 2
    share, peak = result.find(result.subjects[1], "of peak"), result.find(result.subjects[2], "rate")
    assert share and share.value > 0
    assert peak and peak.value > 0 and peak.better is None
    assert not result.invalid and set(result.absent) <= set(DELEGATES)
    if "tflite-coral" in result.absent:
        assert result.absent["tflite-coral"].startswith("libedgetpu.so.1 cannot be loaded: ")
    printed = capsys.readouterr()
    assert ": VALID, n = 2 x 1" in printed.out
    assert "round 2 of 2" in printed.err


def test_a_run_that_the_limit_ends_is_invalid(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--rounds", "1", "--queries", "1000000", "--seconds", "0.05", "--limit", "0.1", "--backend", "tflite"]
    assert main(["latency", "blazeface_short", *options, "--json", str(tmp_path / "r.json")]) == 0
    assert "INVALID (1 of 1 runs: " in capsys.readouterr().out
    assert set(read_result(tmp_path / "r.json").invalid) == set(read_result(tmp_path / "r.json").subjects)


def test_onnx_files_run_in_onnxruntime_and_a_missing_tensorrt_is_said(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnx")
    from support.onnx_models import write_model

    folder = tmp_path / "sums"
    folder.mkdir()
    path = write_model(folder / "sums.onnx", shape=(48, 48, 1), classes=8)
    manifest = load_manifest(MODELS / "tiny")
    change = {"format": "onnx", "precision": "float32", "input_type": "float32", "output_type": "float32"}
    content = {"file": path.name, "sha256": sha256(path), "golden": None}
    entry = manifest.file().model_copy(update={**change, **content})
    (folder / MANIFEST).write_text(dump_manifest(manifest.model_copy(update={"files": (entry,)})))
    assert main(["latency", str(folder), *QUICK, "--json", str(tmp_path / "r.json")]) == 0
    result = read_result(tmp_path / "r.json")
    subject = "sums/sums.onnx, onnxruntime, 1 thread"
    assert result.subjects == (subject, "peak float32, 1 thread")
    macs = result.find(subject, "MACs")
    assert macs and macs.value == 48 * 48 * 8 / 1e6
    assert result.artefacts == {"sums/sums.onnx": sha256(path)}
    if importlib.util.find_spec("tensorrt") is None:
        assert "TensorRT" in result.absent["sums/sums.onnx, tensorrt, 1 thread"]


@pytest.fixture
def broken_model(tmp_path: Path) -> Path:
    """The model tiny with a second file that its manifest lists as a network, but is not one."""
    folder = copy_with_first_file("tiny", tmp_path / "broken")
    (folder / "junk.tflite").write_bytes(b"no network")
    manifest = load_manifest(folder)
    junk = manifest.file().model_copy(update={"file": "junk.tflite", "sha256": sha256(folder / "junk.tflite")})
    changed = manifest.model_copy(update={"files": (junk, *manifest.files)})
    (folder / MANIFEST).write_text(dump_manifest(changed))
    return folder


def test_a_file_that_cannot_be_run_does_not_spoil_the_others(broken_model: Path, tmp_path: Path) -> None:
    options = ["--backend", "tflite", "--backend", "tflite", "--json", str(tmp_path / "r.json")]
    assert main(["latency", str(broken_model), *QUICK, *options]) == 0
    result = read_result(tmp_path / "r.json")
    assert result.subjects[0] == "broken/tiny_int8.tflite, tflite, 1 thread"
    assert set(result.absent) == {"MACs of broken/junk.tflite", "broken/junk.tflite, tflite, 1 thread"}
    assert "cannot be loaded" in result.absent["broken/junk.tflite, tflite, 1 thread"]


@pytest.mark.parametrize(
    ("options", "code", "fault"),
    [
        (["nowhere"], 2, "no model 'nowhere'"),
        (["blazeface_short", "--backend", "onnxruntime"], 2, "no file of blazeface_short is read by onnxruntime"),
        (["tiny", "tiny"], 2, "two models have the same folder name"),
        (["tiny", "--threads", "100000"], 2, "--threads 100000: there are"),
        (["tiny", "--limit", "1", "--seconds", "2"], 2, "--limit 1 is less than --seconds 2"),
    ],
)
def test_what_cannot_be_measured_is_one_line(
    options: list[str], code: int, fault: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["latency", *options]) == code
    errors = [line for line in capsys.readouterr().err.splitlines() if not line.startswith("caution")]
    assert len(errors) == 1 and fault in errors[0]


def test_who_asks_for_more_seconds_gets_a_longer_limit(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[Scenario] = []

    def ask(*_: Any, scenario: Scenario, **__: Any) -> None:
        asked.append(scenario)
        raise ConfigError("enough")

    monkeypatch.setattr(latency, "measure_latency", ask)
    for seconds in ("2", "600"):
        assert main(["latency", "tiny", "--seconds", seconds]) == 2
    assert [scenario.limit for scenario in asked] == [60, 1200]


def test_a_delegate_whose_library_is_missing_is_absent_once(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(DELEGATES, "tflite-coral", "libno-such.so.1")
    absent: dict[str, str] = {}
    assert list(latency.available_backends(["tflite-coral", "tflite", "tflite", "tflite-coral"], absent)) == ["tflite"]
    assert list(absent) == ["tflite-coral"] and absent["tflite-coral"].startswith("libno-such.so.1 cannot be loaded")
    assert main(["latency", "tiny", "--backend", "tflite-coral"]) == 2
    assert "read by tflite-coral; tflite-coral: libno-such.so.1 cannot be loaded" in capsys.readouterr().err


def test_what_a_delegate_computes_is_not_held_against_the_processor() -> None:
    thing = MeasuredFile("net", job("tflite-coral"), macs=1000)
    assert not latency.ran_on_processor(thing, report(1.0))
    assert latency.ran_on_processor(MeasuredFile("net", job("tflite"), macs=1000), report(1.0))


def test_a_worker_that_fails_says_why() -> None:
    damaged = job().model_copy(update={"entry": job().entry.model_copy(update={"sha256": "0" * 64})})
    with pytest.raises(EdgeEmotionError, match="was changed or damaged"):
        latency.run_job(damaged)


def test_a_process_is_pinned_to_as_many_cores_as_it_has_threads() -> None:
    if not hasattr(os, "sched_setaffinity"):
        pytest.skip("this system pins no processes")
    from benchmarks.harness.process import pin

    before = os.sched_getaffinity(0)
    try:
        assert pin(1) == [min(before)] and os.sched_getaffinity(0) == {min(before)}
    finally:
        os.sched_setaffinity(0, before)
