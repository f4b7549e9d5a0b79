"""Safe as shipped: who may ask, what a foreign page or name can do, and what no answer holds."""

from __future__ import annotations

import logging
import re
import socket
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
from starlette.routing import Route
from support.page_stage import PASSWORD, TOKEN, Asker, page_alone

from edge_emotion.config.loader import load
from edge_emotion.config.web_settings import WebSettings
from edge_emotion.errors import ConfigError
from edge_emotion.web import access as access_module
from edge_emotion.web.access import LONGEST_DELAY, Access, Failures, Secret
from edge_emotion.web.application import make_routes
from edge_emotion.web.guard import COOKIE, OPEN
from edge_emotion.web.login import Checks
from edge_emotion.web.pages import PAGES, after_login
from edge_emotion.web.server import PageServer

COUNTED = Failures.note
"""The real one: the pages of these tests wait less."""


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Asker, PageServer]]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Failures, "note", lambda _self: 0.01)
        with page_alone(
            tmp_path_factory.mktemp("guarded"), password=PASSWORD, token=TOKEN, hosts=("Emotions.Local",)
        ) as found:
            yield found


@pytest.fixture(scope="module")
def asker(guarded: tuple[Asker, PageServer]) -> Asker:
    return guarded[0]


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Asker]:
    """Without password and token."""
    with page_alone(tmp_path_factory.mktemp("plain")) as (asker, _):
        yield asker


def routes(server: PageServer) -> list[Route]:
    return make_routes(server._site, Checks())


def login(asker: Asker) -> str:
    answer = asker.post("/login", {"password": PASSWORD})
    assert answer.status == 204
    return answer.headers["set-cookie"]


# Off, and for this machine only


def test_nothing_listens_unless_the_settings_say_so(tmp_path: Path) -> None:
    tree = {"cameras": {"desk": {"source": "0"}}, "jsonl": {}}
    assert load(None, tree, environment=False).web is None
    assert load(None, {**tree, "web": {}}, environment=False).web == WebSettings()
    assert WebSettings().loopback
    assert not WebSettings().preview


@pytest.mark.parametrize("listen", ["0.0.0.0:8765", "[::]:8765", "192.168.1.7:80", "[fe80::1]:8765"])
def test_other_machines_need_a_password_or_a_token(listen: str, tmp_path: Path) -> None:
    tree = {"cameras": {"desk": {"source": "0"}}, "web": {"listen": listen}}
    with pytest.raises(ConfigError, match=r"web: other machines reach .* set password_file"):
        load(None, tree, environment=False)
    assert not WebSettings(listen=listen, password_file=tmp_path / "password").loopback
    assert not WebSettings(listen=listen, token_file=tmp_path / "token").loopback


def test_the_preview_needs_a_password_where_other_machines_look(tmp_path: Path) -> None:
    assert WebSettings(preview=True).preview
    assert WebSettings(listen="0.0.0.0:80", preview=True, password_file=tmp_path / "password").preview
    with pytest.raises(ValueError, match="needs a password_file"):
        WebSettings(listen="0.0.0.0:80", preview=True, token_file=tmp_path / "token")


