"""What the files of these tests share: a browser, a broker, and pages of the daemon that each file starts."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from support.broker import Broker, Subscriber
from support.browser import MakePage, chromium, pages
from support.ingress import Ingress
from support.web_daemon import WebProcess


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Debian's Chromium, without a window. Not for the whole session: Playwright leaves an event loop running."""
    with chromium() as started:
        yield started


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    broker = Broker(tmp_path_factory.mktemp("broker")).start()
    yield broker
    broker.stop()


@pytest.fixture(scope="module")
def subscriber(broker: Broker) -> Iterator[Subscriber]:
    subscriber = Subscriber(broker, "browser-test")
    yield subscriber
    subscriber.close()


@pytest.fixture
def open_page(browser: Any, daemon: WebProcess) -> Iterator[MakePage]:
    with pages(browser, daemon.address) as function:
        yield function


@pytest.fixture
def ingress(daemon: WebProcess) -> Iterator[Ingress]:
    started = Ingress(daemon.port)
    yield started
    started.close()
