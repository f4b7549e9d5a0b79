"""The installer, run for real on a root folder, with a stand-in for chroot that plays the target system."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from support.paths import ROOT

pytestmark = pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not installed")

SETTINGS = "etc/edge-emotion/edge-emotion.yaml"
UNIT = "etc/systemd/system/edge-emotion.service"
DROP_IN = "etc/systemd/system/edge-emotion.service.d/jetson.conf"

# What the target system answers. It writes down every command.
CHROOT = """#!/bin/bash
root=$1; shift
echo "$*" | tr '\\n' ' ' >>"$FAKE_LOG"; echo >>"$FAKE_LOG"
case "$1 $2" in
    "dpkg --print-architecture") echo "$FAKE_ARCHITECTURE" ;;
    "dpkg-query "*) echo "$FAKE_PACKAGES" ;;
    "apt-cache "*) echo "$4" ;;
    "getent "*) grep -qs "^$3:" "$root/etc/$2" ;;
    "useradd "*) mkdir -p "$root/etc"; echo edge-emotion: >>"$root/etc/passwd" ;;
    "userdel "*) rm "$root/etc/passwd" ;;
    "python3 -m") mkdir -p "$root/opt/edge-emotion/bin"
        echo 'include-system-site-packages = true' >"$root/opt/edge-emotion/pyvenv.cfg" ;;
    "python3 -c") case $3 in
        *version_info*) echo "$FAKE_PYTHON" ;;
        *cv2*) [ "$FAKE_GSTREAMER" = yes ] ;;
        *numpy*) echo "$FAKE_NUMPY" ;;
        esac ;;
    "/opt/edge-emotion/bin/python -c") case $3 in
        *version_info*) [ -f "$root/opt/edge-emotion/pyvenv.cfg" ] && echo "$FAKE_PYTHON" ;;
        *requires*) shift; exec "$REAL_PYTHON" "$@" ;;
        esac ;;
    "stat "*) [ -d "$root/etc/edge-emotion" ] && echo "750 edge-emotion" ;;
    "install -d") mkdir -p "$root/etc/edge-emotion" ;;
