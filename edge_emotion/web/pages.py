"""The pages and their files, as they lie in ``static``."""

from __future__ import annotations

import mimetypes
from collections.abc import Mapping
from pathlib import Path

from starlette.responses import Response

from edge_emotion.web.problems import problem

STATIC = (Path(__file__).parent / "static").resolve()

PAGES = {
    "/": "index.html",
    "/live": "index.html",
    "/try": "try.html",
    "/node": "node.html",
    "/nodes": "nodes.html",
    "/api": "api.html",
    "/login": "login.html",
}
"""Path -> file."""

HOME = "./"
"""The first page, from the one for logging in."""

_TYPES = {".js": "text/javascript", ".mjs": "text/javascript", ".svg": "image/svg+xml", ".woff2": "font/woff2"}
"""Not left to the files of the system, which differ."""


def login_address(page: str) -> str:
    """Where a page without login leads, relative to it: the page for logging in, which leads back to ``page``."""
    return "login" if page in ("", HOME) else f"login?next={page}"


def after_login(wanted: str | None) -> str:
    """The page that was asked for, relative to the one for logging in; the first one for what is no page of ours."""
    return wanted if wanted and wanted != "login" and f"/{wanted}" in PAGES else HOME


def page_response(name: str) -> Response:
    """One of the pages."""
    found = _read(name, {}, "text/html")
    return found or problem(404, f"the page {name} is missing in this installation: install edge-emotion again")


def file_response(name: str, headers: Mapping[str, str]) -> Response | None:
    """A file below ``static`` by its relative path, or that it has not changed; None if there is none."""
    kind = _TYPES.get(Path(name).suffix) or mimetypes.guess_type(name)[0] or "application/octet-stream"
    return _read(name, headers, kind)


def _read(name: str, headers: Mapping[str, str], kind: str) -> Response | None:
    """Read at once, without a helper thread: these files are small, and the system has them in memory."""
    try:
        path = (STATIC / name).resolve()
        if not path.is_relative_to(STATIC) or not path.is_file():
            return None
        status = path.stat()
        tag = f'"{status.st_mtime_ns:x}-{status.st_size:x}"'
        if headers.get("if-none-match") == tag:
            return Response(status_code=304, headers={"ETag": tag})
        return Response(path.read_bytes(), media_type=kind, headers={"ETag": tag})
    except (OSError, ValueError):  # no file can have this name
        return None
