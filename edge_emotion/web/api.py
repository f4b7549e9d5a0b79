"""The routes of ``/api/v1``: each answers from the one place that has the fact."""

from __future__ import annotations

import asyncio
import json
from functools import partial
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import QueryParams
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp

from edge_emotion.daemon.control import UNDER_WAY, TooManyCommands
from edge_emotion.errors import ConfigError, EdgeEmotionError, SinkError, SourceError, UnknownModel
from edge_emotion.web.live import KEPT_EVENTS, MAX_STREAMS, TooManyStreams
from edge_emotion.web.node import Node
from edge_emotion.web.pictures import MAX_BYTES, MAX_PIXELS
from edge_emotion.web.problems import Problem
from edge_emotion.web.requests import MAX_SEQ, read_body, read_command, whole_number
from edge_emotion.web.streaming import EventStream, PreviewStream
from edge_emotion.web.website import Site
from edge_emotion.wire.topics import FEATURES, SetCommand

COMMAND_SECONDS = 20.0
"""Longest time for the main loop to execute a command."""

CLASSIFY_SECONDS = 30.0
"""Longest time for one picture."""

NO_DAEMON = "this page runs without a daemon: no camera is read here"


class Api:
    """One method for each route."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._busy = self._examining = False

    async def info(self, _request: Request) -> Response:
        """The node's info, and what this page offers."""
        site, info = self._site, self._site.live.info
        web = {
            **info.get("web", {}),
            "daemon": site.node is not None,
            "preview": site.preview is not None,
            "broker": site.nodes is not None,
            "writes": True,
            "login": site.access.needs_login,
            "max_picture_bytes": MAX_BYTES,
            "max_picture_pixels": MAX_PIXELS,
        }
        return JSONResponse({**info, "web": web})

    async def state(self, _request: Request) -> Response:
        """Camera -> what it sees."""
        return JSONResponse(self._site.live.states())

    async def stats(self, _request: Request) -> Response:
        """The last statistics."""
        if not self._site.live.stats:
            raise Problem(404, "there are no statistics yet: ask again in a minute" if self._site.node else NO_DAEMON)
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
            raise Problem(
                503,
                f"{MAX_STREAMS} pages and programs read the stream, which is the most: close one",
                {"Retry-After": "30"},
            ) from None
        return EventStream(self._site.live, stream)

    async def preview(self, request: Request) -> ASGIApp:
        """The real pictures of a camera, if the settings allow that."""
        preview, camera = self._site.preview, request.path_params["camera"]
        if preview is None:
            raise Problem(404, "no picture is shown here: that needs web.preview: true")
        if camera not in self._site.live.cameras():
            raise Problem(404, f"there is no camera {camera[:70]!r}")
        if preview.full:
            raise Problem(503, "too many look at real pictures: close a page", {"Retry-After": "30"})
        return PreviewStream(preview, camera)

    async def models(self, _request: Request) -> Response:
        """The models that a picture can be classified with."""
        return JSONResponse(await run_in_threadpool(self._site.pictures.cards))

    async def classify(self, request: Request) -> Response:
        """The faces in a picture and their emotions."""
        if self._busy:
            raise Problem(503, "another picture is being classified: send this one again", {"Retry-After": "1"})
        self._busy = True
        try:
            data = await read_body(request, MAX_BYTES)
            work = asyncio.ensure_future(run_in_threadpool(partial(_classify, self._site, data, request.query_params)))
        except BaseException:
            self._busy = False
            raise
        work.add_done_callback(self._classified)
        try:
            return JSONResponse(await asyncio.wait_for(asyncio.shield(work), CLASSIFY_SECONDS))
        except asyncio.TimeoutError:
            raise Problem(504, f"the picture took more than {CLASSIFY_SECONDS:g} s: make it smaller") from None
        except (SourceError, UnknownModel, ConfigError) as error:
            raise Problem(422, str(error)) from error

    def _classified(self, work: asyncio.Future[Any]) -> None:
        """The next picture may come; one that took too long holds the place until it is done."""
        self._busy = False
        if not work.cancelled():
            work.exception()

    async def doctor(self, _request: Request) -> Response:
        """The findings of edge-emotion doctor, with their fixes."""
        if self._examining:
            raise Problem(409, UNDER_WAY, {"Retry-After": "10"})
        self._examining = True
        try:
            report = await run_in_threadpool(self._site.examine)
        except TooManyCommands as error:  # one that was asked for over MQTT
            raise Problem(409, str(error), {"Retry-After": "10"}) from error
        finally:
            self._examining = False
        return JSONResponse(report if self._site.node is None else _hidden(report, self._site.node))

    async def nodes(self, _request: Request) -> Response:
        """Every node that the broker knows."""
        if self._site.nodes is None:
            raise Problem(404, "this page has no broker: set mqtt.host, or start edge-emotion web --mqtt HOST")
        try:
            return JSONResponse(await run_in_threadpool(self._site.nodes.listed))
        except SinkError as error:
            raise Problem(503, str(error), {"Retry-After": "10"}) from error

    async def reload(self, request: Request) -> Response:
        """Read the settings again."""
        if await read_command(request):
            raise Problem(422, "expected an empty object: what is read is the configuration file")
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
            raise Problem(422, node.without_addresses(str(error))) from error


def _hidden(report: dict[str, Any], node: Node) -> dict[str, Any]:
    """The findings of the doctor without the addresses of cameras."""
    checks = [
        {key: node.without_addresses(text) if isinstance(text, str) else text for key, text in check.items()}
        for check in report["checks"]
    ]
    return {**report, "checks": checks}


def _classify(site: Site, data: bytes, query: QueryParams) -> dict[str, Any]:
    """Raises SourceError, UnknownModel, ConfigError for what is wrong with the request."""
    classes = [name for name in query.get("classes", "").split(",") if name.strip()]
    return site.pictures.classify(data, query.get("model") or None, query.get("point") or None, classes or None)


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
