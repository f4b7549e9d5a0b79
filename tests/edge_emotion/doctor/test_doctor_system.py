"""The doctor's look at the machine; the files of other machines are laid out as their kernels do it."""

from __future__ import annotations

import sys
from datetime import datetime, timedelta, timezone
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from typing import Any

import cv2
import pytest
from support.system_files import lay

from edge_emotion.doctor import machine as doctor_system
from edge_emotion.doctor.machine import clock, is_jetson, jetson, opencv, packages, python, temperature, throttling

REQUIRED = ["numpy>=1.26", "paho-mqtt<3,>=2.1", 'amqtt<0.13; extra == "demo"', "pydantic-settings[yaml]>=2.4"]


def install(monkeypatch: pytest.MonkeyPatch, required: list[str], versions: dict[str, str]) -> None:
    def version(name: str) -> str:
        if name not in versions:
            raise PackageNotFoundError(name)
        return versions[name]

    monkeypatch.setattr(doctor_system, "requires", lambda _: required)
    monkeypatch.setattr(doctor_system, "version", version)


# Python and packages


def test_this_python_is_good_and_the_board_is_named(tmp_path: Path) -> None:
    finding = python(lay(tmp_path, {"proc/device-tree/model": "Raspberry Pi 5 Model B Rev 1.0\0"}))
    assert finding.status == "ok"
    assert "on Raspberry Pi 5 Model B Rev 1.0, " in finding.detail


def test_a_32_bit_python_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "maxsize", 2**31 - 1)
    finding = python()
    assert finding.status == "fail"
    assert "64-bit" in finding.fix


def test_a_python_that_the_program_does_not_support_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor_system, "metadata", lambda _: {"Requires-Python": ">=3.98"})
    assert python().status == "fail"


def test_what_this_program_requires_is_installed_here() -> None:
    finding = packages()
    assert finding.status == "ok", finding
    assert "numpy" in finding.detail


def test_missing_and_too_old_packages_fail_with_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, REQUIRED, {"numpy": "1.24.2", "pydantic-settings": "2.16"})
    finding = packages()
    assert (finding.status, finding.detail) == ("fail", "numpy 1.24.2, paho-mqtt is missing")
    assert "'numpy>=1.26' 'paho-mqtt<3,>=2.1'" in finding.fix


def test_the_systems_opencv_is_as_good_as_that_from_pypi(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, ["opencv-python-headless<5,>=4.10"], {})
    monkeypatch.setattr(cv2, "__version__", "4.6.0")
    finding = packages()
    assert (finding.status, finding.detail) == ("ok", "opencv-python-headless 4.6.0 (not from PyPI: cv2)")


def test_two_opencv_packages_are_warned_of(monkeypatch: pytest.MonkeyPatch) -> None:
    install(
        monkeypatch, ["opencv-python-headless<5,>=4.10"], {"opencv-python-headless": "4.11", "opencv-python": "4.13"}
    )
    finding = packages()
    assert finding.status == "warn"
    assert "uninstall opencv-python-headless opencv-python" in finding.fix


def test_a_program_that_is_not_installed_cannot_say_what_it_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(_: str) -> Any:
        raise PackageNotFoundError

    monkeypatch.setattr(doctor_system, "requires", missing)
    monkeypatch.setattr(doctor_system, "metadata", missing)
    assert (packages().status, python().status) == ("warn", "ok")


@pytest.mark.parametrize(("gstreamer", "status"), [("YES (1.20.3)", "ok"), ("NO", "warn")])
def test_gstreamer_matters_on_a_jetson(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, gstreamer: str, status: str
) -> None:
    monkeypatch.setattr(cv2, "getBuildInformation", lambda: f"    GStreamer:   {gstreamer}\n")
    assert opencv(tmp_path).status == "ok"
    assert opencv(lay(tmp_path, {"etc/nv_tegra_release": "# R36 (release)"})).status == status


# Time


class _Kernel:
    def __init__(self, answer: int) -> None:
        self.adjtimex = lambda _: answer


@pytest.mark.parametrize(
    ("answer", "timesyncd", "status"),
    [(0, False, "ok"), (5, False, "warn"), (5, True, "warn"), (-1, True, "ok"), (-1, False, "warn")],
)
def test_the_kernel_says_whether_the_clock_is_right_or_else_timesyncd(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: int, timesyncd: bool, status: str
) -> None:
    monkeypatch.setattr(doctor_system.ctypes, "CDLL", lambda _: _Kernel(answer))
    if timesyncd:
        lay(tmp_path, {"run/systemd/timesync/synchronized": ""})
    assert clock(tmp_path).status == status


def test_the_real_kernel_answers() -> None:
    assert clock().status in ("ok", "warn")