@pytest.mark.parametrize("content", ["", "\n", "   \n", "short", "1234567 \n"])
def test_an_empty_or_short_password_is_refused(content: str, tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_text(content)
    settings = WebSettings(password_file=file, token_file=file)
    for read in (settings.read_password, settings.read_token):
        with pytest.raises(ConfigError, match=r"web\.(password|token)_file .*at least 8 characters"):
            read()


@pytest.mark.parametrize(
    ("listen", "hint"),
    [
        ("8765", "as 127.0.0.1:8765"),
        ("localhost", "as 127.0.0.1:8765"),
        ("somewhere.example:80", "expected an address of this machine"),
        ("127.0.0.1:99999", "65535"),
        ("http://127.0.0.1:80", "expected an address"),
    ],
)
def test_an_impossible_address_is_one_line_with_its_key(listen: str, hint: str) -> None:
    tree = {"cameras": {"desk": {"source": "0"}}, "web": {"listen": listen}}
    with pytest.raises(ConfigError, match=rf"web\.listen: .*{re.escape(hint)}"):
        load(None, tree, environment=False)


# Login


def test_every_route_but_the_open_ones_wants_a_login(guarded: tuple[Asker, PageServer]) -> None:
    asker, server = guarded
    walked = 0
    for route in routes(server):
        path = route.path.replace("{camera}", "desk").replace("{name:path}", "nothing.js")
        if path in OPEN or path.startswith("/static/"):
            continue
        walked += 1
        for method in ("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS"):
            answer = asker.ask(method, path, {"Origin": asker.url, "Content-Type": "application/json"}, b"{}")
            if path in PAGES and method in ("GET", "HEAD"):
                assert answer.status == 303 and answer.headers["location"].split("?")[0] == "login"
            else:
                assert answer.status == 401, (method, path)
    assert walked > 20


def test_what_is_open_without_login_is_no_more_than_this() -> None:
    assert set(OPEN) == {"/login", "/healthz"}


@pytest.mark.parametrize(
    "path",
    ["//api/v1/info", "/static/../api/v1/info", "/static/%2e%2e/api/v1/info", "/login/../api/v1/info", "/healthz/..",
     "/api/v1/info/", "/API/v1/info", "/login%2f..%2fapi/v1/info"],
)  # fmt: skip
def test_no_spelling_of_a_path_leads_past_the_login(path: str, asker: Asker) -> None:
    answer = asker.get(path)
    assert answer.status in (401, 404)
    assert b"version" not in answer.body


def test_a_right_password_opens_a_session_and_logging_out_ends_it(asker: Asker) -> None:
    cookie = login(asker)
    assert all(f"; {part}" in cookie for part in ("HttpOnly", "SameSite=strict", "Path=/"))
    session = cookie.split(";")[0]
    assert asker.get("/api/v1/info", Cookie=session).status == 200
    assert asker.post("/logout", Cookie=session).status == 204
    assert asker.get("/api/v1/info", Cookie=session).status == 401


def test_a_form_logs_in_too_and_leads_to_the_live_page(asker: Asker) -> None:
    answer = asker.post("/login", b"password=correct+horse+battery", Content_Type="application/x-www-form-urlencoded")
    assert (answer.status, answer.headers["location"]) == (303, "./")
    assert asker.get("/api/v1/info", Cookie=answer.headers["set-cookie"].split(";")[0]).status == 200


def test_after_the_login_comes_the_page_that_was_asked_for_and_no_other_address(asker: Asker) -> None:
    for page in ("try", "node", "nodes", "live", "api"):
        assert asker.get(f"/{page}").headers["location"] == f"login?next={page}"
        assert after_login(page) == page
    assert asker.get("/").headers["location"] == "login"
    foreign = ("//evil.example", "https://evil.example", "https:evil.example", "\\\\evil.example", "/\\evil.example")
    for wanted in (*foreign, "javascript:alert(1)", "try/../..", "/try", "try?x", "\ttry", "TRY", "login", "", None):
        assert after_login(wanted) == "./"
    address = f"/login?next={quote(foreign[0])}"
    for password, location in (("correct+horse+battery", "./"), ("wrong", "login")):
        form = f"password={password}".encode()
        answer = asker.post(address, form, Content_Type="application/x-www-form-urlencoded")
        assert (answer.status, answer.headers["location"]) == (303, location)


def test_a_bearer_token_is_enough_for_programs(asker: Asker) -> None:
    for _ in range(2):  # the second one is found without hashing
        assert asker.get("/metrics", Authorization=f"Bearer {TOKEN}").status == 200
    # A write by a program has no Origin.
    assert asker.post("/api/v1/reload", Origin=None, Authorization=f"Bearer {TOKEN}").status == 404  # no daemon here


@pytest.mark.parametrize(
    "headers",
    [
        {"Authorization": "Bearer wrong-token"},
        {"Authorization": f"Basic {TOKEN}"},
        {"Authorization": "Bearer"},
        {"Cookie": f"{COOKIE}=guess"},
        {"Cookie": f"{COOKIE}="},
        {"Cookie": "a=b; =; ;;; \x7f"},
    ],
)
def test_anything_else_is_refused(headers: dict[str, str], asker: Asker) -> None:
    assert asker.get("/api/v1/info", **headers).status == 401


def test_a_wrong_password_is_401_and_nothing_in_the_answer_helps(asker: Asker) -> None:
    answer = asker.post("/login", {"password": "correct horse"})
    assert (answer.status, answer.detail) == (401, "the password is wrong")
    assert "set-cookie" not in answer.headers


def test_where_no_password_is_set_there_is_no_login(plain: Asker) -> None:
    answer = plain.post("/login", {"password": "anything"})
    assert (answer.status, "no password is set" in answer.detail) == (404, True)


def test_failures_in_a_row_are_answered_ever_later_until_a_success() -> None:
    failures = Failures()
    delays = [COUNTED(failures) for _ in range(20)]
    assert delays == sorted(delays)
    assert delays[1] == 2 * delays[0]
    assert delays[-1] == LONGEST_DELAY == 8.0
    failures.forget()
    assert COUNTED(failures) == delays[0]


def test_only_a_salted_hash_of_a_secret_is_kept() -> None:
    one, other = Secret(PASSWORD), Secret(PASSWORD)
    assert one.matches(PASSWORD)
    assert not one.matches(PASSWORD + " ")
    assert one._hash != other._hash
    assert PASSWORD not in str(vars(one))


def test_sessions_are_bounded_and_the_oldest_ends() -> None:
    access = Access(WebSettings(), PASSWORD, None)
    access._password = AnyPassword()  # type: ignore[assignment]
    sessions = [access.login("any") for _ in range(access_module.MAX_SESSIONS + 1)]
    assert not access.logged_in(sessions[0])
    assert all(access.logged_in(session) for session in sessions[1:])


class AnyPassword:
    """Hashing a hundred times would take seconds."""

    def matches(self, _text: str) -> bool:
        return True


# Foreign pages and names


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "", "localhost.evil.example:8765", "a b"])
def test_a_name_that_is_not_ours_is_refused_so_that_dns_cannot_be_rebound(host: str, plain: Asker) -> None:
    answer = plain.get("/api/v1/info", Host=host)
    assert answer.status in (400, 421)
    assert b"version" not in answer.body


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST:1", "127.0.0.1:8765", "[::1]:8765", "192.168.1.7", socket.gethostname()]
)
def test_addresses_and_names_of_this_machine_are_known(host: str, plain: Asker) -> None:
    assert plain.get("/api/v1/info", Host=host).status == 200


