"""Errors as application/problem+json (RFC 9457), in one line of the house."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response


class Problem(Exception):  # noqa: N818 - it is the name of the format
    """Why a request is not answered: HTTP status and one line."""

    def __init__(self, status: int, detail: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(detail)
        self.status, self.detail, self.headers = status, detail, headers


class ProblemResponse(JSONResponse):
    """A problem as the body of an answer."""

    media_type = "application/problem+json"


def problem(status: int, detail: str, headers: dict[str, str] | None = None) -> Response:
    """The answer for a problem."""
    return ProblemResponse(as_dict(status, detail), status, headers)


def as_dict(status: int, detail: str) -> dict[str, Any]:
    """The fields of a problem."""
    return {"type": "about:blank", "title": HTTPStatus(status).phrase, "status": status, "detail": detail}


async def answer_problem(_request: Request, error: Exception) -> Response:
    """For a ``Problem`` that a route raises."""
    assert isinstance(error, Problem)
    return problem(error.status, error.detail, error.headers)


async def answer_http_error(_request: Request, error: Exception) -> Response:
    """For what the router finds: no such route or method."""
    assert isinstance(error, HTTPException)
    details = {404: "there is no such page; the API is described in openapi.json", 405: "another method is needed here"}
    headers = dict(error.headers) if error.headers else None
    return problem(error.status_code, details.get(error.status_code, str(error.detail)), headers)
