"""The page "Try a picture" in Chromium: real pictures are classified by the real server, and stored nowhere."""

from __future__ import annotations

import base64
import csv
import json
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from support.browser import MakePage, needs_chromium, overflow, screenshot, tab_until, until, violations
from support.web_daemon import CLIP, WebProcess, running

from edge_emotion.datatypes import Image

pytestmark = needs_chromium

File = dict[str, Any]


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebProcess]:
    with running(tmp_path_factory.mktemp("daemon")) as started:
        yield started


@pytest.fixture(scope="module")
def three(astronaut: Image) -> list[File]:
    """A portrait, a frame of the clip with another face, and a picture without one."""
    clip = cv2.VideoCapture(str(CLIP))
    clip.set(cv2.CAP_PROP_POS_FRAMES, 40)
    frame = np.asarray(clip.read()[1], np.uint8)
    clip.release()
    return [
        picture("portrait.jpg", astronaut),
        picture("clip.png", frame),
        picture("wall.webp", np.full_like(frame, 90)),
    ]


def picture(name: str, image: Image) -> File:
    kind = Path(name).suffix
    encoded = cv2.imencode(kind, image)[1].tobytes()
    return {"name": name, "mimeType": f"image/{kind[1:].replace('jpg', 'jpeg')}", "buffer": encoded}


def bomb() -> File:
    """A PNG of 12,000 x 12,000 black pixels, in less than 150 kB."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 12_000, 12_000, 8, 0, 0, 0, 0)
    packer = zlib.compressobj(9)
    rows = b"".join(packer.compress(bytes(12_001)) for _ in range(12_000)) + packer.flush()
    data = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")
    return {"name": "bomb.png", "mimeType": "image/png", "buffer": data}


def status(page: Any, name: str) -> str:
    """The line under the picture's name, when there is an answer."""
    box = f"document.querySelector('[aria-label=\"Remove {name}\"]').closest('picture-result')"
    until(page, f"!['waiting', 'being classified'].includes({box}.querySelector('.note').textContent)")
    return str(page.evaluate(f"{box}.querySelector('.note').textContent"))


def test_three_pictures_are_answered_and_drawn(open_page: MakePage, three: list[File]) -> None:
    page = open_page("try")
    page.set_input_files("#files", three)
    assert status(page, "portrait.jpg").startswith("1 face; ")
    assert status(page, "clip.png").startswith("1 face; ")
    assert status(page, "wall.webp").startswith("no face was found; ")
    until(page, "document.querySelector('#progress').textContent === '3 of 3 pictures have an answer'")
    screenshot(page, "page-try")
    canvas = page.wait_for_selector("canvas[aria-label^='portrait.jpg: face 1: happiness']")
    assert canvas.evaluate("canvas => [canvas.width, canvas.height]") == [640, 480]
    # The box is white in black: pixels that the portrait does not have at this place.
    drawn = "canvas => { const f = document.querySelector('picture-result:first-child').answer.faces[0].box;"
    drawn += "const at = [Math.round(f[0] * 640), Math.round((f[1] + f[3] / 2) * 480), 1, 1];"
    drawn += "return [...canvas.getContext('2d').getImageData(...at).data]; }"
    assert min(canvas.evaluate(drawn)) > 200
    assert violations(page) == []


def test_the_answers_can_be_downloaded(open_page: MakePage, three: list[File]) -> None:
    page = open_page("try")
    page.set_input_files("#files", three)
    until(page, "document.querySelector('#progress').textContent === '3 of 3 pictures have an answer'")
    with page.expect_download() as download:
        page.click("#json")
    results = json.loads(Path(download.value.path()).read_text(encoding="utf-8"))
    assert {result["file"]: len(result["faces"]) for result in results} == {
        "portrait.jpg": 1,
        "clip.png": 1,
        "wall.webp": 0,
    }
    with page.expect_download() as download:
        page.click("#csv")
    with Path(download.value.path()).open(encoding="utf-8", newline="") as file:
        rows = {row["file"]: row for row in csv.DictReader(file)}
    assert rows["portrait.jpg"]["emotion"] == "happiness" and rows["wall.webp"]["emotion"] == ""


def test_more_pictures_than_the_page_holds_are_not_taken(open_page: MakePage) -> None:
    page = open_page("try")
    wrong = {"mimeType": "text/plain", "buffer": b"none"}
    page.set_input_files("#files", [{"name": f"{n}.txt", **wrong} for n in range(31)])
    until(page, "document.querySelector('#progress').textContent === '0 of 30 pictures have an answer'")
    assert "At most 30 pictures" in page.text_content("#full")


def test_what_is_no_picture_is_refused_in_one_line_and_the_rest_goes_on(open_page: MakePage, three: list[File]) -> None:
    page = open_page("try")
    text = {"name": "notes.txt", "mimeType": "text/plain", "buffer": b"no picture at all"}
    page.set_input_files("#files", [text, bomb(), three[0]])
    assert status(page, "portrait.jpg").startswith("1 face; ")
    for name, word in (("notes.txt", "picture"), ("bomb.png", "12000")):
        line = status(page, name)
        assert word in line.replace(",", "").replace("\u202f", "") and "\n" not in line
    assert page.locator("picture-result.failed canvas:visible").count() == 0
    assert page.text_content("#progress") == "1 of 3 pictures have an answer"