esac
"""


class Target:
    """A root folder and what the stand-ins say about it."""

    def __init__(self, folder: Path) -> None:
        self.root, self._bin, self._log = folder / "root", folder / "bin", folder / "commands"
        (self.root / "tmp").mkdir(parents=True)
        self._bin.mkdir()
        for name, text in (
            ("chroot", CHROOT),
            ("systemctl", '#!/bin/sh\necho "systemctl $*" >>"$FAKE_LOG"\n'),
            ("id", "#!/bin/sh\necho 0\n"),
        ):
            (self._bin / name).write_text(text)
            (self._bin / name).chmod(0o755)
        self.answers = {
            "ARCHITECTURE": "arm64",
            "PACKAGES": "installed",
            "PYTHON": "3.11",
            "NUMPY": "1",
            "GSTREAMER": "",
        }

    def install(self, *arguments: str, script: Path | None = None) -> subprocess.CompletedProcess[str]:
        self._log.write_text("")
        environment = {f"FAKE_{name}": answer for name, answer in self.answers.items()}
        environment |= {"FAKE_LOG": str(self._log), "REAL_PYTHON": sys.executable}
        return subprocess.run(
            [script or ROOT / "deploy" / "install.sh", "--root", self.root, *arguments],
            env={**os.environ, **environment, "PATH": f"{self._bin}:{os.environ['PATH']}"},
            capture_output=True,
            text=True,
            timeout=60,
        )

    @property
    def commands(self) -> list[str]:
        """What the last run had the target do, questions included."""
        return self._log.read_text().splitlines()

    def did(self, *words: str) -> list[str]:
        return [command for command in self.commands if all(word in command for word in words)]

    def tree(self) -> dict[str, str]:
        return {
            path.relative_to(self.root).as_posix(): path.read_text() if path.is_file() else ""
            for path in self.root.rglob("*")
        }


@pytest.fixture
def target(tmp_path: Path) -> Target:
    return Target(tmp_path)


def succeeded(done: subprocess.CompletedProcess[str]) -> str:
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def changes(commands: Sequence[str]) -> list[str]:
    """Commands that are no questions."""
    questions = ("dpkg", "getent", "id ", "stat ", "apt-cache")
    return [line for line in commands if not line.startswith(questions) and " -c " not in line]


def test_a_rehearsal_prints_every_action_and_does_none(target: Target) -> None:
    before = target.tree()
    rehearsed = succeeded(target.install("--dry-run", "--platform", "jetson"))
    assert target.tree() == before and not changes(target.commands)
    succeeded(target.install("--platform", "jetson"))
    for command in changes(target.commands):
        name = next(
            word for word in ("useradd", "-m venv", "-m pip", "install -d", "chown", "systemctl") if word in command
        )
        assert any(name in line for line in rehearsed.splitlines() if line.startswith("would run:")), command


def test_it_makes_account_environment_settings_and_an_enabled_service(target: Target) -> None:
    succeeded(target.install("--platform", "pi"))
    assert target.did("useradd", "--system") and target.did("-m venv", "--system-site-packages")
    assert (target.root / SETTINGS).read_bytes() == (ROOT / "examples" / "edge-emotion.yaml").read_bytes()
    assert (target.root / UNIT).read_bytes() == (ROOT / "deploy" / "systemd" / "edge-emotion.service").read_bytes()
    assert target.did("systemctl", "enable edge-emotion.service")
    link = (target.root / "usr/local/bin/edge-emotion").readlink()
    assert str(link) == "/opt/edge-emotion/bin/edge-emotion"
    assert not (target.root / DROP_IN).exists() and not list((target.root / "tmp").iterdir())


def test_a_second_run_changes_nothing_and_keeps_edited_settings(target: Target) -> None:
    succeeded(target.install("--platform", "pi"))
    (target.root / SETTINGS).write_text("node: mine\n")
    before = target.tree()
    said = succeeded(target.install("--platform", "pi"))
    assert target.tree() == before
    assert not target.did("useradd") and not target.did("-m venv") and not target.did("chown")
    for what in ("account edge-emotion", "/opt/edge-emotion", f"/{SETTINGS}", f"/{UNIT}"):
        assert f"unchanged: {what}\n" in said


def test_another_python_after_an_upgrade_makes_the_environment_anew(target: Target) -> None:
    succeeded(target.install())
    settings = target.root / "opt/edge-emotion/pyvenv.cfg"
    settings.write_text("include-system-site-packages = false\n")
    succeeded(target.install())
    assert target.did("-m venv --clear --system-site-packages /opt/edge-emotion") and "true" in settings.read_text()


@pytest.mark.parametrize(("system", "limited"), [("1", True), ("2", False), ("", False)])
def test_the_environment_stays_with_the_major_version_of_the_systems_numpy(
    target: Target, system: str, limited: bool
) -> None:
    target.answers["NUMPY"] = system
    succeeded(target.install("--platform", "pi"))
    (requirements,) = target.did("-m pip", "paho-mqtt")
    assert ("numpy<2" in requirements) == limited and "opencv-python-headless" in requirements


def test_the_systems_opencv_with_gstreamer_is_not_hidden_by_pips_on_a_jetson(target: Target) -> None:
    target.answers["GSTREAMER"] = "yes"
    (target.root / "opt/edge-emotion/lib/python3.11/site-packages/opencv_python_headless-4.12.dist-info").mkdir(
        parents=True
    )
    (target.root / "opt/edge-emotion/pyvenv.cfg").write_text("include-system-site-packages = true\n")
    succeeded(target.install("--platform", "jetson"))
    (requirements,) = target.did("-m pip", "paho-mqtt")
    assert "opencv" not in requirements and target.did("pip", "uninstall", "opencv-python-headless")
    assert (target.root / DROP_IN).read_bytes() == (ROOT / "deploy" / "systemd" / "jetson.conf").read_bytes()


def test_a_jetson_without_gstreamer_in_opencv_gets_pips_and_is_told_what_it_misses(target: Target) -> None:
    done = target.install("--platform", "jetson")
    succeeded(done)
    assert "no OpenCV with GStreamer" in done.stderr and "nvidia-jetpack" in done.stderr
    assert target.did("-m pip", "opencv-python-headless", "paho-mqtt")
    refused = target.install("--platform", "jetson", "--opencv", "system")
    assert refused.returncode != 0 and "--opencv system is not possible" in refused.stderr


def test_the_platform_is_found_out_from_the_image(target: Target) -> None:
    (target.root / "etc").mkdir()
    (target.root / "etc/rpi-issue").touch()
    assert "platform: pi," in succeeded(target.install("--dry-run"))
    (target.root / "etc/nv_tegra_release").touch()
    assert "platform: jetson," in succeeded(target.install("--dry-run"))


def test_missing_packages_are_installed(target: Target) -> None:
    target.answers["PACKAGES"] = ""
    succeeded(target.install("--platform", "pi"))
    installed = " ".join(target.did("apt-get install"))
    assert "python3-venv" in installed and "python3-picamera2" in installed


def test_wheels_checkouts_and_names_are_installed_each_in_its_way(target: Target, tmp_path: Path) -> None:
    wheel = tmp_path / "edge_emotion-1.0.0-py3-none-any.whl"
    wheel.touch()
    succeeded(target.install(str(wheel)))
    assert target.did("-m pip", "--force-reinstall", "/edge_emotion-1.0.0-py3-none-any.whl")
    succeeded(target.install("edge-emotion==1.0.0"))
    (command,) = target.did("-m pip", "--no-deps")
    assert command.endswith("--upgrade edge-emotion==1.0.0 ")
    succeeded(target.install())
    assert target.did("-m pip", "--force-reinstall", f"/{ROOT.name}")


@pytest.mark.parametrize(
    ("answers", "arguments", "reason"),
    [
        ({"ARCHITECTURE": "armhf"}, [], "64-bit"),
        ({"PYTHON": "3.9"}, [], "expected 3.10 to 3.13"),
        ({}, ["no-such-thing"], "no checkout, no wheel"),
        ({}, ["--platform", "toaster"], "expected pi, jetson or generic"),
        ({}, ["--purge"], "goes with --uninstall"),
        ({}, ["--platform"], "needs a value"),
    ],
)
def test_what_cannot_work_is_refused_before_anything_is_done(
    target: Target, answers: dict[str, str], arguments: list[str], reason: str
) -> None:
    target.answers |= answers
    before = target.tree()
    done = target.install(*arguments)
    assert done.returncode != 0 and reason in done.stderr.splitlines()[-1]
    assert target.tree() == before and not changes(target.commands)


def test_a_folder_of_somebody_else_is_left_alone(target: Target) -> None:
    precious = target.root / "opt/edge-emotion/thesis.txt"
    precious.parent.mkdir(parents=True)
    precious.write_text("years of work")
    done = target.install()
    assert done.returncode != 0 and "move it away" in done.stderr
    succeeded(target.install("--uninstall", "--purge"))
    assert precious.read_text() == "years of work"


def test_removal_keeps_settings_and_state_unless_purged(target: Target) -> None:
    succeeded(target.install("--platform", "jetson"))
    state = target.root / "var/lib/edge-emotion/pi5.seq"
    state.parent.mkdir(parents=True)
    state.write_text("7")
    succeeded(target.install("--uninstall", "--dry-run"))
    assert (target.root / UNIT).exists() and (target.root / "opt/edge-emotion").exists()
    assert "kept:" in succeeded(target.install("--uninstall"))
    assert target.did("systemctl", "disable edge-emotion.service")
    assert not any((target.root / path).exists() for path in (UNIT, DROP_IN, "opt/edge-emotion"))
    assert not (target.root / "usr/local/bin/edge-emotion").is_symlink()
    assert state.exists() and (target.root / SETTINGS).exists() and not target.did("userdel")
    succeeded(target.install("--uninstall", "--purge"))
    assert not state.parent.exists() and not (target.root / "etc/edge-emotion").exists() and target.did("userdel")
    before = target.tree()
    succeeded(target.install("--uninstall", "--purge"))
    assert target.tree() == before and not changes(target.commands)


@pytest.mark.skipif(
    shutil.which("shellcheck") is None, reason="shellcheck is not installed: apt-get install shellcheck"
)
def test_the_shell_scripts_are_clean() -> None:
    scripts = sorted([*(ROOT / "deploy").rglob("*.sh"), *(ROOT / "scripts").glob("*.sh")])
    assert len(scripts) >= 6
    done = subprocess.run(["shellcheck", "-x", *scripts], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout
