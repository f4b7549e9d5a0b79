"""Whatever is sent to the page changes nothing that must not change, gives no answer that it must not, ends nothing.

FUZZ_EXAMPLES=10000 makes the run a long one.
"""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator
from urllib.parse import quote

import pytest
import schemathesis
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st
from schemathesis import Case, GenerationMode, checks
from support.page_stage import PASSWORD, Asker, PageStage, page_alone

from edge_emotion.web.guard import OPEN
from edge_emotion.web.openapi import OPERATIONS
from edge_emotion.web.pages import PAGES

EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "80"))

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
SETTINGS = st.fixed_dictionaries(
    {
        "camera": st.sampled_from(["desk", "nobody", ""]) | JSON,
        "feature": st.sampled_from(["enabled", "volume"]) | JSON,
    },
    optional={"value": st.sampled_from(["ON", 2, -1, []]) | JSON.filter(lambda value: not isinstance(value, bool))},
)
BODIES = (
    st.binary(max_size=200)
    | (JSON | SETTINGS).map(lambda value: json.dumps(value).encode())
    | st.sampled_from(
        [b"[" * 3000, b'{"a":' * 900, b"\xff\xd8\xff\xe0" + bytes(300), b"\x89PNG\r\n\x1a\n", b" " * 9000]
    )
)
PATHS = st.sampled_from([*OPERATIONS, *PAGES, *OPEN, "/logout", "/metrics", "/openapi.json", "/static/api.js"])
WORDS = st.text(max_size=30).map(lambda text: quote(text, safe="/.%"))
TARGETS = PATHS | st.builds(lambda path, word: path + word, PATHS, WORDS) | WORDS.map(lambda word: "/" + word)
QUERIES = st.just("") | st.builds(
    lambda key, word: f"?{key}={word}", st.sampled_from(["since", "limit", "model", "point", "classes", "x"]), WORDS
)
VALUES = st.text(st.characters(min_codepoint=33, max_codepoint=255), max_size=40)
NAMES = st.sampled_from(
    ("Host", "Origin", "Content-Type", "Cookie", "Last-Event-ID", "Accept", "X-Forwarded-Host", "Upgrade", "Referer",
     "If-None-Match", "Range", "X-HTTP-Method-Override", "Transfer-Encoding", "Expect")
)  # fmt: skip
USUAL = st.sampled_from(["null", "http://evil.example", "chunked", "5", "bytes=0-1", "websocket"])
WRITE = st.fixed_dictionaries({"Origin": st.just("http://localhost"), "Content-Type": st.just("application/json")})
PICTURE = st.just({"Content-Type": "image/png"})
HEADERS = st.dictionaries(NAMES, USUAL | VALUES, max_size=4) | WRITE | PICTURE
METHODS = st.sampled_from(
    ["GET", "POST", "POST", "HEAD", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "CONNECT", "GETS"]
)


def request(method: str, target: str, query: str, headers: dict[str, str], body: bytes) -> bytes:
    given = {"Host": "localhost", **headers, "Connection": "close", "Content-Length": str(len(body))}
    lines = [f"{method} {target}{query} HTTP/1.1", *(f"{name}: {value}" for name, value in given.items()), "", ""]
    return "\r\n".join(lines).encode("latin-1", "replace") + body


REQUESTS = st.builds(request, METHODS, TARGETS, QUERIES, HEADERS, BODIES)
LONG = {"max_examples": EXAMPLES, "deadline": None, "database": None, "suppress_health_check": list(HealthCheck)}
SHORT = {**LONG, "max_examples": EXAMPLES // 6}


def send(asker: Asker, data: bytes) -> int | None:
    """The status of the answer, which may be none: a connection that is closed."""
    host, port = asker.host.split(":")
    with socket.create_connection((host, int(port)), timeout=20) as connection:
        try:
            connection.sendall(data)
            connection.shutdown(socket.SHUT_WR)
            first = connection.recv(4096)
            while len(first) < 12 and (more := connection.recv(4096)):
                first += more
        except (ConnectionResetError, BrokenPipeError):
            return None
    return int(first.split(b" ", 2)[1]) if first.startswith(b"HTTP/1.1 ") else None


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PageStage]:
    with PageStage(tmp_path_factory.mktemp("fuzz")) as stage:
        stage.wait(lambda: stage.page.get("/api/v1/state").json["desk"]["available"])
        yield stage


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Asker]:
    with page_alone(tmp_path_factory.mktemp("guarded"), password=PASSWORD) as (asker, _):
        yield asker


