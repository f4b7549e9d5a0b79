"""A page behind a proxy at which people log in, such as Home Assistant's ingress: nobody else may ask."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.routing import Route
from support.ingress import Ingress
from support.page_stage import Asker, page_alone

from edge_emotion.config.loader import load
from edge_emotion.config.web_settings import WebSettings
from edge_emotion.doctor.page import page as examine_page
from edge_emotion.errors import ConfigError
from edge_emotion.web.access import Access
from edge_emotion.web.application import make_routes
from edge_emotion.web.login import Checks
from edge_emotion.web.server import PageServer

PROXY = "127.0.0.1"
STRANGER = "127.0.0.2"
OUTSIDE = "home.example:8123"
"""By which browsers reach Home Assistant; it passes the Host header on."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Asker, PageServer]]:
    with page_alone(tmp_path_factory.mktemp("proxied"), trusted_proxy=PROXY) as found:
        yield found


def answer(asker: Asker, method: str, path: str, sender: str, **headers: str) -> tuple[int, bytes]:
    host, _, port = asker.host.partition(":")
    connection = http.client.HTTPConnection(host, int(port), timeout=30, source_address=(sender, 0))
    try:
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, path, b"{}" if method == "POST" else None, given)
        got = connection.getresponse()
        return got.status, got.read()
    finally:
        connection.close()


def test_every_route_is_closed_to_everybody_but_the_proxy(server: tuple[Asker, PageServer]) -> None:
    asker, page = server
    walked = 0
    for route in make_routes(page._site, Checks()):
        assert isinstance(route, Route)
        path, methods = (
            route.path.replace("{name:path}", "page.css").replace("{camera}", "desk"),
            route.methods or set(),
        )
        for method in methods & {"GET", "POST"}:
            status, body = answer(asker, method, path, STRANGER)
            assert status == 403 and b"trusted_proxy" in body, f"{method} {path}"
            walked += 1
    assert walked >= 20


@pytest.mark.parametrize(
    "headers",
    [
        {"X_Forwarded_For": PROXY},
        {"X_Real_IP": PROXY},
        {"Forwarded": f"for={PROXY}"},
        {"X_Ingress_Path": "/api/hassio_ingress/abc", "X_Remote_User_Id": "admin", "X_Hass_Source": "core.ingress"},
    ],
)
def test_no_header_makes_a_stranger_the_proxy(headers: dict[str, str], server: tuple[Asker, PageServer]) -> None:
    assert answer(server[0], "GET", "/api/v1/info", STRANGER, **headers)[0] == 403


def test_the_proxy_is_answered_under_whatever_name_it_was_reached(server: tuple[Asker, PageServer]) -> None:
    for host in (OUTSIDE, "homeassistant.local:8123", "abc.ui.nabu.example", "172.30.33.4:8099"):
        assert server[0].get("/api/v1/info", Host=host).status == 200
        assert server[0].get("/healthz", Host=host).json == {"status": "ok"}


def test_writes_still_need_the_origin_of_the_page(server: tuple[Asker, PageServer]) -> None:
    def status(**headers: str) -> int:
        return server[0].post("/logout", **{"Host": OUTSIDE, **headers}).status

    assert status(Origin=f"https://{OUTSIDE}") == 204
    assert status(Host="inner:8123", X_Forwarded_Host=OUTSIDE, Origin=f"https://{OUTSIDE}") == 204
    assert status(Origin="https://evil.example") == 403
    assert status(X_Forwarded_Host=OUTSIDE, Origin="https://evil.example") == 403


def test_forwarded_names_count_only_from_a_trusted_proxy() -> None:
    origin, forwarded = f"https://{OUTSIDE}", OUTSIDE
    assert not Access(WebSettings(), None, None).own_origin(origin, "localhost:8765", forwarded)
    assert Access(WebSettings(trusted_proxy=PROXY), None, None).own_origin(origin, "localhost:8765", forwarded)


def test_the_page_and_a_write_go_through_a_prefix(server: tuple[Asker, PageServer]) -> None:
    ingress = Ingress(int(server[0].host.split(":")[1]))
    try:
        outside = Asker(ingress.address)
        assert outside.get("/api/hassio_ingress/abc/").status == 200
        sent = outside.post("/api/hassio_ingress/abc/logout", Host=OUTSIDE, Origin=f"http://{OUTSIDE}")
        assert sent.status == 204
    finally:
        ingress.close()


@pytest.mark.parametrize(
    ("sender", "right"),
    [
        ("172.30.32.2", True),
        ("::ffff:172.30.32.2", True),
        ("172.30.32.1", False),
        ("::1", False),
        ("", False),
        ("proxy", False),
    ],
)
def test_the_sender_is_an_address_in_any_of_its_forms(sender: str, right: bool) -> None:
    settings = WebSettings(listen="0.0.0.0:8099", trusted_proxy="172.30.32.2")
    assert Access(settings, None, None).may_connect(sender) is right
    assert Access(WebSettings(), None, None).may_connect(sender)


def test_a_trusted_proxy_stands_for_a_password_but_not_for_the_preview() -> None:
    tree: dict[str, Any] = {"cameras": {"desk": {"source": "0"}}}
    web = {"listen": "0.0.0.0:8099", "trusted_proxy": "172.30.32.2"}
    loaded = load(None, {**tree, "web": web}, environment=False)
    assert json.loads(loaded.model_dump_json())["web"]["trusted_proxy"] == "172.30.32.2"
    with pytest.raises(ConfigError, match=r"preview on .* needs a password_file"):
        load(None, {**tree, "web": {**web, "preview": True}}, environment=False)
    with pytest.raises(ConfigError, match=r"web\.trusted_proxy"):
        load(None, {**tree, "web": {**web, "trusted_proxy": "supervisor"}}, environment=False)


def test_the_doctor_takes_the_refusal_of_its_own_request_for_an_answer(tmp_path: Path) -> None:
    with page_alone(tmp_path, trusted_proxy=STRANGER) as (asker, _):
        assert asker.get("/healthz").status == 403
        found = examine_page(WebSettings(listen=asker.host, trusted_proxy=STRANGER), in_use=True)
    assert found.status == "ok" and found.detail.endswith("only for the proxy 127.0.0.2")
