"""The routes of ``/api/v1``: each answers from the one place that has the fact."""

from __future__ import annotations

import asyncio
import json
from functools import partial
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp

from edge_emotion.daemon.control import TooManyCommands
from edge_emotion.errors import EdgeEmotionError
from edge_emotion.web.live import KEPT_EVENTS, TooManyStreams
from edge_emotion.web.problems import Problem
from edge_emotion.web.requests import read_command, whole_number
from edge_emotion.web.streaming import StreamResponse
from edge_emotion.web.website import Node, Site
from edge_emotion.wire.topics import FEATURES, SetCommand

COMMAND_SECONDS = 20.0
"""Longest time for the main loop to execute a command."""

MAX_SEQ = 10**18 - 1
NO_DAEMON = "this page runs without a daemon: no camera is read here"


class Api:
    """One method for each route."""

    def __init__(self, site: Site) -> None:
        self._site = site

    async def info(self, _request: Request) -> Response:
        """The node's info, and what this page offers."""
        site, info = self._site, self._site.live.info
        broker = site.node is not None and site.node.control.broker is not None
        web = {
            **info.get("web", {}),
            "daemon": site.node is not None,
            "preview": site.preview is not None,
            "broker": broker,
            "writes": True,
        }
        return JSONResponse({**info, "web": web})

    async def state(self, _request: Request) -> Response:
        """Camera -> what it sees."""
        return JSONResponse(self._site.live.states())

    async def stats(self, _request: Request) -> Response:
        """The last statistics."""
        return JSONResponse(dict(self._site.live.stats))

    async def cameras(self, _request: Request) -> Response:
        """Camera -> whether it is available, and its features in effect."""
        return JSONResponse(self._site.live.cameras())

    async def events(self, request: Request) -> Response:
        """Events of the past."""
        since = whole_number(request, "since", 0, MAX_SEQ)
        limit = whole_number(request, "limit", 1, KEPT_EVENTS) or KEPT_EVENTS
        return JSONResponse(self._site.live.events(since, limit))

    async def stream(self, request: Request) -> ASGIApp:
        """Events, states and frames as they come."""
        last = request.headers.get("last-event-id", "")
        since = int(last) if last.isascii() and last.isdigit() and len(last) <= 18 else None
        since = whole_number(request, "since", 0, MAX_SEQ) if since is None else since
        try:
            stream = self._site.live.subscribe(since)
        except TooManyStreams:
            raise Problem(503, "too many streams are open: close a page", {"Retry-After": "30"}) from None
        return StreamResponse(self._site.live, stream)

    async def doctor(self, _request: Request) -> Response:
        """What is wrong, and how to mend it."""
        try:
            return JSONResponse(await run_in_threadpool(self._site.examine))
        except TooManyCommands as error:
            raise Problem(409, str(error), {"Retry-After": "10"}) from error

    async def reload(self, request: Request) -> Response:
        """Read the settings again."""
        await read_command(request)
        node = self._node()
        changes = await self._execute(node, node.control.reload)
        return JSONResponse(changes.as_dict())

    async def set(self, request: Request) -> Response:
        """Set a feature of a camera."""
        wanted = await read_command(request)
        node, (camera, feature, payload) = self._node(), _setting(wanted)
        if camera not in self._site.live.cameras():
            raise Problem(404, f"there is no camera {camera[:70]!r}")
        command = SetCommand(camera, feature)
        await self._execute(node, partial(node.control.set_feature, command, payload))
        return JSONResponse({"camera": camera, "feature": feature, "value": self._site.live.cameras()[camera][feature]})

    def _node(self) -> Node:
        if self._site.node is None:
            raise Problem(404, NO_DAEMON)
        return self._site.node

    async def _execute(self, node: Node, command: Any) -> Any:
        """The result of a command in the main loop. Raises Problem."""
        try:
            future = asyncio.wrap_future(node.control.execute(command))
            return await asyncio.wait_for(future, COMMAND_SECONDS)
        except TooManyCommands as error:
            raise Problem(503, str(error), {"Retry-After": "5"}) from error
        except asyncio.TimeoutError:
            raise Problem(503, f"the main loop has not answered within {COMMAND_SECONDS:g} s") from None
        except (ValueError, EdgeEmotionError) as error:
            raise Problem(422, str(error)) from error


def _setting(wanted: dict[str, Any]) -> tuple[str, str, bytes]:
    """Camera, feature and its payload as over MQTT. Raises Problem."""
    camera, feature = wanted.get("camera"), wanted.get("feature")
    if not isinstance(camera, str) or feature not in FEATURES or "value" not in wanted or len(wanted) != 3:
        raise Problem(422, f"expected camera, feature ({', '.join(FEATURES)}) and value")
    value = wanted["value"]
    if feature == "enabled" and isinstance(value, bool):
        return camera, feature, b"ON" if value else b"OFF"
    if feature == "enabled":
        raise Problem(422, "the value of enabled must be true or false")
    return camera, feature, json.dumps(value).encode()
