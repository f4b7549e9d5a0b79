"""edge-emotion doctor as a whole, its report, the models and the state directory."""

from __future__ import annotations

import json
import os
import shutil
import threading
from pathlib import Path
from typing import Any

import pytest
from support.broker import free_port
from support.model_folders import copy_with_first_file
from support.source_fakes import mjpeg_server

from edge_emotion.cli.demo import CLIP
from edge_emotion.cli.doctor import EXIT_FAIL
from edge_emotion.cli.main import main
from edge_emotion.config.loader import load
from edge_emotion.config.settings import Settings
from edge_emotion.doctor.examination import examine
from edge_emotion.doctor.report import Check, Finding, Report, run_checks
from edge_emotion.doctor.state_dir import daemon_runs, state
from edge_emotion.errors import BackendUnavailable
from edge_emotion.outbox.event_counter import EventCounter

SECRETS = ("hunter2", "s3cret", "t0ken")


def settings(tmp_path: Path, **others: Any) -> Settings:
    plain = {"node": "pi5", "cameras": {"desk": {"source": str(CLIP)}}, "jsonl": {}, "state_dir": tmp_path / "state"}
    return load(None, {**plain, **others}, environment=False)


def look(check: Check) -> Finding:
    ((_, finding),) = run_checks([check])
    return finding


