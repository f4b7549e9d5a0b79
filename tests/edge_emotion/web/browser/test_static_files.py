"""The files of the pages: small, complete, and without a link to anywhere else."""

from __future__ import annotations

import gzip
import re
from pathlib import Path

import pytest
from support.paths import ROOT

STATIC = ROOT / "edge_emotion" / "web" / "static"
FILES = sorted(path for path in STATIC.rglob("*") if path.is_file())
PAGES = sorted(STATIC.glob("*.html"))
OURS = [path for path in FILES if "vendor" not in path.parts]
MOST_BYTES = 60_000
NAMESPACE = "http://www.w3.org/2000/svg"
LINK = re.compile(r"""(?:src|href|action)="([^"]*)"|(?:from|import) "([^"]*)"|url\(([^)]*)\)""")


def links(path: Path) -> list[str]:
    return [next(filter(None, found)) for found in LINK.findall(path.read_text(encoding="utf-8")) if any(found)]


def test_all_files_together_are_small_when_compressed() -> None:
    sizes = {path.name: len(gzip.compress(path.read_bytes(), 9)) for path in FILES}
    assert sum(sizes.values()) <= MOST_BYTES, sizes


@pytest.mark.parametrize("path", OURS, ids=lambda path: path.name)
def test_a_file_names_no_other_host_and_no_absolute_path(path: Path) -> None:
    text = path.read_text(encoding="utf-8").replace(NAMESPACE, "")
    assert re.findall(r"\w+://[^\s\"']*", text) == []
    assert [link for link in links(path) if link.startswith("/")] == []
    assert re.findall(r"""(?:fetch|EventSource|get|post|assign)\(["'`]/""", text) == []


def test_the_chart_library_asks_no_other_host() -> None:
    text = (STATIC / "vendor" / "uplot" / "uPlot.iife.min.js").read_text(encoding="utf-8")
    assert not re.search(r"fetch\(|XMLHttpRequest|WebSocket|importScripts|sendBeacon", text)


def test_every_file_that_a_page_names_is_there_and_every_file_is_named() -> None:
    named = {STATIC / link.removeprefix("static/") for page in PAGES for link in links(page) if "static/" in link}
    named |= {
        path.parent / link for path in OURS if path.suffix == ".js" for link in links(path) if link.endswith(".js")
    }
    assert len(PAGES) == 6
    assert {path.resolve() for path in named} | set(PAGES) == {path for path in FILES if path.name != "LICENSE"}


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_a_page_has_no_inline_script_and_no_inline_style(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert re.findall(r"<script(?![^>]*\ssrc=)", text) == []
    assert re.findall(r"<style|\sstyle=|\son\w+=", text) == []
    assert '<html lang="en">' in text and text.count("<h1>") == 1


def test_no_text_from_outside_is_taken_as_html() -> None:
    dangerous = re.compile(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function")
    assert [path.name for path in OURS if dangerous.search(path.read_text(encoding="utf-8"))] == []


def test_the_licence_of_the_chart_library_is_beside_it_and_the_notice_names_it() -> None:
    assert "Leon Sorokin" in (STATIC / "vendor" / "uplot" / "LICENSE").read_text(encoding="utf-8")
    assert "uPlot" in (ROOT / "NOTICE").read_text(encoding="utf-8")
