"""What reaches standard error beside TensorFlow's remarks."""

from __future__ import annotations

import os

import pytest

from train.quiet import quiet_stderr

REMARKS = (
    "WARNING: All log messages before absl::InitializeLog() is called are written to STDERR\n"
    "I0000 00:00:1796038123.970532   23263 cudart_stub.cc:31] Could not find cuda drivers on your machine.\n"
    "E0000 00:00:1796038130.416768   23263 cuda_platform.cc:52] failed call to cuInit: INTERNAL: CUDA error\n"
)
FAULTS = "E0000 00:00:1796038130.416768   23263 allocator.cc:52] out of memory\nIt is no AVX processor\n"


def test_remarks_are_left_out_and_faults_are_printed(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TF_CPP_MIN_LOG_LEVEL", raising=False)
    with quiet_stderr():
        os.write(2, (REMARKS + FAULTS).encode())
    os.write(2, b"I0000 after\n")
    assert capfd.readouterr().err == FAULTS + "I0000 after\n"


def test_who_sets_the_log_level_reads_everything(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TF_CPP_MIN_LOG_LEVEL", "0")
    with quiet_stderr():
        os.write(2, REMARKS.encode())
    assert capfd.readouterr().err == REMARKS


def test_nothing_is_filtered_without_grep(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TF_CPP_MIN_LOG_LEVEL", raising=False)
    monkeypatch.setenv("PATH", "/none")
    with quiet_stderr():
        os.write(2, REMARKS.encode())
    assert capfd.readouterr().err == REMARKS