@seed(20)
@settings(**LONG)
@given(REQUESTS | st.binary(max_size=300))
def test_no_request_ends_or_changes_anything(stage: PageStage, data: bytes) -> None:
    assert send(stage.page, data) != 500


Described = list[st.SearchStrategy[Case]]


@pytest.fixture(scope="module")
def described(stage: PageStage) -> Described:
    """For each operation requests that follow the page's openapi.json, and such that break it in one place."""
    document = schemathesis.openapi.from_dict(stage.page.get("/openapi.json").json).exclude(path="/api/v1/stream")
    operations = [found.ok() for found in document.get_all_operations()]
    assert len(operations) == len(OPERATIONS) - 1  # the stream never ends
    return [
        st.one_of([operation.as_strategy(generation_mode=mode) for mode in GenerationMode]) for operation in operations
    ]


AS_DESCRIBED = [
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_schema_conformance,
    checks.negative_data_rejection,
]


def ask(case: Case, asker: Asker) -> int:
    """The status of the answer, which must be one that is described; a write has the page's Origin."""
    answer = case.call(base_url=asker.url, headers={"Origin": asker.url}, timeout=30)
    case.validate_response(answer, checks=AS_DESCRIBED)
    return int(answer.status_code)


def test_requests_after_the_description_are_answered_as_described_and_change_only_settings(
    stage: PageStage, described: Described
) -> None:
    before, statuses = stage.page.get("/api/v1/cameras").json, set()

    def send_it(case: Case) -> None:
        if case.path.endswith("/set") and isinstance(case.body, dict) and isinstance(case.body.get("camera"), str):
            case.body["camera"] = "desk"  # a random name is that of no camera
        statuses.add((case.path, ask(case, stage.page)))

    for requests in described:
        seed(22)(settings(**SHORT)(given(requests)(send_it)))()
    assert {path for path, status in statuses if status == 200} == set(OPERATIONS) - {
        "/api/v1/stream", "/api/v1/stats", "/api/v1/nodes", "/api/v1/preview/{camera}",
    }  # fmt: skip
    assert not [status for _, status in statuses if status >= 500 and status != 503]
    for feature, value in {"enabled": True, "threshold": None, "classes": None}.items():
        assert stage.page.post("/api/v1/set", {"camera": "desk", "feature": feature, "value": value}).status == 200
    stage.wait(lambda: stage.page.get("/api/v1/cameras").json == before)


def test_without_login_no_request_after_the_description_is_answered(guarded: Asker, described: Described) -> None:
    def send_it(case: Case) -> None:
        assert ask(case, guarded) == 401

    for requests in described:
        seed(23)(settings(**SHORT)(given(requests)(send_it)))()


def test_after_all_that_the_daemon_is_as_before(stage: PageStage) -> None:
    assert stage.page.get("/healthz").status == 200
    cameras = stage.page.get("/api/v1/cameras").json
    assert cameras == {"desk": {**cameras["desk"], "available": True, "enabled": True, "threshold": 0.5}}
    frames = stage.daemon.summary.frames
    stage.wait(lambda: stage.daemon.summary.frames > frames + 3)
    with stage.page.stream() as messages:
        next(messages)


@seed(21)
@settings(**LONG)
@given(REQUESTS.filter(lambda data: b"/login" not in data))
def test_without_login_nothing_but_the_open_routes_is_answered(guarded: Asker, data: bytes) -> None:
    target = data.split(b" ")[1].split(b"?")[0].decode("latin-1")
    status = send(guarded, data)
    if target not in OPEN and not target.startswith("/static/"):
        assert status is None or 300 <= status < 500, data
