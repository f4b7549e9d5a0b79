"""Meters as the kernels of a PC and a Jetson lay them out, and what is counted on them."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.system_files import lay

from benchmarks.harness.conditions import Conditions, Watch
from benchmarks.harness.energy import Counter, Rail, find_meters, used

PACKAGE = "sys/class/powercap/intel-rapl:0"
CORE = "sys/class/powercap/intel-rapl:0:0"
MONITOR = "sys/class/hwmon/hwmon3"
JETSON = {
    f"{MONITOR}/name": "ina3221\n",
    f"{MONITOR}/in1_label": "VDD_IN\n",
    f"{MONITOR}/in1_input": "5000\n",
    f"{MONITOR}/curr1_input": "1000\n",
    f"{MONITOR}/in2_label": "VDD_CPU_GPU_CV\n",
    f"{MONITOR}/in2_input": "5000\n",
    f"{MONITOR}/curr2_input": "200\n",
    f"{MONITOR}/in4_input": "3\n",  # the voltage over a shunt
    f"{MONITOR}/curr4_input": "1200\n",  # the sum of the currents
    f"{MONITOR}/in7_label": "sum of shunt voltages\n",
    f"{MONITOR}/in7_input": "4\n",
}


def rapl(energy: int, span: int = 1000) -> dict[str, str]:
    return {
        f"{PACKAGE}/name": "package-0\n",
        f"{PACKAGE}/energy_uj": f"{energy}\n",
        f"{PACKAGE}/max_energy_range_uj": f"{span}\n",
        f"{CORE}/name": "core\n",
        f"{CORE}/energy_uj": "5\n",
        f"{CORE}/max_energy_range_uj": "1000\n",
    }


@pytest.mark.parametrize(("before", "after", "difference"), [(10, 30, 20), (10, 10, 0), (990, 20, 30), (1, 0, 999)])
def test_a_counter_that_begins_again_is_counted_on(before: int, after: int, difference: int) -> None:
    assert used(before, after, 1000) == difference


def test_a_counter_adds_up_over_several_wraps(tmp_path: Path) -> None:
    counter = Counter(lay(tmp_path, rapl(900)) / PACKAGE)
    for moment, energy in enumerate((900, 100, 700, 50)):
        lay(tmp_path, rapl(energy))
        counter.look(float(moment))
    assert counter.joules == pytest.approx((200 + 600 + 350) / 1e6)


def test_a_rail_is_volts_times_amperes_added_up_over_time(tmp_path: Path) -> None:
    lay(tmp_path, {"in": "5000", "curr": "1000"})
    rail = Rail(tmp_path / "in", tmp_path / "curr")
    rail.look(10.0)
    assert rail.joules == 0
    lay(tmp_path, {"curr": "3000"})
    rail.look(12.0)
    assert rail.joules == pytest.approx(2 * (5 + 15) / 2)


def test_packages_and_rails_are_found_and_their_parts_are_not(tmp_path: Path) -> None:
    single = {"sys/class/hwmon/hwmon4/name": "ina219\n", "sys/class/hwmon/hwmon4/power1_input": "2500000\n"}
    fan = {"sys/class/hwmon/hwmon5/name": "pwmfan\n", "sys/class/hwmon/hwmon5/power1_input": "1\n"}
    meters, missing = find_meters(lay(tmp_path, rapl(1) | JETSON | single | fan))
    assert list(meters) == ["package-0", "VDD_IN", "VDD_CPU_GPU_CV", "ina219 1"] and missing is None
    for meter in meters.values():
        meter.look(0.0)
        meter.look(2.0)
    assert [meter.joules for meter in meters.values()] == pytest.approx([0, 10, 2, 5])


def test_what_is_not_there_or_not_readable_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    meters, missing = find_meters(tmp_path)
    assert not meters and missing and "intel-rapl:0" in missing and "INA" in missing
    lay(tmp_path, rapl(1))
    read = Path.read_text

    def locked(path: Path, *arguments: str, **options: str) -> str:
        if path.name == "energy_uj":  # as the kernel has it since 5.10; the tests may be root
            raise PermissionError(13, "Permission denied", str(path))
        return read(path, *arguments, **options)

    monkeypatch.setattr(Path, "read_text", locked)
    meters, missing = find_meters(tmp_path)
    assert not meters and missing and "only root may read" in missing and "sudo chmod a+r" in missing


def test_conditions_are_those_between_two_moments(tmp_path: Path) -> None:
    zone, cooler = "sys/class/thermal/thermal_zone0", "sys/class/thermal/cooling_device0"
    lay(tmp_path, JETSON | {f"{zone}/type": "cpu-thermal", f"{cooler}/type": "cpufreq-cpu0"})
    lay(tmp_path, {f"{zone}/temp": "90000", f"{cooler}/cur_state": "1"})
    watch = Watch(tmp_path)
    assert not watch.absent
    watch.look(0.0)
    for moment, degrees in ((10.0, 50), (20.0, 61), (30.0, 55)):
        lay(tmp_path, {f"{zone}/temp": f"{degrees}000", f"{cooler}/cur_state": "0"})
        watch.look(moment)
    seen = watch.between(5.0, 25.0)
    assert (seen.hottest, seen.throttling) == (61.0, ())
    assert seen.joules == pytest.approx({"VDD_IN": 100.0, "VDD_CPU_GPU_CV": 20.0})
    assert watch.between(0.0, 30.0).throttling == ("cooling",)


def test_a_machine_without_sensors_says_so_for_each(tmp_path: Path) -> None:
    with Watch(tmp_path) as watch:
        pass
    assert set(watch.absent) == {"energy", "temperature", "throttling"}
    assert watch.between(0.0, 1e9) == Conditions(None, None, {})


def test_a_meter_that_stops_telling_is_left_out(tmp_path: Path) -> None:
    watch = Watch(lay(tmp_path, JETSON))
    watch.look(0.0)
    (tmp_path / MONITOR / "curr2_input").unlink()
    watch.look(1.0)
    assert list(watch.between(0.0, 1.0).joules) == ["VDD_IN"]
    assert watch.absent == {
        "energy VDD_CPU_GPU_CV": "its meter has stopped telling",
        "temperature": "no thermal zone in /sys/class/thermal",
        "throttling": "neither firmware nor kernel tells whether the processor is slowed down",
    }
