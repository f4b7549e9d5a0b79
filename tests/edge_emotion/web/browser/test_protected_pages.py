"""Pages behind a password, with the preview switched on, and below the prefix of an ingress, in Chromium."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from support.browser import MakePage, needs_chromium, overflow, pages, tab_until, until, violations
from support.ingress import Ingress
from support.web_daemon import CLIP, WebProcess, running

pytestmark = needs_chromium

PASSWORD = "correct horse battery"


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebProcess]:
    folder = tmp_path_factory.mktemp("daemon")
    (folder / "password").write_text(PASSWORD, encoding="utf-8")
    web = {"password_file": str(folder / "password"), "preview": True}
    cameras = {name: {"source": str(CLIP), "loop": True, "max_fps": 5} for name in ("desk", "door")}
    with running(folder, web=web, cameras=cameras) as started:
        yield started


def log_in(page: Any) -> None:
    page.fill("#password", PASSWORD)
    page.keyboard.press("Enter")


def test_without_login_every_page_asks_for_the_password_and_shows_nothing_else(
    open_page: MakePage, daemon: WebProcess
) -> None:
    page = open_page()
    for path in ("", "try", "node", "nodes", "api"):
        page.goto(daemon.address + path)
        page.wait_for_selector("#password")
        assert page.locator("nav a").count() == 0 and page.text_content("page-header .node") == ""


def test_a_wrong_password_is_told_and_the_right_one_opens_the_page(open_page: MakePage) -> None:
    page = open_page()
    assert page.evaluate("document.activeElement.id") == "password"
    page.keyboard.type("wrong horse battery")
    page.keyboard.press("Enter")
    until(page, "document.getElementById('message').textContent !== ''")
    assert "password" in page.text_content("#message")
    assert violations(page) == []
    log_in(page)
    page.wait_for_selector("face-avatar g")
    (cookie,) = page.context.cookies()
    assert cookie["httpOnly"] and cookie["sameSite"] == "Strict"


def test_after_the_login_comes_the_page_that_was_asked_for_and_no_other_address(
    open_page: MakePage, daemon: WebProcess
) -> None:
    page = open_page("node")
    log_in(page)
    page.wait_for_selector("camera-settings")
    for foreign in ("//evil.example", "/%5Cevil.example", "javascript:1"):
        page.goto(f"{daemon.address}login?next={foreign}")
        log_in(page)
        page.wait_for_selector("h1:text-is('Live')")
        assert page.url == daemon.address


def test_logging_out_needs_the_password_again(open_page: MakePage) -> None:
    page = open_page("login")
    log_in(page)
    page.wait_for_selector("h1:text-is('Live')")
    tab_until(page, "nav button")
    page.keyboard.press("Enter")
    page.wait_for_selector("#password")
    page.goto(page.url.removesuffix("login"))
    page.wait_for_selector("#password")


def test_an_open_page_goes_to_the_login_when_its_session_has_ended(open_page: MakePage) -> None:
    page = open_page()
    log_in(page)
    page.click("nav a:text-is('Node')")
    page.wait_for_selector("camera-settings")
    page.context.clear_cookies()
    page.click("#check")
    page.wait_for_selector("#password")
    log_in(page)
    page.wait_for_selector("camera-settings")


def test_the_sign_for_the_preview_is_on_every_page_and_stays_in_view(open_page: MakePage, daemon: WebProcess) -> None:
    page = open_page("", width=390, height=700)
    log_in(page)
    page.wait_for_selector("camera-view")
    for path in ("", "try", "node"):
        page.goto(daemon.address + path)
        sign = page.wait_for_selector(".preview-sign[role=alert]")
        for width in (1100, 390):
            page.set_viewport_size({"width": width, "height": 700})
            page.mouse.wheel(0, 3000)
            box = sign.bounding_box()
            assert box["y"] >= -1 and box["width"] == width and "real picture" in sign.text_content()
            assert overflow(page) <= 0
    assert violations(page) == []


def test_each_camera_has_a_drawing_and_a_timeline_of_its_own(open_page: MakePage) -> None:
    page = open_page()
    log_in(page)
    for name in ("desk", "door"):
        camera = page.locator(f"camera-view[name={name}]")
        camera.locator("face-avatar g path").first.wait_for(state="attached")
        camera.locator("tbody tr").first.wait_for(state="attached")
        assert camera.locator("h2").text_content() == f"{name} online"
    drawn = "() => new Set([...document.querySelectorAll('camera-view')].map(c => c.history)).size"
    assert page.evaluate(drawn) == 2


def test_the_real_picture_is_shown_only_when_asked_for(open_page: MakePage) -> None:
    page = open_page()
    log_in(page)
    page.wait_for_selector("face-avatar g")
    assert page.locator("img").count() == 0
    page.click("camera-view[name=door] button:text('Show the real picture')")
    until(page, "document.querySelector('img[src=\"api/v1/preview/door\"]')?.naturalWidth > 0")
    page.click("button[aria-pressed=true]")
    assert page.locator("img").count() == 0


def test_commands_of_the_api_have_the_place_of_the_token_and_no_broker_means_no_page_of_nodes(
    open_page: MakePage, daemon: WebProcess
) -> None:
    page = open_page("api")
    log_in(page)
    page.wait_for_selector(".operation")
    command = page.text_content("section[aria-label='POST /api/v1/reload'] pre")
    assert command == (
        "curl -H 'Authorization: Bearer TOKEN' -H 'Content-Type: application/json' -d '{}' "
        f"{daemon.address}api/v1/reload"
    )
    assert "web.token_file" in page.text_content("#access")
    assert page.eval_on_selector_all("nav a", "found => found.map(each => each.textContent)") == [
        "Live", "Try a picture", "Node", "API",
    ]  # fmt: skip


def test_all_pages_work_below_the_prefix_of_an_ingress(browser: Any, ingress: Ingress) -> None:
    with pages(browser, ingress.address) as open_page:
        page = open_page()
        log_in(page)
        page.wait_for_selector("face-avatar g path")
        page.click("nav a:text-is('Node')")
        page.wait_for_selector("camera-settings")
        page.click("nav a:text('Try a picture')")
        page.wait_for_selector("#model option", state="attached")
        page.click("nav a:text('API')")
        page.wait_for_selector("code:text('curl -H')")
        assert f"{ingress.address}api/v1/state" in page.text_content("section[aria-label='GET /api/v1/state'] pre")
        page.click("nav a:text('Live')")
        page.wait_for_selector("face-avatar g path")
        assert page.url == ingress.address
