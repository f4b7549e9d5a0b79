"""openapi.json: the routes of the API with the shapes of their requests and answers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any, NamedTuple

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from edge_emotion import __version__
from edge_emotion.web import answers
from edge_emotion.web.live import KEPT_EVENTS
from edge_emotion.web.requests import MAX_SEQ

Schema = dict[str, Any]
SINCE: Schema = {
    "type": "integer",
    "minimum": 0,
    "maximum": MAX_SEQ,
    "description": "only events with a higher number (seq)",
}
LIMIT: Schema = {
    "type": "integer",
    "minimum": 1,
    "maximum": KEPT_EVENTS,
    "description": "at most so many; without since the newest",
}
CAMERA: Schema = {"type": "string", "description": "name of the camera"}
BINARY: Schema = {"type": "string", "format": "binary"}


class Operation(NamedTuple):
    """The request and the answer of a route. ``answer`` is a shape, or the media type of something that is not JSON."""

    answer: type[BaseModel] | str
    query: Mapping[str, Schema] = {}
    body: type[BaseModel] | str | None = None
    problems: tuple[int, ...] = ()
    example: Mapping[str, Any] | None = None


def _text(description: str) -> Schema:
    return {"type": "string", "description": description}


COMMAND = (400, 403, 404, 408, 413, 415, 422, 503)
"""Problems of a command."""

OPERATIONS: Mapping[str, Operation] = {
    "/api/v1/info": Operation(answers.Info),
    "/api/v1/state": Operation(answers.States),
    "/api/v1/stats": Operation(answers.Stats, problems=(404,)),
    "/api/v1/cameras": Operation(answers.Cameras),
    "/api/v1/events": Operation(answers.Events, {"since": SINCE, "limit": LIMIT}, problems=(400,)),
    "/api/v1/stream": Operation("text/event-stream", {"since": SINCE}, problems=(400, 503)),
    "/api/v1/preview/{camera}": Operation("multipart/x-mixed-replace", problems=(404, 503)),
    "/api/v1/models": Operation(answers.Models),
    "/api/v1/classify": Operation(
        answers.Classification,
        {
            "model": _text("name of the model; the node's own one without it"),
            "point": _text("operating point of the model"),
            "classes": _text("only these emotions, two at least, comma-separated"),
        },
        "image/*",
        (400, 403, 408, 413, 415, 422, 503, 504),
    ),
    "/api/v1/doctor": Operation(answers.Doctor, problems=(409,)),
    "/api/v1/nodes": Operation(answers.Nodes, problems=(404, 503)),
    "/api/v1/reload": Operation(answers.Changes, body=answers.Nothing, problems=COMMAND),
    "/api/v1/set": Operation(
        answers.Setting,
        body=answers.Setting,
        problems=COMMAND,
        example={"camera": "camera", "feature": "threshold", "value": 0.6},
    ),
}
"""Path -> what the route takes and gives."""


def document(routes: Mapping[str, tuple[str, Callable[..., object]]]) -> Schema:
    """The document for ``routes``: path -> method and the function that answers, whose docstring is the summary.

    Routes that are not in OPERATIONS are left out.
    """
    shapes = {answers.Problem} | {
        shape
        for operation in OPERATIONS.values()
        for shape in (operation.answer, operation.body)
        if isinstance(shape, type)
    }
    inputs = [(shape, "serialization") for shape in sorted(shapes, key=lambda shape: shape.__name__)]
    names, schemas = models_json_schema(inputs, ref_template="#/components/schemas/{model}")  # type: ignore[arg-type]
    references = {shape: reference for (shape, _), reference in names.items()}
    return {
        "openapi": "3.1.0",
        "info": {"title": "edge-emotion", "version": __version__, "license": {"name": "Apache-2.0"}},
        "servers": [{"url": "."}],
        "paths": {
            path: {method.lower(): _operation(path, OPERATIONS[path], function, references)}
            for path, (method, function) in routes.items()
            if path in OPERATIONS
        },
        "components": {
            "schemas": schemas["$defs"],
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
        "security": [{}, {"token": []}],
    }


def _operation(
    path: str, operation: Operation, function: Callable[..., object], references: Mapping[Any, Schema]
) -> Schema:
    problem = {"content": {"application/problem+json": {"schema": references[answers.Problem]}}}
    found: Schema = {
        "summary": (function.__doc__ or "").strip().split("\n")[0],
        "responses": {
            "200": {"description": "the answer", "content": _content(operation.answer, references)},
            **{
                str(status): {"description": HTTPStatus(status).phrase, **problem}
                for status in sorted((*operation.problems, 401, 421))
            },
        },
    }
    parameters: list[Schema] = [
        {"name": name, "in": "query", "schema": schema} for name, schema in operation.query.items()
    ]
    if "{camera}" in path:
        parameters.append({"name": "camera", "in": "path", "required": True, "schema": CAMERA})
    if parameters:
        found["parameters"] = parameters
    if operation.body is not None:
        found["requestBody"] = {"required": True, "content": _content(operation.body, references)}
        if operation.example is not None:
            found["requestBody"]["content"]["application/json"]["example"] = operation.example
    return found


def _content(shape: type[BaseModel] | str, references: Mapping[Any, Schema]) -> Schema:
    if isinstance(shape, str):
        return {shape: {"schema": BINARY}}
    return {"application/json": {"schema": references[shape]}}