def test_further_names_are_those_of_the_settings(asker: Asker) -> None:
    assert asker.get("/healthz", Host="emotions.local:8765").status == 200
    assert asker.get("/healthz", Host="emotions.example").status == 421


@pytest.mark.parametrize("origin", [None, "null", "http://evil.example", "file://", "", "http://127.0.0.1:1"])
def test_a_write_needs_the_origin_of_the_page(origin: str | None, plain: Asker) -> None:
    answer = plain.post("/api/v1/reload", Origin=origin)
    assert (answer.status, "Origin" in answer.detail) == (403, True)


def test_behind_a_proxy_the_origin_is_one_of_the_settings(asker: Asker) -> None:
    answer = asker.post("/login", {"password": PASSWORD}, Origin="https://emotions.local:8123", Host="127.0.0.1:80")
    assert answer.status == 204


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "", None])
def test_a_write_must_be_json_which_no_foreign_form_can_send(kind: str | None, plain: Asker) -> None:
    assert plain.post("/api/v1/reload", Content_Type=kind).status == 415
    assert plain.post("/api/v1/classify", b"x", Content_Type=kind).status == 415


def test_a_foreign_page_cannot_have_pictures_classified(plain: Asker) -> None:
    answer = plain.post("/api/v1/classify", b"x", Content_Type="image/png", Origin="http://evil.example")
    assert answer.status == 403


