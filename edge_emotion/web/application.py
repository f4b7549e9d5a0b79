"""The routes and what stands in front of them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from urllib.parse import parse_qs

from starlette.applications import Starlette
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from edge_emotion.web.access import SESSION_SECONDS
from edge_emotion.web.api import Api
from edge_emotion.web.guard import COOKIE, HEADERS, Guard, session_of
from edge_emotion.web.login import Checks
from edge_emotion.web.metrics import CONTENT_TYPE
from edge_emotion.web.pages import PAGES, after_login, file_response, login_address, page_response
from edge_emotion.web.problems import Problem, answer_http_error, answer_problem, problem
from edge_emotion.web.requests import read_body, read_command
from edge_emotion.web.website import Site

MAX_PASSWORD = 4_096
"""Largest body of a login in bytes."""

Endpoint = Callable[[Request], Awaitable[ASGIApp]]


class Handler:
    """A route's function as an ASGI application; its answer may be one that never ends."""

    def __init__(self, function: Endpoint) -> None:
        self._function = function

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer."""
        answer = await self._function(Request(scope, receive, send))
        await answer(scope, receive, send)


def make_application(site: Site) -> Starlette:
    """The routes behind their guard."""
    checks = Checks()
    return Starlette(
        routes=make_routes(site, checks),
        middleware=[Middleware(Guard, access=site.access, checks=checks)],
        exception_handlers={Problem: answer_problem, HTTPException: answer_http_error, Exception: _answer_fault},
    )


async def _answer_fault(_request: Request, error: Exception) -> Response:
    """For a fault of this program, outside of the guard; the log has the rest."""
    detail = f"a fault of this program ({type(error).__name__}); its log has the place: please report it"
    return problem(500, detail, dict(HEADERS))


def make_routes(site: Site, checks: Checks) -> list[Route]:
    """Every route."""
    api, node = Api(site), NodeRoutes(site, checks)
    read: dict[str, Endpoint] = {
        **{path: _page(name) for path, name in PAGES.items()},
        "/static/{name:path}": _file,
        "/healthz": node.healthz,
        "/readyz": node.readyz,
        "/metrics": node.metrics,
        "/api/v1/info": api.info,
        "/api/v1/state": api.state,
        "/api/v1/stats": api.stats,
        "/api/v1/cameras": api.cameras,
        "/api/v1/events": api.events,
        "/api/v1/stream": api.stream,
        "/api/v1/models": api.models,
        "/api/v1/preview/{camera}": api.preview,
        "/api/v1/doctor": api.doctor,
        "/api/v1/nodes": api.nodes,
    }
    written: dict[str, Endpoint] = {
        "/login": node.login,
        "/logout": node.logout,
        "/api/v1/classify": api.classify,
        "/api/v1/reload": api.reload,
        "/api/v1/set": api.set,
    }
    described = {path: ("GET", function) for path, function in read.items()}
    described |= {path: ("POST", function) for path, function in written.items()}
    read["/openapi.json"] = _description(described)
    return [Route(path, Handler(function), methods=["POST"]) for path, function in written.items()] + [
        Route(path, Handler(function), methods=["GET"]) for path, function in read.items()
    ]


class NodeRoutes:
    """The routes beside the pages and the API."""

    def __init__(self, site: Site, checks: Checks) -> None:
        self._site, self._checks = site, checks

    async def healthz(self, _request: Request) -> Response:
        """Whether systemd's watchdog is fed."""
        healthy = self._site.node is None or self._site.node.healthy
        return JSONResponse({"status": "ok"}) if healthy else problem(503, "the main loop of the daemon hangs")

    async def readyz(self, _request: Request) -> Response:
        """Whether every camera that is switched on gives frames."""
        ready = self._site.node is None or self._site.node.ready
        return JSONResponse({"status": "ok"}) if ready else problem(503, "not every camera gives frames")

    async def metrics(self, _request: Request) -> Response:
        """Figures for Prometheus."""
        return Response(self._site.metrics.recent_text(), headers={"Content-Type": CONTENT_TYPE})

    async def login(self, request: Request) -> Response:
        """A session for a password."""
        if not self._site.access.needs_login:
            raise Problem(404, "no password is set here: nobody needs to log in")
        form = request.headers.get("content-type", "").startswith("application/x-www-form-urlencoded")
        password = await _field(request, "password") if form else (await read_command(request)).get("password")
        if not isinstance(password, str):
            raise Problem(422, "expected password")
        page = after_login(request.query_params.get("next"))
        session = await self._checks.run(self._site.access.login, password)
        if session is None:
            return RedirectResponse(login_address(page), 303) if form else problem(401, "the password is wrong")
        answer = RedirectResponse(page, 303) if form else Response(status_code=204)
        answer.set_cookie(
            COOKIE,
            session,
            max_age=round(SESSION_SECONDS),
            httponly=True,
            samesite="strict",
            secure=request.url.scheme == "https",
        )
        return answer

    async def logout(self, request: Request) -> Response:
        """End the session."""
        self._site.access.logout(session_of(Headers(scope=request.scope)))
        answer = Response(status_code=204)
        answer.delete_cookie(COOKIE, httponly=True, samesite="strict")
        return answer


def _description(routes: Mapping[str, tuple[str, Endpoint]]) -> Endpoint:
    async def openapi(_request: Request) -> Response:
        from edge_emotion.web.openapi import document  # 150 types, which few ask for

        return JSONResponse(document(routes))

    return openapi


async def _field(request: Request, name: str) -> str | None:
    """A field of a form; None if it is not there."""
    text = (await read_body(request, MAX_PASSWORD)).decode("utf-8", "replace")
    try:
        return parse_qs(text, max_num_fields=4).get(name, [None])[0]
    except ValueError:
        return None


def _page(name: str) -> Endpoint:
    async def page(_request: Request) -> Response:
        return page_response(name)

    return page


async def _file(request: Request) -> Response:
    found = file_response(request.path_params["name"], request.headers)
    return problem(404, "there is no such file") if found is None else found
