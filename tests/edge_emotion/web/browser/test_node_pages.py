"""The pages of this node, of all nodes and of the API in Chromium, with the real daemon and a real broker."""

from __future__ import annotations

import json
import shlex
import urllib.request
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml
from support.broker import Broker, Subscriber, needs_mosquitto, wait_until
from support.browser import MakePage, needs_chromium, overflow, pages, tab_until, until, violations
from support.web_daemon import WebProcess, alone, running

from edge_emotion.web.openapi import OPERATIONS

pytestmark = [needs_chromium, needs_mosquitto]


SET = """value => fetch("api/v1/set", {
    method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(value),
})"""


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory, broker: Broker) -> Iterator[WebProcess]:
    with running(tmp_path_factory.mktemp("daemon"), mqtt={"host": "127.0.0.1", "port": broker.port}) as started:
        yield started


@pytest.fixture(scope="module")
def node(browser: Any, daemon: WebProcess) -> Iterator[Any]:
    """The page of this node, which several tests use one after the other."""
    with pages(browser, daemon.address) as function:
        page = function("node")
        page.wait_for_selector("camera-settings")
        page.wait_for_selector("article.model")
        yield page


def last(subscriber: Subscriber, topic: str) -> Any:
    """The value of the newest message on the topic; None before the first."""
    found = subscriber.on(topic)
    return yaml.safe_load(found[-1].payload) if found else None


def test_the_check_shows_its_findings_with_their_fixes(node: Any) -> None:
    page = node
    tab_until(page, "#check")
    page.keyboard.press("Enter")
    page.wait_for_selector(".finding", timeout=60_000)
    text = page.text_content("#findings")
    assert "classifier: ok" in text and "broker" in text
    for finding in page.query_selector_all(".finding.warn, .finding.fail"):
        assert "What to do: " in finding.text_content()
    assert violations(page) == []


def test_the_models_are_shown_with_figures_and_limits(node: Any) -> None:
    page = node
    for name in ("mobilenet_v2", "efficientnet_lite0", "tiny"):
        model = page.locator("article.model", has=page.locator(f"h3:text('{name}')"))
        assert "An expression is not a felt emotion" in model.text_content()
        model.locator("summary").click()
        assert model.locator("tbody tr").count() >= 2 and " to " in model.locator("tbody").text_content()
    assert violations(page) == []


def test_a_threshold_that_is_set_is_in_effect_and_can_be_taken_back(node: Any, subscriber: Subscriber) -> None:
    page = node
    tab_until(page, "input[type=number]")
    page.keyboard.type("0.73")
    page.keyboard.press("Enter")
    wait_until(lambda: last(subscriber, "desk/threshold/state") == 0.73)
    until(page, "document.querySelector('camera-settings .note').textContent === 'threshold is now 0.73'")
    page.click("[aria-label^='threshold as']")
    wait_until(lambda: last(subscriber, "desk/threshold/state") == 0.5)
    until(page, "document.querySelector('input[type=number]').value === '0.5'")


def test_a_camera_can_be_switched_off_and_on(node: Any, subscriber: Subscriber) -> None:
    page = node
    page.uncheck("camera-settings [role=switch]")
    wait_until(lambda: last(subscriber, "desk/availability") == "offline")
    live = page.context.new_page()
    live.goto(page.url.removesuffix("node"))
    live.wait_for_selector("camera-view .badge:text('offline')")
    page.check("camera-settings [role=switch]")
    live.wait_for_selector("camera-view .badge:text('online')")
    live.wait_for_selector("face-avatar g path")
    live.close()


def test_classes_that_are_set_are_in_effect_and_a_refusal_is_told(node: Any, subscriber: Subscriber) -> None:
    page = node
    boxes = page.query_selector_all("camera-settings .checks input")
    for box in boxes[2:]:
        box.uncheck()
    page.click("camera-settings form:nth-of-type(2) button:text-is('Set')")
    wait_until(lambda: last(subscriber, "desk/classes/state") == ["neutral", "happiness"])
    boxes[1].uncheck()
    page.click("camera-settings form:nth-of-type(2) button:text-is('Set')")
    until(page, "document.querySelector('camera-settings .note').textContent.includes('two')")
    page.click("[aria-label^='classes as']")
    until(page, "document.querySelectorAll('camera-settings .checks input:checked').length === 8")


def test_a_reload_tells_what_it_did(node: Any) -> None:
    page = node
    page.click("#reload")
    until(page, "document.getElementById('reloaded').textContent === 'nothing has changed'")


