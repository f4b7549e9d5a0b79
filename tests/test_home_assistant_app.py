"""The app for Home Assistant: its files by the Supervisor's rules, its start with the Supervisor's answers."""

from __future__ import annotations

import copy
import importlib.util
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import cv2
import numpy as np
import pytest
import yaml
from support.broker import Broker, Subscriber, free_port, password_access, wait_until
from support.home_assistant_app import check_config, check_options, check_repository, check_translations
from support.paths import ROOT
from support.supervisor import TOKEN, Supervisor

from edge_emotion import __version__
from edge_emotion.config.loader import load
from edge_emotion.config.settings import CameraSettings

FOLDER = ROOT / "deploy" / "homeassistant"
APP = FOLDER / "edge-emotion"
CONFIG: dict[str, Any] = yaml.safe_load((APP / "config.yaml").read_text())
SERVICE = {"host": "core-mosquitto", "port": 1883, "username": "addons", "password": "geheim", "ssl": False}
OPTIONS: dict[str, Any] = {
    "node": "home",
    "cameras": [{"name": "desk", "source": "/dev/video0", "max_fps": 5}, {"name": "Door_2", "source": "rtsp://a/b"}],
    "mqtt": {},
    "settings": [],
}


@pytest.fixture(scope="module")
def start() -> ModuleType:
    spec = importlib.util.spec_from_file_location("app_start", APP / "start.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def supervisor() -> Iterator[Callable[..., Supervisor]]:
    made: list[Supervisor] = []

    def make(service: dict[str, Any] | None, failures: int = 0) -> Supervisor:
        made.append(Supervisor(service, failures))
        return made[-1]

    yield make
    for one in made:
        one.close()


# The files, by the Supervisor's rules


def test_the_app_and_its_repository_obey_the_supervisors_rules() -> None:
    check_config(CONFIG)
    check_repository(yaml.safe_load((FOLDER / "repository.yaml").read_text()))
    check_translations((APP / "translations" / "en.yaml").read_text(), CONFIG["schema"])
    others = [
        path for path in ROOT.glob("*/**/config.yaml") if not path.parts[len(ROOT.parts)].startswith((".", "runs"))
    ]
    assert others == [APP / "config.yaml"], "the Supervisor takes every config.yaml of a repository for an app"


def test_icon_and_logo_have_the_expected_sizes_and_are_those_that_the_script_draws(tmp_path: Path) -> None:
    subprocess.run([sys.executable, ROOT / "scripts" / "draw_app_icon.py", tmp_path], check=True, timeout=60)
    for name, size in {"icon.png": (128, 128, 4), "logo.png": (100, 250, 4)}.items():
        kept, drawn = (cv2.imread(str(folder / name), cv2.IMREAD_UNCHANGED) for folder in (APP, tmp_path))
        assert kept is not None and drawn is not None
        assert kept.shape == drawn.shape == size
        assert np.abs(kept.astype(int) - drawn).mean() < 1  # another OpenCV may draw the edges otherwise
        assert 0.05 < (kept[..., 3] > 0).mean() < 0.6


@pytest.mark.parametrize(
    "damage",
    [
        lambda c: c.pop("slug"),
        lambda c: c.update(slug="edge emotion"),
        lambda c: c.update(arch=["x86_64"]),
        lambda c: c.update(ingres=True),
        lambda c: c.update(ingress="yes"),
        lambda c: c.update(startup="later"),
        lambda c: c.update(services=["mqtt:wants"]),
        lambda c: c.update(watchdog="http://localhost:8099/healthz"),
        lambda c: c.update(version=0.1),
        lambda c: c["schema"].update(node="string"),
        lambda c: c["schema"].update(deep={"one": {"two": {"three": "str"}}}),
        lambda c: c["options"].pop("node"),
        lambda c: c["options"].update(node="my home"),
        lambda c: c["options"]["cameras"][0].pop("source"),
        lambda c: c["options"]["cameras"][0].update(width=1),
        lambda c: c["options"].update(model="huge"),
    ],
)
def test_the_rules_find_what_the_supervisor_would_refuse(damage: Any) -> None:
    config = copy.deepcopy(CONFIG)
    damage(config)
    with pytest.raises((AssertionError, KeyError, TypeError)):
        check_config(config)


def test_the_app_asks_for_no_more_than_cameras_and_the_broker() -> None:
    assert CONFIG["video"] is True and CONFIG["services"] == ["mqtt:want"]
    for wide in ("ports", "host_network", "map", "privileged", "full_access", "hassio_api", "homeassistant_api", "usb"):
        assert wide not in CONFIG
    assert CONFIG.get("apparmor", True) is True and CONFIG.get("panel_admin", True) is True


def test_versions_ports_and_choices_are_those_of_the_program(start: ModuleType) -> None:
    assert CONFIG["version"] == __version__
    assert f"## {__version__}" in (APP / "CHANGELOG.md").read_text()
    assert f"0.0.0.0:{CONFIG['ingress_port']}" == start.LISTEN
    assert CONFIG["watchdog"] == f"http://[HOST]:{CONFIG['ingress_port']}/healthz"
    (camera,) = CONFIG["schema"]["cameras"]
    assert set(camera) - {"name"} <= set(CameraSettings.model_fields)
    for model in re.fullmatch(r"list\((.+)\)\?", CONFIG["schema"]["model"])[1].split("|"):  # type: ignore[index]
        assert (ROOT / "edge_emotion" / "models" / model / "manifest.json").is_file()


def test_the_image_gets_every_file_that_it_copies_and_becomes_no_root(start: ModuleType) -> None:
    text = (APP / "Dockerfile").read_text()
    assert re.findall(r"^COPY (?!--from)(\S+) ", text, re.MULTILINE) == ["wheels/*.whl", "start.py"]
    assert f"useradd --uid {start.USER} " in text and start.USER > 0
    assert not re.search(r"^(ADD|ENV .*(PASS|TOKEN|SECRET))", text, re.MULTILINE)


# Options and broker become settings


def settings_of(start: ModuleType, options: dict[str, Any], broker: dict[str, Any], folder: Path) -> dict[str, Any]:
    """As the daemon reads them."""
    file = folder / "settings.yaml"
    start.write_settings(
        start.make_settings(options, broker, Path("/data/state"), start.LISTEN, start.SUPERVISOR_ADDRESS), file
    )
    assert file.stat().st_mode & 0o777 == 0o600, "passwords are in it"
    loaded = load(file, environment=False).model_dump(mode="json", exclude_unset=True)
    loaded["mqtt"] = json.loads(file.read_text()).get("mqtt")
    return loaded


def test_options_and_the_supervisors_broker_are_settings(start: ModuleType, tmp_path: Path) -> None:
    check_options(CONFIG["schema"], OPTIONS)
    assert settings_of(start, OPTIONS, SERVICE, tmp_path) == {
        "node": "home",
        "cameras": {"desk": {"source": "/dev/video0", "max_fps": 5.0}, "Door_2": {"source": "rtsp://a/b"}},
        "classifier": {},
        "policy": {},
        "mqtt": {"host": "core-mosquitto", "port": 1883, "username": "addons", "password": "geheim"},
        "web": {"listen": "0.0.0.0:8099", "trusted_proxy": "172.30.32.2"},
        "state_dir": "/data/state",
    }


def test_choices_are_settings_and_what_is_left_empty_is_none(start: ModuleType, tmp_path: Path) -> None:
    options = {
        **OPTIONS,
        "cameras": [{"name": "desk", "source": "0", "width": 640, "height": 480, "range": "room"}],
        "model": "tiny",
        "threshold": 0.7,
        "log_level": "debug",
        "mqtt": {"host": "broker.local", "port": 8883, "username": "", "tls": True},
    }
    check_options(CONFIG["schema"], options)
    made = settings_of(start, options, options["mqtt"], tmp_path)
    assert made["cameras"]["desk"] == {"source": "0", "width": 640, "height": 480, "range": "room"}
    assert made["classifier"] == {"model": "tiny"} and made["policy"] == {"threshold": 0.7}
    assert made["mqtt"] == {"host": "broker.local", "port": 8883, "tls": {}} and made["log_level"] == "debug"
    alone = settings_of(start, OPTIONS, {}, tmp_path)
    assert alone["mqtt"] is None, "a page alone is a place to go for events"


def test_the_defaults_of_the_app_are_settings_of_the_daemon(start: ModuleType, tmp_path: Path) -> None:
    assert settings_of(start, CONFIG["options"], SERVICE, tmp_path)["cameras"] == {"camera": {"source": "/dev/video0"}}


def test_further_settings_are_arguments_except_those_that_would_open_the_page(start: ModuleType) -> None:
    wanted = ["policy.min_dwell=0.6", "cameras.desk.ignore_still=true"]
    check_options(CONFIG["schema"], {**OPTIONS, "settings": wanted})
    assert start.further_settings({"settings": wanted}) == ["--set", wanted[0], "--set", wanted[1]]
    for own in ("web.trusted_proxy=0.0.0.0", "web={}", " web.listen=0.0.0.0:80", "state_dir=/data"):
        with pytest.raises(start.Fault, match="belongs to the app"):
            start.further_settings({"settings": [own]})


# The Supervisor


def test_the_supervisors_broker_is_asked_for_with_the_apps_token(start: ModuleType, supervisor: Any) -> None:
    one = supervisor(SERVICE)
    assert start.ask_for_broker(one.address, TOKEN) == SERVICE
    assert one.paths == ["/services/mqtt"]
    assert start.ask_for_broker(supervisor(None).address, TOKEN) is None, "no broker is installed"


def test_a_supervisor_that_fails_is_asked_again_and_then_named(
    start: ModuleType, supervisor: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(start, "PAUSE", 0.0)
    assert start.ask_for_broker(supervisor(SERVICE, failures=start.ATTEMPTS - 1).address, TOKEN) == SERVICE
    with pytest.raises(start.Fault, match=r"does not name its broker \(HTTP status 401\)"):
        start.ask_for_broker(supervisor(SERVICE).address, "wrong")
    with pytest.raises(start.Fault, match="refused"):
        start.ask_for_broker(f"http://127.0.0.1:{free_port()}", TOKEN)


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ("{", "cannot be read"),
        ("[1]", "must hold an object"),
        (json.dumps({**OPTIONS, "mqtt": {"host": "b"}, "cameras": []}), "no camera: add one"),
        (
            json.dumps({**OPTIONS, "mqtt": {"host": "b"}, "cameras": OPTIONS["cameras"][:1] * 2}),
            "two cameras are called",
        ),
        (json.dumps({**OPTIONS, "mqtt": {"host": "b"}, "settings": ["web={}"]}), "web belongs to the app"),
    ],
)
def test_a_fault_is_one_line_and_writes_no_settings(
    options: str, line: str, start: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "options.json").write_text(options)
    places = {"options": "options.json", "settings": "run/settings.yaml", "state": "state"}
    with pytest.raises(SystemExit) as ended:
        start.main([part for name, place in places.items() for part in (f"--{name}", str(tmp_path / place))])
    told = capsys.readouterr().err
    assert ended.value.code == 2 and line in told and told.count("\n") == 1
    assert not (tmp_path / "run").exists()


