"""Reading requests: bodies of bounded size and time, numbers and names of the query."""

from __future__ import annotations

import asyncio
import re
from typing import Any

from starlette.requests import ClientDisconnect, Request

from edge_emotion.daemon.control import MAX_PAYLOAD
from edge_emotion.web.problems import Problem
from edge_emotion.wire.payloads import read_object

BODY_SECONDS = 20.0
"""Longest time for a body to arrive."""

MAX_SEQ = 2**53 - 1
"""Highest number of an event that may be asked for: every reader of JSON takes it exactly."""

PATIENCE = 3
"""So many times the limit are read and thrown away before the connection is closed."""


async def read_body(request: Request, limit: int) -> bytes:
    """The body. Raises Problem for one of more than ``limit`` bytes, or that does not come."""
    announced = request.headers.get("content-length", "0")
    if announced.isdigit() and int(announced) > PATIENCE * limit:
        raise Problem(413, f"the body has {announced} bytes, {limit} are the most", {"Connection": "close"})
    try:
        return await asyncio.wait_for(_read(request, limit), BODY_SECONDS)
    except asyncio.TimeoutError:
        raise Problem(408, f"the body did not arrive within {BODY_SECONDS:g} s", {"Connection": "close"}) from None
    except ClientDisconnect:
        raise Problem(400, "the body is incomplete") from None


async def _read(request: Request, limit: int) -> bytes:
    """The part beyond the limit is thrown away: a client that is cut off would not read why."""
    parts, size = [], 0
    async for part in request.stream():
        size += len(part)
        if size <= limit:
            parts.append(part)
        elif size > PATIENCE * limit:
            break
    if size > limit:
        raise Problem(413, f"the body has more than {limit} bytes", {"Connection": "close"})
    return b"".join(parts)


async def read_command(request: Request) -> dict[str, Any]:
    """A JSON object of a command; an empty body is an empty one. Raises Problem."""
    body = await read_body(request, MAX_PAYLOAD)
    try:
        return read_object(body) if body.strip() else {}
    except ValueError as error:
        raise Problem(400, f"expected a JSON object: {error}") from error


def whole_number(request: Request, name: str, least: int, most: int) -> int | None:
    """A number of the query; None if it is not given. Raises Problem."""
    text = request.query_params.get(name)
    if text is None:
        return None
    if not re.fullmatch(r"[0-9]{1,18}", text) or not least <= int(text) <= most:
        raise Problem(400, f"{name} must be a whole number from {least} to {most}")
    return int(text)
