"""The page of a daemon, switched on by a command, and opened in the browser of its user."""

from __future__ import annotations

import os
import re
import socket
import sys
import threading
import webbrowser
from contextlib import suppress
from typing import Any

from edge_emotion.config.web_settings import WebSettings
from edge_emotion.mqtt.local_broker import free_port
from edge_emotion.web.sink import require_extra

DISPLAYS = ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER")
"""Variables of the environment of which one is set where a browser can be opened."""


def page_settings() -> dict[str, Any]:
    """Settings of a page at its default port, or at any free one where that is in use.

    Raises BackendUnavailable if the page needs a library.
    """
    require_extra()
    host, port = WebSettings().address
    with socket.socket() as tried:
        free = tried.connect_ex((host, port)) != 0
    return {"web": {"listen": f"{host}:{port if free else free_port()}"}}


def show_page(url: str) -> None:
    """Print the page's address to standard error, and open it where there is a browser, in a thread: that may block."""
    near = re.sub(r"//(0\.0\.0\.0|\[::\]):", "//localhost:", url)
    print(f"the page is at {near}", file=sys.stderr, flush=True)
    if any(os.environ.get(name) for name in DISPLAYS):
        threading.Thread(target=_open, args=(near,), name="browser", daemon=True).start()


def _open(url: str) -> None:
    with suppress(webbrowser.Error, OSError):
        browser = webbrowser.get()
        # A browser of its kind without windows (lynx) would take this terminal.
        if os.environ.get("BROWSER") or type(browser) is not webbrowser.GenericBrowser:
            browser.open(url)
