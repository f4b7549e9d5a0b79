"""First process of the app: makes settings of the app's options and the Supervisor's broker, and becomes the daemon.

The Supervisor's side: https://developers.home-assistant.io/docs/apps/communication (services) and .../presentation
(ingress: the page may answer only to 172.30.32.2, which has asked people to log in).
"""

from __future__ import annotations

import argparse
import glob
import json
import os
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

LISTEN, SUPERVISOR_ADDRESS = "0.0.0.0:8099", "172.30.32.2"
USER = 10001
"""User and group of the daemon."""

ATTEMPTS, PAUSE, TIMEOUT = 5, 2.0, 10.0
"""Requests to a Supervisor that does not answer, the seconds between them and for each one."""

FIXED = ("web", "state_dir")
"""Settings that are not the user's: they keep the page behind Home Assistant's login."""

Options = Mapping[str, Any]


class Fault(Exception):  # noqa: N818 - it is printed as it is
    """Why the app cannot start, in one line."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Becomes the daemon; exits with code 2 if that is not possible, as the daemon does for its settings."""
    given = _parse(arguments)
    try:
        options = read_options(given.options)
        broker = options.get("mqtt") or {}
        if not broker.get("host"):
            broker = ask_for_broker(given.supervisor, os.environ.get("SUPERVISOR_TOKEN", "")) or {}
        if not broker:
            _tell("no broker, so the page alone works: install the app Mosquitto broker, then start this app again")
        settings = make_settings(options, broker, given.state, given.listen, given.proxy)
        command = [given.program, "run", "--config", str(given.settings), *further_settings(options)]
        write_settings(settings, given.settings)
        become(given.user, [given.state, given.settings.parent])
        os.execve(given.program, command, _without_token(os.environ))  # noqa: S606 - no shell is wanted
    except (Fault, OSError) as fault:
        _tell(str(fault))
        sys.exit(2)


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--options", type=Path, default=Path("/data/options.json"))
    parser.add_argument("--state", type=Path, default=Path("/data/edge-emotion"))
    parser.add_argument("--settings", type=Path, default=Path("/tmp/edge-emotion/settings.yaml"))  # noqa: S108 - memory
    parser.add_argument("--supervisor", default="http://supervisor")
    parser.add_argument("--listen", default=LISTEN)
    parser.add_argument("--proxy", default=SUPERVISOR_ADDRESS)
    parser.add_argument("--user", type=int, default=USER)
    parser.add_argument("--program", default="/opt/edge-emotion/bin/edge-emotion")
    return parser.parse_args(arguments)


def _without_token(environment: Mapping[str, str]) -> dict[str, str]:
    """The daemon has no business with the Supervisor."""
    return {name: value for name, value in environment.items() if not name.startswith(("SUPERVISOR", "HASSIO"))}


def _tell(line: str) -> None:
    print(f"edge-emotion app: {line}", file=sys.stderr, flush=True)


def read_options(file: Path) -> Options:
    """What the user chose, as the Supervisor has checked it. Raises Fault."""
    try:
        options = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise Fault(f"{file} cannot be read ({error}): save the app's configuration again") from error
    if not isinstance(options, dict):
        raise Fault(f"{file} must hold an object: save the app's configuration again")
    return options


def ask_for_broker(supervisor: str, token: str) -> Options | None:
    """The MQTT service that the Supervisor knows; None if it knows none. Raises Fault if it cannot be asked."""
    request = urllib.request.Request(f"{supervisor}/services/mqtt", headers={"Authorization": f"Bearer {token}"})  # noqa: S310
    reason = ""
    for attempt in range(ATTEMPTS):
        if attempt:
            time.sleep(PAUSE)
        try:
            with urllib.request.urlopen(request, timeout=TIMEOUT) as answer:  # noqa: S310 - http, within the machine
                return dict(json.load(answer)["data"])
        except urllib.error.HTTPError as error:
            if error.code == 400:  # "Service not enabled"
                return None
            reason = f"HTTP status {error.code}"
        except (OSError, ValueError, KeyError, TypeError) as error:
            reason = str(error) or type(error).__name__
    raise Fault(
        f"the Supervisor does not name its broker ({reason}): start the app again, or enter a broker under mqtt"
    )


def make_settings(options: Options, broker: Options, state: Path, listen: str, proxy: str) -> dict[str, Any]:
    """The tree of docs/reference/configuration.md. Raises Fault for cameras that cannot be told apart."""
    settings: dict[str, Any] = {
        "node": options.get("node"),
        "cameras": _cameras(options.get("cameras") or []),
        "classifier": _given({"model": options.get("model")}),
        "policy": _given({"threshold": options.get("threshold")}),
        "log_level": options.get("log_level"),
        "state_dir": str(state),
        "web": {"listen": listen, "trusted_proxy": proxy},
    }
    if broker:
        settings["mqtt"] = _given({key: broker.get(key) for key in ("host", "port", "username", "password")})
        if broker.get("tls") or broker.get("ssl"):  # the app's option, and the Supervisor's name for it
            settings["mqtt"]["tls"] = {}
    return _given(settings)


def _cameras(listed: Sequence[Options]) -> dict[str, Any]:
    cameras: dict[str, Any] = {}
    for camera in listed:
        name = camera["name"]
        if name in cameras:
            raise Fault(f"two cameras are called {name!r}: give each one its own name")
        cameras[name] = _given({key: value for key, value in camera.items() if key != "name"})
    if not cameras:
        raise Fault("no camera: add one under Configuration, with a name and a source as /dev/video0")
    return cameras


def _given(tree: Mapping[str, Any]) -> dict[str, Any]:
    """Without what was left empty."""
    return {key: value for key, value in tree.items() if value not in (None, "")}


def further_settings(options: Options) -> list[str]:
    """As arguments of the daemon. Raises Fault for one that would take the page from behind Home Assistant's login."""
    arguments = []
    for text in options.get("settings") or []:
        key = text.partition("=")[0].strip()
        if key.split(".")[0] in FIXED:
            raise Fault(f"settings: {key} belongs to the app: remove it")
        arguments += ["--set", text]
    return arguments


def write_settings(settings: Mapping[str, Any], file: Path) -> None:
    """As JSON, which is YAML; readable by its owner alone, for it holds passwords."""
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    file.unlink(missing_ok=True)
    with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as opened:
        json.dump(settings, opened, indent=1)


def become(user: int, folders: Sequence[Path]) -> None:
    """Give the folders to the user, and go on as that one, with the groups of the cameras. Raises Fault."""
    for folder in folders:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if os.getuid() != 0 or user == 0:
        return
    for folder in folders:
        for path in (folder, *folder.rglob("*")):
            os.chown(path, user, user, follow_symlinks=False)
    devices = [*glob.glob("/dev/video*"), *glob.glob("/dev/media*")]  # noqa: PTH207 - no folder is given
    os.setgroups(sorted({os.stat(device).st_gid for device in devices} - {0}))  # noqa: PTH116
    os.setgid(user)
    os.setuid(user)
    os.environ["HOME"] = str(folders[0])
    for folder in folders:
        if not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
            raise Fault(f"user {user} cannot write {folder}: its parent folders must let everybody pass (mode 0755)")


if __name__ == "__main__":
    main()
