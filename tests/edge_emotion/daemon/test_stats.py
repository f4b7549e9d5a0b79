"""Figures of cameras and of the machine."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from support.broker import wait_until
from support.daemons import SHORT_PAUSES, Script, frames
from support.paths import ROOT
from support.pipelines import Moods, make
from support.system_files import lay
from support.values import face, frame

from edge_emotion.daemon.camera import Camera
from edge_emotion.daemon.camera_stats import CameraMeter
from edge_emotion.daemon.capture import Capture
from edge_emotion.daemon.daemon import Daemon
from edge_emotion.errors import SourceError, SourceStalled
from edge_emotion.outbox.event_counter import EventCounter
from edge_emotion.pipeline.pipeline import StageTimes
from edge_emotion.sinks.memory import MemorySink
from edge_emotion.system.telemetry import Machine, temperature, throttling


def test_losses_and_stalls_are_told_apart() -> None:
    steps = [*frames(0, 5), SourceStalled("slow"), *frames(5, 10), SourceError("cable"), *frames(10, 15)]
    changed = threading.Condition()
    reader = Capture("desk", Script(steps, live=True), changed, max_fps=100, lossless=True, timing=SHORT_PAUSES)
    camera = Camera(reader, make([[face()]], Moods("happiness")))
    Daemon([camera], [MemorySink()], changed, EventCounter(None)).run()
    report = camera.meter.report(reader, 2.0)
    assert (report["reconnects"], report["stalls"]) == (2, 1)
    assert report["capture_fps"] == 7.5 and report["dropped_fps"] == 0
    assert 6.5 <= report["processed_fps"] <= 7.5, "what waits when a camera is lost is not looked at"


def test_rates_are_those_of_the_interval_and_a_new_reader_counts_from_nothing() -> None:
    def reader(frames: int, dropped: int) -> Capture:
        made = Capture("desk", Script([]), threading.Condition(), max_fps=10)
        made.frames, made.slot.dropped = frames, dropped
        return made

    meter, first = CameraMeter(), reader(20, 4)
    for n in range(10):
        meter.took(StageTimes(detect=n / 1000, align=0.001, classify=0.003), 0.002)
    report = meter.report(first, 2.0)
    assert (report["capture_fps"], report["processed_fps"], report["dropped_fps"]) == (10, 5, 2)
    assert report["stages_ms"]["detect"] == {"p50": 4.5, "p90": 8.1, "p99": 8.91}
    assert report["stages_ms"]["classify"]["p50"] == 4, "cropping is a part of it"
    assert report["stages_ms"]["latency"]["p99"] == 2
    again = meter.report(first, 2.0)
    assert (again["capture_fps"], again["processed_fps"], again["stages_ms"]) == (0, 0, {})
    assert meter.report(reader(6, 1), 2.0)["capture_fps"] == 3


def test_frames_that_a_newer_one_replaced_are_counted() -> None:
    reader = Capture("desk", Script([]), threading.Condition(), max_fps=10)
    for n in range(3):
        reader.slot.put(frame(n))
    assert CameraMeter().report(reader, 1.0)["dropped_fps"] == 2


def test_the_processors_zone_is_preferred_and_dead_zones_are_left_out(tmp_path: Path) -> None:
    assert temperature(tmp_path) is None
    zone = "sys/class/thermal/thermal_zone"
    lay(tmp_path, {f"{zone}0/type": "gpu-thermal\n", f"{zone}0/temp": "48250\n"})
    assert temperature(tmp_path) == 48.2
    lay(tmp_path, {f"{zone}1/type": "PMIC-Die\n", f"{zone}1/temp": "100000\n", f"{zone}2/type": "dead\n"})
    lay(tmp_path, {f"{zone}3/type": "cv\n", f"{zone}3/temp": "-256000\n", f"{zone}4/temp": "many\n"})
    assert temperature(tmp_path) == 48.2
    lay(tmp_path, {f"{zone}5/type": "cpu-thermal\n", f"{zone}5/temp": "41000\n"})
    assert temperature(tmp_path) == 41.0


@pytest.mark.parametrize("soc", ["soc/soc:firmware", "soc@107c000000/soc@107c000000:firmware"])
def test_a_raspberry_pi_says_why_it_is_slow(soc: str, tmp_path: Path) -> None:
    flags = f"sys/devices/platform/{soc}/get_throttled"
    lay(tmp_path, {flags: "50000\n"})  # was under-volted and throttled since its start, is not now
    assert throttling(tmp_path) == []
    lay(tmp_path, {flags: "50005\n"})
    assert throttling(tmp_path) == ["under-voltage", "throttled"]


def test_cooling_by_lower_frequencies_is_seen_on_any_machine(tmp_path: Path) -> None:
    device = "sys/class/thermal/cooling_device"
    lay(tmp_path, {f"{device}0/type": "pwm-fan\n", f"{device}0/cur_state": "3\n"})
    assert throttling(tmp_path) is None
    lay(tmp_path, {f"{device}1/type": "cpufreq-cpu0\n", f"{device}1/cur_state": "0\n"})
    assert throttling(tmp_path) == []
    lay(tmp_path, {f"{device}2/type": "thermal-cpufreq-4\n", f"{device}2/cur_state": "2\n"})
    assert throttling(tmp_path) == ["cooling"]


def test_the_kernels_alarm_tells_of_the_voltage_and_a_slowed_gpu_is_no_slowed_processor(tmp_path: Path) -> None:
    device = "sys/class/thermal/cooling_device0"
    lay(tmp_path, {f"{device}/type": "devfreq-gpu\n", f"{device}/cur_state": "2\n"})
    assert throttling(tmp_path) is None
    sensor = "sys/class/hwmon/hwmon1"
    lay(tmp_path, {f"{sensor}/name": "rpi_volt\n", f"{sensor}/in0_lcrit_alarm": "0\n"})
    assert throttling(tmp_path) == []
    lay(tmp_path, {f"{sensor}/in0_lcrit_alarm": "1\n"})
    assert throttling(tmp_path) == ["under-voltage"]


def test_this_process_has_memory_and_used_time() -> None:
    machine = Machine()
    sum(range(1_000_000))
    readings = machine.readings()
    assert 5 < readings["rss_mb"] < 100_000 and readings["cpu_percent"] > 0


def test_a_daemon_whose_terminal_is_gone_stops_and_another_sighup_does_not(tmp_path: Path) -> None:
    program = (
        "import fcntl, sys, termios, threading, time\n"
        "from edge_emotion.daemon.daemon import Daemon\n"
        "from edge_emotion.outbox.event_counter import EventCounter\n"
        "fcntl.ioctl(2, termios.TIOCSCTTY, 0)\n"
        "said = open(sys.argv[1], 'a', buffering=1)\n"
        "daemon = Daemon([], [], threading.Condition(), EventCounter(None))\n"
        "daemon.on_hangup = lambda: print('reload', file=said)\n"
        "daemon.handle_signals()\n"
        "print('ready', file=said)\n"
        "while not daemon._stopped.wait(0.02):\n"
        "    while not daemon._jobs.empty(): daemon._jobs.get()()\n"
        "print('stopped', file=said)\n"
    )
    said = tmp_path / "said"
    said.touch()
    ours, theirs = pty.openpty()
    command = [sys.executable, "-c", program, str(said)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(
        command, stdin=theirs, stdout=theirs, stderr=theirs, env=environment, start_new_session=True
    )
    os.close(theirs)
    try:
        wait_until(lambda: "ready" in said.read_text(), 60)
        process.send_signal(signal.SIGHUP)
        wait_until(lambda: said.read_text() == "ready\nreload\n")
        os.close(ours)  # the terminal goes; the kernel sends the signal
        assert process.wait(20) == 0
        assert said.read_text() == "ready\nreload\nstopped\n"
    finally:
        process.kill()
        process.wait(10)