def damaged_copy(tmp_path: Path, name: str = "mobilenet_v2") -> Path:
    folder = copy_with_first_file(name, tmp_path / "damaged")
    (model,) = folder.glob("*.tflite")
    content = bytearray(model.read_bytes())
    content[len(content) // 2] ^= 1
    model.write_bytes(content)
    return folder


def other_golden(tmp_path: Path) -> Path:
    """A model that computes something else than its manifest says; every hash is right."""
    folder = copy_with_first_file("tiny", tmp_path / "other")
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    manifest["files"][0]["golden"]["expected"][0][0] += 5.0
    (folder / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    return folder


# The report


def test_checks_run_at_the_same_time_and_are_shown_in_their_order() -> None:
    meeting = threading.Barrier(3)

    def meet() -> Finding:
        meeting.wait(10)
        return Finding("ok", "met")

    found = dict(run_checks([Check(name, meet, "") for name in "cab"]))
    assert list(found) == ["c", "a", "b"]
    assert {finding.status for finding in found.values()} == {"ok"}


def test_a_check_that_hangs_fails_with_its_fix_and_the_others_are_done() -> None:
    release = threading.Event()

    def hang() -> Finding:
        release.wait(30)
        return Finding("ok", "")

    try:
        found = dict(run_checks([Check("a", hang, "unplug it", 0.1), Check("b", lambda: Finding("ok", "fine"), "")]))
    finally:
        release.set()
    assert found["a"] == Finding("fail", "no answer within 0.1 s", "unplug it")
    assert found["b"] == Finding("ok", "fine")


def test_a_check_that_raises_is_a_failure_and_tells_no_secret() -> None:
    def wrong() -> Finding:
        raise RuntimeError("password hunter2")

    def expected() -> Finding:
        raise BackendUnavailable("no interpreter")

    def forbidden() -> Finding:
        raise PermissionError(13, "Permission denied", "rtsp://me:hunter2@cam/1")

    assert look(Check("a", expected, "install it")) == Finding("fail", "no interpreter", "install it")
    assert look(Check("a", forbidden, "allow it")) == Finding("fail", "rtsp://***@cam/1: Permission denied", "allow it")
    finding = look(Check("a", wrong, ""))
    assert finding.status == "fail"
    assert "RuntimeError in test_doctor.py line" in finding.detail
    assert "hunter2" not in str(finding)


@pytest.mark.parametrize(
    ("statuses", "worst"),
    [((), "ok"), (("ok", "ok"), "ok"), (("ok", "warn"), "warn"), (("warn", "fail", "ok"), "fail")],
)
def test_a_report_is_as_bad_as_its_worst_finding(statuses: tuple[Any, ...], worst: str) -> None:
    report = Report({str(number): Finding(status, "") for number, status in enumerate(statuses)})
    assert report.status == worst
    assert report.as_dict()["status"] == worst


# The whole


def test_a_sound_node_has_a_finding_for_each_part_and_none_fails(tmp_path: Path) -> None:
    report = examine(settings(tmp_path))
    assert list(report.findings) == [
        "python", "packages", "opencv", "detector", "classifier", "clock", "temperature", "throttling", "state",
        "camera desk",
    ]  # fmt: skip
    assert report.count("fail") == 0, report
    for name in ("python", "detector", "classifier", "state", "camera desk"):
        assert report.findings[name].status == "ok", report.findings[name]
    assert "a frame of 640 x 480" in report.findings["camera desk"].detail
    assert "self-test" in report.findings["classifier"].detail
    assert "ai-edge-litert" in report.findings["classifier"].detail
    assert not (tmp_path / "state").exists()


def test_every_finding_that_is_not_ok_says_what_to_do_and_nothing_tells_a_secret(tmp_path: Path) -> None:
    with mjpeg_server(silent=True) as camera:
        address = camera.url.replace("//", "//me:hunter2@") + "?token=t0ken"
        report = examine(
            settings(
                tmp_path,
                cameras={
                    "door": {"source": address, "open_timeout": 0.5},
                    "yard": {"source": "rtsp://me:hunter2@127.0.0.1:1/stream?password=s3cret"},
                    "desk": {"source": "/dev/video97"},
                    "csi": {"source": "picamera2"},
                    "gst": {"source": "rtspsrc location=rtsp://me:hunter2@cam/1 ! appsink"},
                    "film": {"source": "nowhere.mp4"},
                    "photos": {"source": "nowhere/*.png"},
                },
                mqtt={"host": "127.0.0.1", "port": free_port(), "username": "edge", "password": "s3cret"},
                classifier={"model": str(damaged_copy(tmp_path))},
                detector={"model": "no_such"},
            )
        )
    text = json.dumps(report.as_dict())
    assert not [secret for secret in SECRETS if secret in text]
    assert {check["status"] for check in report.as_dict()["checks"] if not check["fix"]} == {"ok"}
    failed = [name for name, finding in report.findings.items() if finding.status == "fail"]
    assert failed == [
        "detector",
        "classifier",
        *(name for name in report.findings if name.startswith("camera")),
        "broker",
    ]


def test_the_command_prints_lines_with_fixes_and_its_exit_code_tells_of_a_failure(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["doctor", "--jsonl", "-", "--set", f"state_dir={tmp_path}/state"]
    assert main([*arguments, "--source", str(CLIP)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("ok    settings")
    assert lines[-1].endswith("0 fail")
    assert main([*arguments, "--source", "nowhere.mp4"]) == EXIT_FAIL
    lines = capsys.readouterr().out.splitlines()
    place = next(number for number, line in enumerate(lines) if line.startswith("fail  camera camera"))
    assert "no video file nowhere.mp4" in lines[place]
    assert lines[place + 1].strip().startswith("fix: correct cameras.camera.source")
    assert lines[-1].endswith("1 fail")


def test_json_is_one_object_and_wrong_settings_are_a_finding_beside_those_of_the_machine(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["doctor", "--json", "--source", "0", "--jsonl", "-", "--set", "policy.thresold=1"]) == EXIT_FAIL
    report = json.loads(capsys.readouterr().out)
    checks = {check["name"]: check for check in report["checks"]}
    assert (report["schema"], report["status"]) == (1, "fail")
    assert "did you mean 'threshold'?" in checks["settings"]["detail"]
    assert checks["classifier"]["status"] == "ok"
    assert not [name for name in checks if name.startswith("camera")]


# Models


@pytest.mark.parametrize("make, words", [(damaged_copy, "sha256"), (other_golden, "computes something else here")])
def test_a_model_that_is_not_what_its_manifest_says_fails(tmp_path: Path, make: Any, words: str) -> None:
    report = examine(settings(tmp_path, classifier={"model": str(make(tmp_path))}))
    finding = report.findings["classifier"]
    assert finding.status == "fail"
    assert words in finding.detail
    assert "classifier" in finding.fix
    assert report.findings["detector"].status == "ok"


def test_a_damaged_detector_fails(tmp_path: Path) -> None:
    folder = damaged_copy(tmp_path, "blazeface_short")
    finding = examine(settings(tmp_path, detector={"model": str(folder)})).findings["detector"]
    assert finding.status == "fail"
    assert "was changed or damaged" in finding.detail


# The state directory


def test_a_private_folder_of_ours_is_good_and_one_that_others_read_is_warned_of(tmp_path: Path) -> None:
    folder = tmp_path / "state"
    folder.mkdir(mode=0o700)
    assert state(settings(tmp_path)).status == "ok"
    folder.chmod(0o755)
    finding = state(settings(tmp_path))
    assert (finding.status, finding.fix) == ("warn", f"chmod 0700 {folder}")
    assert "0755" in finding.detail


def test_a_file_in_the_place_of_the_folder_fails(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("", encoding="utf-8")
    assert state(settings(tmp_path)).status == "fail"


def test_a_folder_of_somebody_else_is_told_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "state").mkdir(mode=0o700)
    monkeypatch.setattr(os, "geteuid", lambda: 54321)
    finding = state(settings(tmp_path))
    assert finding.status == "fail"
    assert "not to 54321" in finding.detail
    assert "sudo -u" in finding.fix


@pytest.mark.parametrize(("free", "status"), [(19e6, "fail"), (150e6, "warn"), (5e9, "ok")])
def test_a_disk_that_is_nearly_full_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free: float, status: str
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(int(8e9), 0, int(free)))  # type: ignore[attr-defined]
    assert state(settings(tmp_path)).status == status


def test_a_running_daemon_is_seen_by_its_lock(tmp_path: Path) -> None:
    assert not daemon_runs(settings(tmp_path))
    counter = EventCounter(tmp_path / "state", "pi5")
    assert daemon_runs(settings(tmp_path))
    assert not daemon_runs(settings(tmp_path, node="pi4"))
    counter.close()
    assert not daemon_runs(settings(tmp_path))
