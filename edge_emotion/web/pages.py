"""The pages and their files, as they lie in ``static``."""

from __future__ import annotations

import mimetypes
from pathlib import Path

from starlette.datastructures import Headers
from starlette.responses import FileResponse, Response
from starlette.staticfiles import NotModifiedResponse, StaticFiles

from edge_emotion.web.problems import problem

STATIC = Path(__file__).parent / "static"

PAGES = {
    "/": "index.html",
    "/live": "index.html",
    "/try": "try.html",
    "/node": "node.html",
    "/nodes": "nodes.html",
    "/login": "login.html",
}
"""Path -> file."""

_FILES = StaticFiles(directory=STATIC, check_dir=False)
_TYPES = {".js": "text/javascript", ".mjs": "text/javascript", ".svg": "image/svg+xml", ".woff2": "font/woff2"}
"""Not left to the files of the system, which differ."""


def page_response(name: str, status: int = 200) -> Response:
    """One of the pages."""
    if not (STATIC / name).is_file():
        return problem(404, f"the page {name} is missing in this installation: install edge-emotion again")
    return FileResponse(STATIC / name, status, media_type="text/html")


def file_response(name: str, headers: Headers) -> Response | None:
    """A file below ``static`` by its relative path, or that it has not changed; None if there is none."""
    try:
        path = (STATIC / name).resolve()
        if not path.is_relative_to(STATIC.resolve()) or not path.is_file():
            return None
    except (OSError, ValueError):  # no file can have this name
        return None
    kind = _TYPES.get(path.suffix) or mimetypes.guess_type(path.name, strict=True)[0] or "application/octet-stream"
    found = FileResponse(path, media_type=kind, stat_result=path.stat())
    return NotModifiedResponse(found.headers) if _FILES.is_not_modified(found.headers, headers) else found
