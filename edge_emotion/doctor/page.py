"""The check of the page: its libraries, its password, its address, and whether a daemon that runs serves it."""

from __future__ import annotations

import http.client
import importlib.util
from collections.abc import Callable

from edge_emotion.config.web_settings import WebSettings
from edge_emotion.doctor.report import Finding
from edge_emotion.system.listening import bound_socket, remedy

LIBRARIES = ("starlette", "uvicorn", "prometheus_client")
"""Of the extra ``web``."""

SECONDS = 5.0
"""Longest time for the page to answer."""

_ANY = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - the address at which this machine reaches itself


def page(
    settings: WebSettings, *, in_use: bool, installed: Callable[[str], object] = importlib.util.find_spec
) -> Finding:
    """A finding on the page. ``in_use``: a daemon runs with these settings.

    Raises ConfigError for a password or token that cannot be read.
    """
    missing = [name for name in LIBRARIES if installed(name) is None]
    if missing:
        return Finding("fail", f"{', '.join(missing)} is not installed", "pip install 'edge-emotion[web]'")
    settings.read_password(), settings.read_token()
    return _answers(settings) if in_use else _is_free(settings)


def _answers(settings: WebSettings) -> Finding:
    host, port = settings.address
    if port == 0:
        return Finding("ok", "the page has any free port: the log of the daemon has its address")
    connection = http.client.HTTPConnection(_ANY.get(host, host), port, timeout=SECONDS)
    try:
        connection.request("GET", "/healthz", headers={"Host": "localhost"})
        answer = connection.getresponse()
        found = answer.status, answer.read(1000)
    except (OSError, http.client.HTTPException) as error:
        reason = str(error) or type(error).__name__
        return Finding("fail", f"the daemon runs, and there is no page at {settings.listen}: {reason}", _LOG)
    finally:
        connection.close()
    if found != (200, b'{"status":"ok"}') and not (settings.trusted_proxy and found[0] == 403):
        return Finding("fail", f"what answers at {settings.listen} is not well, or another program", _LOG)
    return Finding("ok", f"the page answers at {settings.listen}{_guarded(settings)}")


_LOG = "read why in its log: journalctl -u edge-emotion; or choose another port (web.listen)"


def _is_free(settings: WebSettings) -> Finding:
    try:
        bound_socket(*settings.address).close()
    except OSError as error:
        return Finding("fail", f"web.listen {settings.listen} cannot be used: {error.strerror}", remedy(error))
    return Finding("ok", f"{settings.listen} is free{_guarded(settings)}")


def _guarded(settings: WebSettings) -> str:
    kinds = {"a password": settings.password_file, "a token": settings.token_file}
    given = [kind for kind, file in kinds.items() if file is not None]
    secret = f", with {' and '.join(given)}" if given else ""
    if settings.trusted_proxy is not None:
        return f"{secret}, only for the proxy {settings.trusted_proxy}"
    return secret or ", without a password: for users of this machine"