def test_a_choice_of_model_and_classes_asks_again(open_page: MakePage, three: list[File]) -> None:
    page = open_page("try")
    page.set_input_files("#files", three[0])
    status(page, "portrait.jpg")
    page.select_option("#model", "tiny")
    until(page, "document.querySelector('picture-result .note').textContent.includes('; tiny ')")
    page.click("summary")
    for label in ("happiness", "contempt"):
        page.uncheck(f"input[value={label}]")
    until(page, "document.querySelectorAll('picture-result .bars li').length === 6")
    assert "happiness" not in page.text_content("picture-result .bars")
    assert page.locator("#point option").count() >= 2


def test_another_operating_point_is_asked_for_and_changes_the_probabilities(
    open_page: MakePage, three: list[File]
) -> None:
    sharp = cv2.imdecode(np.frombuffer(three[1]["buffer"], np.uint8), cv2.IMREAD_COLOR)
    page = open_page("try")
    page.set_input_files("#files", picture("blurred.png", cv2.GaussianBlur(sharp, (0, 0), 12)))  # else it is certain
    status(page, "blurred.png")
    shown = "document.querySelector('picture-result').answer?.faces[0].probabilities"
    before = page.evaluate(f"JSON.stringify({shown})")
    with page.expect_request(lambda request: "point=expressive" in request.url):
        page.select_option("#point", "expressive")
    page.wait_for_function(f"before => {shown} && JSON.stringify({shown}) !== before", arg=before)
    assert status(page, "blurred.png").startswith("1 face; ")
    assert sum(page.evaluate(shown).values()) == pytest.approx(1, abs=0.01)


def test_fewer_than_two_classes_are_not_asked_for(open_page: MakePage, three: list[File]) -> None:
    page = open_page("try")
    page.wait_for_selector("#classes input", state="attached")
    page.click("summary")
    for box in page.query_selector_all("#classes input")[1:]:
        box.uncheck()
    page.set_input_files("#files", three[0])
    assert status(page, "portrait.jpg") == "Choose at least two classes."


def test_pictures_can_be_pasted_and_dropped(open_page: MakePage, three: list[File]) -> None:
    page = open_page("try")
    send = """([text, kind]) => {
        const data = new DataTransfer(), bytes = Uint8Array.from(atob(text), character => character.charCodeAt(0));
        data.items.add(new File([bytes], `${kind}.jpg`, { type: 'image/jpeg' }));
        document.body.dispatchEvent(kind === 'drop'
            ? new DragEvent('drop', { dataTransfer: data, bubbles: true, cancelable: true })
            : new ClipboardEvent('paste', { clipboardData: data, bubbles: true }));
    }"""
    for kind in ("drop", "paste"):
        page.evaluate(send, [base64.b64encode(three[0]["buffer"]).decode(), kind])
        assert status(page, f"{kind}.jpg").startswith("1 face; ")


def test_a_picture_can_be_taken_with_the_browsers_camera(open_page: MakePage) -> None:
    page = open_page("try", permissions=["camera"])
    page.click('button:text("Use this browser\'s camera")')
    page.click("button:text('Take the picture')")
    page.wait_for_selector("picture-result canvas:visible")
    page.click("button:text('Switch the camera off')")
    assert page.evaluate("document.querySelector('video').srcObject") is None


def test_it_works_with_the_keyboard_alone_and_gives_the_pictures_up(open_page: MakePage, three: list[File]) -> None:
    page = open_page("try")
    choosers: list[Any] = []
    page.on("filechooser", lambda chooser: choosers.append(chooser))
    tab_until(page, "#files")
    page.keyboard.press("Enter")
    for _ in range(400):
        if not choosers:
            page.wait_for_timeout(50)
    choosers[0].set_files(three[:2])
    status(page, "portrait.jpg")
    until(page, "!document.querySelector('#json').disabled")
    tab_until(page, "#clear")
    page.keyboard.press("Enter")
    assert page.locator("picture-result").count() == 0
    assert page.evaluate("document.activeElement.id") == "files"


def test_it_fits_a_phone_in_light_and_dark_without_a_fault_that_axe_finds(
    open_page: MakePage, three: list[File]
) -> None:
    page = open_page("try", width=390, height=844)
    page.set_input_files("#files", three[:2])
    until(page, "document.querySelector('#progress').textContent.startsWith('2 of 2')")
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        assert overflow(page) <= 0
        assert violations(page) == []


def test_nothing_is_stored(open_page: MakePage, daemon: WebProcess, three: list[File]) -> None:
    page = open_page("try")
    page.set_input_files("#files", three)
    until(page, "document.querySelector('#progress').textContent === '3 of 3 pictures have an answer'")
    script = "async () => [localStorage.length, sessionStorage.length, (await indexedDB.databases()).length]"
    assert page.evaluate(script) == [0, 0, 0]
    marks = [file["buffer"][len(file["buffer"]) // 2 :][:64] for file in three[:2]]
    left = [path for path in daemon.folder.rglob("*") if path.is_file()]
    assert left and not [path for path in left if any(mark in path.read_bytes() for mark in marks)]