def test_a_daemon_that_cannot_be_started_is_one_line(
    start: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "options.json").write_text(json.dumps({**OPTIONS, "mqtt": {"host": "b"}}))
    places = {"options": "options.json", "settings": "run/settings.yaml", "state": "state", "program": "missing"}
    given = [part for name, place in places.items() for part in (f"--{name}", str(tmp_path / place))]
    with pytest.raises(SystemExit) as ended:
        start.main([*given, "--user", str(os.getuid())])
    told = capsys.readouterr().err
    assert ended.value.code == 2 and "missing" in told and told.count("\n") == 1


# The process


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """Everybody may pass its parents, as those of /data; those of tmp_path only their owner."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_the_daemon_is_no_root_and_keeps_what_it_owns(open_folder: Path) -> None:
    state, closed = open_folder / "state", open_folder / "closed"
    for folder in (state, closed):
        folder.mkdir()
    (state / "left-by-root").write_text("x")
    code = (
        f"import os, sys; sys.path.insert(0, {str(APP)!r}); import start; from pathlib import Path;"
        f"start.become(start.USER, [Path(sys.argv[1])]); open(sys.argv[1] + '/left-by-root', 'a').close();"
        f"print(os.getuid(), os.getgid(), 0 in os.getgroups())"
    )

    def become(folder: Path) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-B", "-c", code, str(folder)]
        return subprocess.run(command, capture_output=True, text=True, timeout=60, cwd="/")

    done = become(state)
    assert done.stdout.split() == ["10001", "10001", "False"], done.stderr
    closed.chmod(0o700)
    assert "must let everybody pass" in become(closed / "state").stderr


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    one = Broker(tmp_path, password_access(tmp_path, "addons", "geheim")).start()
    yield one
    one.stop()


@pytest.mark.skipif(shutil.which("mosquitto") is None, reason="mosquitto is not installed: apt-get install mosquitto")
def test_the_app_starts_the_daemon_with_the_supervisors_broker_and_a_page_for_the_supervisor_alone(
    broker: Broker, supervisor: Any, tmp_path: Path
) -> None:
    clip = ROOT / "edge_emotion" / "demo.mp4"
    options = {**OPTIONS, "cameras": [{"name": "desk", "source": str(clip)}], "model": "tiny"}
    options["settings"] = ["cameras.desk.loop=true"]
    (tmp_path / "options.json").write_text(json.dumps(options))
    port = free_port()
    given = {
        "options": tmp_path / "options.json",
        "state": tmp_path / "state",
        "settings": tmp_path / "memory" / "settings.yaml",
        "supervisor": supervisor({**SERVICE, "host": "127.0.0.1", "port": broker.port}).address,
        "listen": f"127.0.0.1:{port}",
        "proxy": "127.0.0.2",
        "user": os.getuid(),
        "program": Path(sys.executable).parent / "edge-emotion",
    }
    arguments = [part for name, value in given.items() for part in (f"--{name}", str(value))]
    environment = {**os.environ, "SUPERVISOR_TOKEN": TOKEN, "OMP_NUM_THREADS": "1"}
    subscriber = Subscriber(broker, "home-assistant", "addons", "geheim")
    with (tmp_path / "app.log").open("wb") as log:
        app = subprocess.Popen([sys.executable, "-B", APP / "start.py", *arguments], stderr=log, env=environment)
    try:
        wait_until(lambda: subscriber.on("edge-emotion/home/desk/events"), 60)
        (device,) = {message.topic for message in subscriber.on("/config")}
        assert device == "homeassistant/device/edge-emotion_home/config"
        assert status(port) == 403 and status(port, "172.30.32.2") == 403
        assert TOKEN.encode() not in Path(f"/proc/{app.pid}/environ").read_bytes()
        assert app.poll() is None
    finally:
        app.send_signal(signal.SIGTERM)
        code = app.wait(30)
        subscriber.close()
    assert code == 0, (tmp_path / "app.log").read_text()


def status(port: int, forwarded: str = "") -> int:
    request = urllib.request.Request(f"http://127.0.0.1:{port}/healthz", headers={"X-Forwarded-For": forwarded})
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


# The repository


def make_repository(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["sh", FOLDER / "make-repository.sh", *arguments], capture_output=True, text=True, timeout=60)


def test_a_repository_with_the_wheel_is_made_again_and_again(tmp_path: Path) -> None:
    target = tmp_path / "apps"
    for version in ("0.0.1", __version__):
        wheel = tmp_path / f"edge_emotion-{version}-py3-none-any.whl"
        wheel.write_text("a wheel")
        done = make_repository(target, wheel)
        assert done.returncode == 0, done.stderr
    app = target / "edge-emotion"
    check_config(yaml.safe_load((app / "config.yaml").read_text()))
    assert [path.name for path in (app / "wheels").iterdir()] == [f"edge_emotion-{__version__}-py3-none-any.whl"]
    assert {path.name for path in target.iterdir()} == {"repository.yaml", "edge-emotion"}
    for name in ("Dockerfile", "start.py", "DOCS.md", "README.md", "CHANGELOG.md", "translations/en.yaml"):
        assert (app / name).is_file()


def test_nothing_else_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / "edge-emotion").mkdir()
    (tmp_path / "edge-emotion" / "notes").write_text("mine")
    assert make_repository(tmp_path, tmp_path / "none.whl").returncode == 2
    assert (tmp_path / "edge-emotion" / "notes").read_text() == "mine"
    missing = make_repository(tmp_path / "new", tmp_path / "none.whl")
    assert missing.returncode == 2 and "there is no wheel" in missing.stderr and not (tmp_path / "new").exists()