def test_all_nodes_are_shown_while_the_broker_is_there_and_again_when_it_is_back(
    open_page: MakePage, broker: Broker, subscriber: Subscriber
) -> None:
    page = open_page("nodes")
    page.wait_for_selector("node-card h2:text('pi5: online')")
    page.wait_for_selector("node-card th:text('desk')")
    page.wait_for_selector("node-card p:text-matches('^edge-emotion [0-9.]+; model [a-z_0-9]+ .*; interpreter [a-z]+')")
    subscriber.publish("edge-emotion/hall/availability", b"online")
    page.wait_for_selector("node-card h2:text('hall: online')")
    live = page.context.new_page()
    live.goto(page.url.removesuffix("nodes"))
    live.wait_for_selector("face-avatar g")
    broker.kill()
    seen = live.evaluate("document.querySelector('camera-view').history.marks.length")
    for classes in (["neutral", "happiness"], None):  # ends the tracks and begins new ones
        live.evaluate(SET, {"camera": "desk", "feature": "classes", "value": classes})
    until(live, f"document.querySelector('camera-view').history.marks.length > {seen}")
    assert live.text_content("#connection") == "Connected"
    page.wait_for_selector("node-card h2:text('pi5: unknown')")
    broker.start()
    page.wait_for_selector("node-card h2:text('pi5: online')")
    page.wait_for_selector("node-card:has(h2:text('pi5: online')) p:text('Last event: ')")


def operation(page: Any, name: str) -> Any:
    return page.locator(f"section[aria-label='{name}']")


def opened(part: Any, text: str) -> None:
    """Wait for a text that is written when its part of the page has been opened."""
    part.locator("details[open]", has_text=text).first.wait_for()


def test_every_operation_of_the_api_is_shown_with_its_parameters_body_and_answers(open_page: MakePage) -> None:
    page = open_page("api")
    page.wait_for_selector(".operation")
    titles = page.eval_on_selector_all(".operation h2", "found => found.map(each => each.textContent)")
    assert {title.split(" ")[1] for title in titles} == set(OPERATIONS) and len(titles) == len(OPERATIONS)
    events = operation(page, "GET /api/v1/events")
    assert "Events of the past" in events.text_content()
    tab_until(page, "[aria-label='GET /api/v1/events'] summary", 100)
    page.keyboard.press("Enter")
    opened(events, "limit integer from 1 to 1000, optional: at most so many")
    events.locator("summary:text-is('Answer 200')").click()
    events.locator("summary:text-is('Event')").click()  # what a type names is shown when it is opened
    events.locator("summary:text-is('Track')").click()
    opened(events.locator("details details"), "duration number")
    events.locator("summary:text-matches('^Errors 400, 401')").click()
    opened(events, "400: Bad Request")
    opened(events, "detail string")
    body = operation(page, "POST /api/v1/set").locator("details", has_text="Body")
    body.locator("summary").click()
    opened(operation(page, "POST /api/v1/set"), 'feature "enabled" or "threshold" or "classes"')


def test_the_command_of_an_operation_is_copied_and_works_as_it_stands(open_page: MakePage, daemon: WebProcess) -> None:
    page = open_page("api", permissions=["clipboard-read", "clipboard-write"])
    for name in ("GET /api/v1/state", "POST /api/v1/set"):
        operation(page, name).locator("button").press("Enter")
        until(page, f"document.getElementById('copied').textContent === 'Copied: {name}'")
    words = shlex.split(page.evaluate("navigator.clipboard.readText()").replace('"camera":"camera"', '"camera":"desk"'))
    headers = dict(word.split(": ", 1) for option, word in pairwise(words) if option == "-H")
    sent = urllib.request.Request(words[-1], words[words.index("-d") + 1].encode(), headers)
    with urllib.request.urlopen(sent, timeout=20) as answer:
        assert json.load(answer) == {"camera": "desk", "feature": "threshold", "value": 0.6}


@pytest.mark.parametrize("path", ["node", "nodes", "api"])
def test_it_fits_a_phone_in_light_and_dark_without_a_fault_that_axe_finds(open_page: MakePage, path: str) -> None:
    page = open_page(path, width=390, height=844)
    page.wait_for_selector("camera-settings, node-card tbody tr, .operation")
    page.wait_for_selector("article.model, node-card, .operation")
    for summary in page.query_selector_all(".operation:last-child > details > summary"):
        summary.click()
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        assert overflow(page) <= 0
        assert violations(page) == []


def test_without_a_daemon_pictures_and_nodes_are_left(
    browser: Any, broker: Broker, daemon: WebProcess, tmp_path: Path
) -> None:
    with alone(tmp_path, "--mqtt", f"127.0.0.1:{broker.port}") as server, pages(browser, server.address) as open_page:
        page = open_page()
        until(page, "document.getElementById('connection').textContent.startsWith('No camera')")
        page.click("#connection a:text-is('nodes')")
        page.wait_for_selector("node-card h2:text('pi5: online')")
        page.click("nav a:text-is('Node')")
        page.wait_for_selector("article.model")
        assert not page.is_visible("#settings")
        page.click("nav a:text-is('API')")
        page.wait_for_selector(".operation")
        page.click("nav a:text-is('Try a picture')")
        page.wait_for_selector("#model option", state="attached")
