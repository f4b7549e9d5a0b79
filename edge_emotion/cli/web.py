"""``edge-emotion web``: the page without a daemon, for pictures and for the nodes that a broker knows."""

from __future__ import annotations

import signal
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from edge_emotion.config.settings import MqttSettings
from edge_emotion.config.web_settings import WebSettings
from edge_emotion.doctor.examination import checks
from edge_emotion.doctor.report import Report, run_checks
from edge_emotion.errors import ConfigError
from edge_emotion.web.sink import require_extra

OPTIONS = {"listen": "--listen", "password_file": "--page-password-file", "token_file": "--page-token-file"}
"""Setting -> the option that has another name."""


def web_settings(
    *, listen: str, password_file: Path | None, token_file: Path | None, hosts: Sequence[str]
) -> WebSettings:
    """The settings of the page. Raises ConfigError for what is impossible."""
    try:
        return WebSettings(listen=listen, password_file=password_file, token_file=token_file, hosts=tuple(hosts))
    except ValidationError as error:
        fault = error.errors()[0]
        where = "--host" if fault["loc"][:1] == ("hosts",) else "--listen"
        message = fault["msg"].removeprefix("Value error, ")
        for setting, option in OPTIONS.items():
            message = message.replace(setting, option)
        raise ConfigError(f"{where}: {message}") from error


def web(settings: WebSettings, mqtt: MqttSettings | None) -> None:
    """Serve the page until Ctrl-C or SIGTERM.

    Raises BackendUnavailable for a missing library, ConfigError for an address or a file that cannot be used.
    """
    require_extra()
    from edge_emotion.web.server import serve_alone

    stopped = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: stopped.set())
    server = serve_alone(settings, mqtt, _examine)
    print(f"page: {server.url}", flush=True)
    stopped.wait()
    server.stop()


def _examine() -> dict[str, Any]:
    """The findings of the doctor on this machine, without settings."""
    return Report(dict(run_checks(checks(None)))).as_dict()
