"""The one place where requests are let through: names, login, and the origin of writes; and headers of every answer."""

from __future__ import annotations

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import cookie_parser
from starlette.responses import RedirectResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from edge_emotion.web.access import Access
from edge_emotion.web.login import Checks
from edge_emotion.web.pages import PAGES, login_address
from edge_emotion.web.problems import Problem, problem

COOKIE = "edge_emotion_session"
OPEN = frozenset({"/login", "/healthz"})
"""Answered without login, as are the files below STATIC: they ship with the program and hold nothing of the node."""
STATIC = "/static/"
PICTURES = "/api/v1/classify"
METHODS = ("GET", "HEAD", "POST")

HEADERS = {
    "Content-Security-Policy": "default-src 'self'; object-src 'none'; base-uri 'none'; form-action 'self'; "
    "frame-ancestors 'self'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "SAMEORIGIN",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(self), microphone=(), geolocation=()",
}


class Guard:
    """In front of every route. What it refuses is answered by a problem, and reaches no route."""

    def __init__(self, app: ASGIApp, access: Access, checks: Checks) -> None:
        self._app, self._access, self._checks = app, access, checks

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """An ASGI application; only HTTP is served."""
        if scope["type"] != "http":
            return
        guarded = _with_headers(send, scope["path"])
        try:
            refusal = await self._refusal(scope)
        except Problem as error:
            refusal = problem(error.status, error.detail, error.headers)
        await (self._app if refusal is None else refusal)(scope, receive, guarded)

    async def _refusal(self, scope: Scope) -> ASGIApp | None:
        if not self._access.may_connect((scope.get("client") or ("",))[0]):
            return problem(403, "only web.trusted_proxy may ask here: open the page at that proxy")
        headers, path, method = Headers(scope=scope), scope["path"], scope["method"]
        host = headers.get("host", "")
        if not self._access.knows_host(host):
            return problem(421, f"this machine is not known as {host[:100]!r}: add the name to web.hosts")
        bearer = _bearer(headers)
        if self._access.needs_login and path not in OPEN and not path.startswith(STATIC):
            right = await self._has_token(bearer) if bearer else self._access.logged_in(session_of(headers))
            if not right:
                return _login_first(scope)
        if method not in METHODS:
            return problem(405, "another method is needed here", {"Allow": ", ".join(METHODS)})
        if path.startswith("/api/") and headers.get("sec-fetch-site") in ("cross-site", "same-site"):
            # It could not read the answer, but would take streams from others and have the doctor examine for ever.
            return problem(403, "the page of another site asked for this: open the page of this server")
        if method == "POST":
            return self._write_refusal(headers, path, host, by_program=bool(bearer) and self._access.needs_login)
        return None

    async def _has_token(self, token: str) -> bool:
        return self._access.token_known(token) or await self._checks.run(self._access.check_token, token)

    def _write_refusal(self, headers: Headers, path: str, host: str, *, by_program: bool) -> ASGIApp | None:
        origin, kind = headers.get("origin"), headers.get("content-type", "").split(";")[0].strip().lower()
        form = path == "/login" and kind == "application/x-www-form-urlencoded"
        if not (form or kind == "application/json" or (path == PICTURES and kind.startswith("image/"))):
            wanted = "image/*" if path == PICTURES else "application/json"
            return problem(415, f"expected Content-Type {wanted}, not {kind[:100]!r}")
        if by_program or (origin is None and path == PICTURES):  # image/* is nothing that a foreign page can send
            return None
        if origin is None or not self._access.own_origin(origin, host, headers.get("x-forwarded-host")):
            return problem(403, "this was not sent by the page of this server: give its Origin, or a bearer token")
        return None


def session_of(headers: Headers) -> str | None:
    """The session that the cookie of a request holds."""
    # Browsers send the cookies of all programs of a host to each of its ports, and some are not of the standard's form.
    return cookie_parser(headers.get("cookie", "")).get(COOKIE)


def _bearer(headers: Headers) -> str | None:
    kind, _, token = headers.get("authorization", "").partition(" ")
    return token.strip() or None if kind.lower() == "bearer" else None


def _login_first(scope: Scope) -> ASGIApp:
    """401, or the way from a page to the one for logging in."""
    if scope["method"] in ("GET", "HEAD") and scope["path"] in PAGES:
        return RedirectResponse(login_address(scope["path"][1:]), 303)
    return problem(401, "log in first, or send Authorization: Bearer TOKEN", {"WWW-Authenticate": "Bearer"})


def _with_headers(send: Send, path: str) -> Send:
    cached = "no-cache" if path.startswith(STATIC) else "no-store"

    async def guarded(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            headers.update(HEADERS)
            headers["Cache-Control"] = cached
        await send(message)

    return guarded