def test_the_page_of_another_site_cannot_use_up_streams_or_the_doctor(plain: Asker) -> None:
    for site in ("cross-site", "same-site"):
        for path in ("/api/v1/info", "/api/v1/doctor", "/api/v1/stream"):
            answer = plain.get(path, Sec_Fetch_Site=site)
            assert (answer.status, "another site" in answer.detail) == (403, True), (site, path)
    for site in ("same-origin", "none"):
        assert plain.get("/api/v1/info", Sec_Fetch_Site=site).status == 200
    assert plain.get("/", Sec_Fetch_Site="cross-site").status == 200


def test_a_method_that_no_route_has_is_405(plain: Asker) -> None:
    for method in ("OPTIONS", "TRACE", "PUT", "DELETE", "PATCH", "NONSENSE"):
        answer = plain.ask(method, "/api/v1/info", {})
        assert (answer.status, answer.headers["allow"]) == (405, "GET, HEAD, POST"), method


def test_a_flood_of_requests_that_are_none_is_a_few_lines_in_the_log(
    plain: Asker, caplog: pytest.LogCaptureFixture
) -> None:
    host, port = plain.host.split(":")
    for _ in range(20):
        with socket.create_connection((host, int(port)), timeout=10) as connection:
            connection.sendall(b"no request\r\n\r\n")
            assert b" 400 " in connection.recv(4096)
    assert caplog.messages == ["the page: Invalid HTTP request received."] * 5


def test_a_server_that_has_ended_limits_no_line_of_the_next_one(tmp_path: Path) -> None:
    log = logging.getLogger("uvicorn.error")
    before = list(log.filters)
    with page_alone(tmp_path) as (asker, _):
        assert asker.get("/").status == 200
        assert len(log.filters) == len(before) + 1
    assert log.filters == before


def test_cookies_of_other_programs_on_the_same_host_do_not_log_out(asker: Asker) -> None:
    session = login(asker).split(";")[0]
    for other in ('state={"x": 1}', "a b=c d", "alone", "x[y]=1", "path/name=1", "=", 'quoted="half', "; ;"):
        for cookies in (f"{other}; {session}", f"{session}; {other}"):
            assert asker.get("/api/v1/info", Cookie=cookies).status == 200, cookies


# Headers and contents


def test_every_answer_has_the_headers_that_bind_the_browser(guarded: tuple[Asker, PageServer], plain: Asker) -> None:
    paths = [*PAGES, "/static/api.js", "/static/nothing.js", "/api/v1/info", "/nowhere", "/metrics", "/openapi.json"]
    for asker in (guarded[0], plain):
        for path in paths:
            headers = asker.get(path).headers
            assert "default-src 'self'" in headers["content-security-policy"], path
            assert "frame-ancestors 'self'" in headers["content-security-policy"]
            assert "unsafe" not in headers["content-security-policy"]
            assert headers["x-content-type-options"] == "nosniff"
            assert headers["referrer-policy"] == "no-referrer"
            assert headers["cross-origin-resource-policy"] == "same-origin"
            assert headers["cache-control"] == ("no-cache" if path.startswith("/static/") else "no-store")
            assert "access-control-allow-origin" not in headers
            assert "server" not in headers


def test_a_file_that_has_not_changed_is_not_sent_again(plain: Asker) -> None:
    first = plain.get("/static/api.js")
    assert first.headers["content-type"].startswith("text/javascript")
    again = plain.get("/static/api.js", If_None_Match=first.headers["etag"])
    assert (again.status, again.body) == (304, b"")


@pytest.mark.parametrize(
    "name", ["../pages.py", "..%2fpages.py", "%2e%2e/%2e%2e/app.py", "/etc/passwd", ".", "", "%00", "a" * 300]
)
def test_no_file_outside_of_the_pages_can_be_read(name: str, plain: Asker) -> None:
    assert plain.get(f"/static/{name}").status == 404