@pytest.mark.parametrize("year", [1970, 2199])
def test_a_time_that_cannot_be_fails(monkeypatch: pytest.MonkeyPatch, year: int) -> None:
    class Clock(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> Any:
            return datetime(year, 1, 1, tzinfo=timezone.utc) + timedelta(minutes=5)

    monkeypatch.setattr(doctor_system, "datetime", Clock)
    finding = clock()
    assert finding.status == "fail"
    assert f"{year}-01-01" in finding.detail
    assert "timedatectl" in finding.fix


# Heat and power

COOL = {"sys/class/thermal/thermal_zone0/type": "cpu-thermal\n", "sys/class/thermal/thermal_zone0/temp": "48312\n"}
GPU = {"sys/class/thermal/thermal_zone1/type": "gpu-thermal\n", "sys/class/thermal/thermal_zone1/temp": "81500\n"}
PMIC = {"sys/class/thermal/thermal_zone9/type": "PMIC-Die\n", "sys/class/thermal/thermal_zone9/temp": "100000\n"}
THROTTLED = "sys/devices/platform/soc/soc:firmware/get_throttled"
HWMON = "sys/class/hwmon/hwmon2"
COOLING = "sys/class/thermal/cooling_device"


@pytest.mark.parametrize(
    ("files", "status", "words"),
    [
        ({}, "ok", "no sensor"),
        (COOL, "ok", "48.3 °C (cpu-thermal)"),
        (COOL | PMIC, "ok", "48.3 °C (cpu-thermal)"),
        (COOL | GPU, "warn", "81.5 °C (gpu-thermal)"),
        ({"sys/class/thermal/thermal_zone0/temp": "nonsense"}, "ok", "no sensor"),
    ],
)
def test_the_hottest_zone_counts(tmp_path: Path, files: dict[str, str], status: str, words: str) -> None:
    finding = temperature(lay(tmp_path, files))
    assert finding.status == status
    assert words in finding.detail


@pytest.mark.parametrize(
    ("files", "status", "detail"),
    [
        ({}, "ok", "no sign of it"),
        ({THROTTLED: "0\n"}, "ok", "no sign of it"),
        ({THROTTLED: "50005\n"}, "warn", "now: the supply voltage is too low, throttled"),
        ({THROTTLED: "80000\n"}, "warn", "not now, but since the start: hot: slowed down"),
        (
            {f"{HWMON}/name": "rpi_volt\n", f"{HWMON}/in0_lcrit_alarm": "1\n"},
            "warn",
            "now: the supply voltage is too low",
        ),
        ({f"{HWMON}/name": "rpi_volt\n", f"{HWMON}/in0_lcrit_alarm": "0\n"}, "ok", "no sign of it"),
        ({f"{HWMON}/name": "other\n", f"{HWMON}/in0_lcrit_alarm": "1\n"}, "ok", "no sign of it"),
        (
            {f"{COOLING}0/type": "cpufreq-cpu0\n", f"{COOLING}0/cur_state": "2\n"},
            "warn",
            "now: cpufreq-cpu0 slows down",
        ),
        ({f"{COOLING}0/type": "pwm-fan\n", f"{COOLING}0/cur_state": "3\n"}, "ok", "no sign of it"),
    ],
)
def test_what_holds_the_processor_back_is_told(tmp_path: Path, files: dict[str, str], status: str, detail: str) -> None:
    finding = throttling(lay(tmp_path, files))
    assert (finding.status, finding.detail) == (status, detail)
    assert bool(finding.fix) == (status == "warn")


# Jetson


def test_a_jetson_is_known_by_its_release_or_its_device_tree(tmp_path: Path) -> None:
    assert not is_jetson(tmp_path)
    assert is_jetson(lay(tmp_path, {"proc/device-tree/compatible": "nvidia,p3768-0000+p3767-0005\0nvidia,tegra234\0"}))


@pytest.mark.parametrize(
    ("release", "words"),
    [
        (
            "# R36 (release), REVISION: 4.3, GCID: 38968081, BOARD: generic, EABI: aarch64",
            "JetPack 6, Jetson Linux 36.4.3",
        ),
        ("# R38 (release), REVISION: 2.0, GCID: 1", "JetPack 7, Jetson Linux 38.2.0"),
        ("", "JetPack (unknown), Jetson Linux ?.?"),
    ],
)
def test_jetpack_and_tensorrt_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, release: str, words: str
) -> None:
    lay(tmp_path, {"etc/nv_tegra_release": release})
    monkeypatch.setattr(doctor_system, "find_spec", lambda _: None)
    without = jetson(tmp_path)
    monkeypatch.setattr(doctor_system, "find_spec", lambda _: object())
    install(monkeypatch, [], {"tensorrt": "10.3.0"})
    found = jetson(tmp_path)
    assert (without.status, "--system-site-packages" in without.fix) == ("warn", True)
    assert (found.status, found.detail) == ("ok", f"{words}, TensorRT 10.3.0")
