"""The live page in Chromium, fed by the real daemon on the bundled clip, with a real broker."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from typing import Any

import pytest
from support.broker import Broker, Subscriber, needs_mosquitto, wait_until
from support.browser import MakePage, needs_chromium, overflow, pages, screenshot, tab_until, until, violations
from support.ingress import Ingress
from support.page_stage import Asker
from support.web_daemon import WebProcess, running

from edge_emotion.web.live import MAX_STREAMS

pytestmark = [needs_chromium, needs_mosquitto]

CLASSES = "edge-emotion/pi5/desk/classes/set"
"""A new value ends every track and begins new ones: events at a moment that a test chooses."""

MOUTH = "() => document.querySelector('face-avatar g')?.lastElementChild.previousElementSibling.getAttribute('d')"


EVENTS = "document.querySelector('camera-view').history.marks.map(mark => mark.event.seq)"

OPEN_MINUTES = int(os.environ.get("OPEN_MINUTES", "0"))
"""How long the page that must not grow is left open, besides many events at once."""

FILL = """events => {
    const view = document.querySelector('camera-view'), [first] = view.history.marks;
    const event = { ...first.event, probabilities: {} };
    for (let n = 0; n < events; n++) {
        const at = new Date(Date.parse(event.ts) + n).toISOString(), seq = event.seq - events + n;
        view.event({ ...event, seq, ts: at, type: 'start', track: { id: `T${n}`, started: at } });
        if (n % 50 === 0) view.tick(Date.parse(at) / 1000);
    }
}"""

HIDE = """hidden => {
    Object.defineProperty(document, 'hidden', { value: hidden, configurable: true });
    document.dispatchEvent(new Event('visibilitychange'));
}"""


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory, broker: Broker) -> Iterator[WebProcess]:
    mqtt = {"host": "127.0.0.1", "port": broker.port, "stats_interval": 1}
    with running(tmp_path_factory.mktemp("daemon"), mqtt=mqtt) as started:
        yield started


@pytest.fixture(scope="module")
def live(browser: Any, daemon: WebProcess) -> Iterator[Any]:
    """One live page that several tests look at."""
    with pages(browser, daemon.address) as function:
        page = function()
        page.wait_for_selector("face-card .bars li")
        yield page


def cause_events(subscriber: Subscriber) -> int:
    """Have all tracks end and begin; returns the number of an event that came over MQTT because of this."""
    before = len(subscriber.on("desk/events"))
    subscriber.publish(CLASSES, b"null")
    subscriber.publish(CLASSES, json.dumps(["neutral", "happiness", "surprise"]).encode())
    subscriber.publish(CLASSES, b"null")
    wait_until(lambda: len(subscriber.on("desk/events")) > before)
    return int(json.loads(subscriber.on("desk/events")[-1].payload)["seq"])


def test_the_avatar_moves_with_the_face(live: Any) -> None:
    first = live.evaluate(MOUTH)
    live.wait_for_function(f"first => (({MOUTH})() ?? first) !== first", arg=first)
    assert live.query_selector("camera-view img, camera-view video") is None


def test_what_is_seen_is_told_in_text_and_bars(live: Any) -> None:
    page = live
    assert page.text_content("#connection") == "Connected"
    assert page.text_content("page-header .node") == "pi5"
    until(page, "document.querySelector('face-card h3').textContent.match(/^Face \\d+: [a-z]+ \\d+ %$/)")
    widths = page.eval_on_selector_all(
        "face-card:first-child .fill", "all => all.map(one => parseFloat(one.style.width))"
    )
    assert len(widths) == 8 and sum(widths) == pytest.approx(100, abs=1)
    until(page, "document.querySelector('camera-view .figures').textContent.match(/second[0-9.]+Latency\\d+/)")
    until(page, "document.querySelector('#machine').textContent.includes('Memory')")
    assert "An expression is not a feeling" in page.text_content("page-footer")


def test_an_event_that_is_published_appears_in_the_timeline(live: Any, subscriber: Subscriber) -> None:
    page = live
    seq = cause_events(subscriber)
    page.wait_for_selector(f"camera-view tr[data-seq='{seq}']", state="attached")
    shown = page.evaluate(EVENTS)
    assert shown == sorted(set(shown))
    assert page.evaluate("document.querySelector('camera-view').history.bands.length") > 0
    screenshot(page, "page-live", after=100)


def test_events_of_before_are_shown_by_a_page_that_is_opened_later(open_page: MakePage, subscriber: Subscriber) -> None:
    seq = cause_events(subscriber)
    page = open_page()
    page.wait_for_selector(f"camera-view tr[data-seq='{seq}']", state="attached")


def test_a_lost_stream_comes_back_by_itself_and_fills_its_gap(
    browser: Any, ingress: Ingress, subscriber: Subscriber
) -> None:
    with pages(browser, ingress.address) as open_page:
        page = open_page()
        page.wait_for_selector("face-avatar g")
        seen = cause_events(subscriber)
        page.wait_for_selector(f"camera-view tr[data-seq='{seen}']", state="attached")
        ingress.away = True
        ingress.drop()
        until(page, "document.getElementById('connection').textContent.startsWith('No connection')")
        assert page.text_content("camera-view h2") == "desk unknown" and page.text_content(".verdict") == ""
        missed = cause_events(subscriber)
        ingress.away = False
        page.wait_for_selector(f"camera-view tr[data-seq='{missed}']", state="attached")
        until(page, "document.getElementById('connection').textContent === 'Connected'")
        until(page, "document.querySelector('camera-view h2').textContent === 'desk online'")
        assert set(range(seen, missed + 1)) <= set(page.evaluate(EVENTS))
        streams = [path for path, _ in ingress.requests if "/stream" in path]
        assert len(streams) >= 2


def test_a_connection_that_is_cut_is_made_again_with_the_number_of_the_last_event(
    browser: Any, ingress: Ingress, subscriber: Subscriber
) -> None:
    with pages(browser, ingress.address) as open_page:
        page = open_page()
        page.wait_for_selector("face-avatar g")
        seq = cause_events(subscriber)
        page.wait_for_selector(f"camera-view tr[data-seq='{seq}']", state="attached")
        ingress.requests.clear()
        ingress.drop()
        wait_until(lambda: any("/stream" in path for path, _ in list(ingress.requests)))
        headers = next(headers for path, headers in list(ingress.requests) if "/stream" in path)
        assert int(headers["Last-Event-ID"]) >= seq


def test_a_hidden_page_gives_its_stream_up_and_fills_the_gap_when_it_is_shown_again(
    browser: Any, ingress: Ingress, subscriber: Subscriber
) -> None:
    with pages(browser, ingress.address) as open_page:
        page = open_page()
        page.clock.install()
        page.reload()
        page.wait_for_selector("face-avatar g")
        page.evaluate(HIDE, True)
        page.clock.fast_forward(31_000)
        missed = cause_events(subscriber)
        assert missed not in page.evaluate(EVENTS)
        page.evaluate(HIDE, False)
        page.wait_for_selector(f"camera-view tr[data-seq='{missed}']", state="attached")


def test_a_page_beyond_the_most_streams_shows_the_reason_until_there_is_room(
    open_page: MakePage, daemon: WebProcess
) -> None:
    connection = "document.getElementById('connection').textContent"
    with ExitStack() as others:
        page = open_page()

        def refused() -> bool:
            with suppress(AssertionError):  # all places are taken, some perhaps by pages that have just been closed
                for _ in range(MAX_STREAMS):
                    others.enter_context(Asker(daemon.address).stream())
            page.reload()
            until(page, f"['Connected', '20 pages'].some((text) => {connection}.startsWith(text))")
            return bool(page.evaluate(f"{connection}.startsWith('20 pages and programs read')"))

        wait_until(refused, 60)
    until(page, f"{connection} === 'Connected'")


def test_events_that_are_no_longer_kept_are_told(
    browser: Any, ingress: Ingress, daemon: WebProcess, subscriber: Subscriber
) -> None:
    with pages(browser, ingress.address) as open_page:
        page = open_page()
        seen = cause_events(subscriber)
        page.wait_for_selector(f"camera-view tr[data-seq='{seen}']", state="attached")
        ingress.away = True
        ingress.drop()
        until(page, "document.getElementById('connection').textContent.startsWith('No connection')")
        missed = cause_events(subscriber)
        daemon.stop()
        daemon.start()
        ingress.away = False
        until(page, "document.getElementById('missed').textContent !== ''")
        numbers = re.findall(r"[0-9]+", page.text_content("#missed"))
        assert int(numbers[0]) - 1 <= missed <= int(numbers[1])
        page.wait_for_selector(f"camera-view tr[data-seq='{int(numbers[1]) + 1}']", state="attached")
        assert min(page.evaluate(EVENTS)) > missed


def test_it_fits_a_phone_in_light_and_dark_without_a_fault_that_axe_finds(open_page: MakePage) -> None:
    page = open_page(width=390, height=844)
    page.wait_for_selector("face-card .bars li")
    page.wait_for_selector("camera-view tbody tr")
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        assert overflow(page) <= 0
        assert violations(page) == []
        background = page.evaluate("getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number)")
        assert (sum(background) < 3 * 128) == (scheme == "dark")


def test_it_can_be_read_with_the_keyboard_alone(open_page: MakePage) -> None:
    page = open_page()
    page.wait_for_selector("camera-view tbody tr")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    assert page.url.endswith("#main")
    tab_until(page, "[aria-label='Events of desk']")
    page.goto(page.url.split("#")[0])
    tab_until(page, "a[href='try']")
    page.keyboard.press("Enter")
    page.wait_for_selector("h1:text('Try a picture')")


def test_a_page_that_stays_open_does_not_grow(live: Any) -> None:
    live.wait_for_selector("camera-view tbody tr", state="attached")
    live.evaluate(FILL, 550)
    live.wait_for_selector("face-card .bars li", state="attached")  # a face has some fifty elements
    nodes, heap, _ = size(live)
    live.evaluate(FILL, 550)
    for _ in range(OPEN_MINUTES):
        live.wait_for_timeout(60_000)
        print(size(live))
    live.wait_for_selector("face-card .bars li", state="attached")
    later_nodes, later_heap, kept = size(live)
    assert later_nodes <= nodes + 20 and later_heap < heap + 3e6 and kept <= 500


def size(page: Any) -> tuple[int, int, int]:
    """Elements, bytes of the heap after a collection, and the longest list that the page keeps."""
    page.evaluate("gc()")
    page.wait_for_timeout(100)
    script = """(({ history, series }) => [
        document.querySelectorAll('*').length,
        performance.memory.usedJSHeapSize,
        Math.max(...[history.marks, history.bands, series.data[0]].map(all => all.length)),
    ])(document.querySelector('camera-view'))"""
    return tuple(page.evaluate(script))


def test_the_page_follows_a_node_that_lost_its_numbers(
    open_page: MakePage, daemon: WebProcess, subscriber: Subscriber
) -> None:
    page = open_page()
    seq = cause_events(subscriber)
    page.wait_for_selector(f"camera-view tr[data-seq='{seq}']", state="attached")
    daemon.stop()
    shutil.rmtree(daemon.folder / "state")
    daemon.start()
    page.wait_for_selector("camera-view tr[data-seq='1']", state="attached")
    until(page, "document.getElementById('connection').textContent === 'Connected'")
    page.wait_for_selector("face-avatar g path")
