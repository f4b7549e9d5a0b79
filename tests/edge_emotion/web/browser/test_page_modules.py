"""The modules of the pages that only compute: the avatar's geometry, the history, and exported results."""

from __future__ import annotations

import csv
import io
import math
import mimetypes
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from support.browser import needs_chromium
from support.paths import ROOT

from edge_emotion.labels import EMOTIONS

pytestmark = needs_chromium

STATIC = ROOT / "edge_emotion" / "web" / "static"
EYES_LEVEL = [[0.4, 0.4], [0.6, 0.4], [0.5, 0.5], [0.5, 0.6], [0.3, 0.42], [0.7, 0.42]]
BOX = [0.3, 0.25, 0.4, 0.5]

Compute = Callable[..., Any]


@pytest.fixture(scope="module")
def compute(browser: Any) -> Iterator[Compute]:
    """A function that runs an expression in a page; the modules are read from their files."""
    context = browser.new_context()
    context.route("**/*", _answer_from_file)
    page = context.new_page()
    page.goto("http://pages.test/empty.html")
    names = ("avatar", "history", "results", "stream")
    page.evaluate(
        "async names => { window.own = {}; for (const n of names) own[n] = await import(`./${n}.js`); }", names
    )
    yield page.evaluate
    context.close()


def _answer_from_file(route: Any) -> None:
    path = STATIC / route.request.url.rsplit("/", 1)[1]
    if path.is_file():
        route.fulfill(body=path.read_text(encoding="utf-8"), content_type=mimetypes.guess_type(path.name)[0])
    else:
        route.fulfill(body="<!doctype html><title>empty</title>", content_type="text/html")


def drawn(compute: Compute, probabilities: dict[str, float], landmarks: Any = EYES_LEVEL) -> Any:
    face = {"box": BOX, "landmarks": landmarks, "probabilities": probabilities}
    return compute("face => own.avatar.drawing(face, 1000, 1000)", face)


def points(path: str) -> list[tuple[float, float]]:
    """The points of an SVG path, control points included."""
    numbers = [float(word) for word in path.replace("M", " ").replace("Q", " ").replace("Z", " ").split()]
    return list(zip(numbers[::2], numbers[1::2], strict=True))


def event(seq: int, kind: str = "change", track: str = "A", at: float = 0.0, **changes: Any) -> dict[str, Any]:
    """As in the contract, with what the page reads; ``at`` is in seconds of an hour."""
    ts = f"2026-11-20T04:{int(at // 60):02d}:{at % 60:06.3f}Z"
    return {"seq": seq, "type": kind, "ts": ts, "emotion": "neutral", "track": {"id": track, "started": ts}, **changes}


def test_every_emotion_has_a_shape_of_its_own(compute: Compute) -> None:
    assert compute("Object.keys(own.avatar.SHAPES)") == list(EMOTIONS)
    shapes = [str(drawn(compute, {emotion: 1.0})) for emotion in EMOTIONS]
    assert len(set(shapes)) == len(EMOTIONS)


def test_the_avatar_has_the_eyes_and_the_mouth_where_the_landmarks_are(compute: Compute) -> None:
    face = drawn(compute, {"neutral": 1.0})
    assert [(eye["cx"], eye["cy"]) for eye in face["eyes"]] == [(400, 400), (600, 400)]
    assert face["angle"] == 0
    left, _, right, _, _ = points(face["mouth"])
    assert (left[0] + right[0]) / 2 == 500 and left[1] == right[1] == 600


@pytest.mark.parametrize("degrees", [-40, 15, 90])
def test_the_avatar_is_turned_as_the_line_of_the_eyes_is(compute: Compute, degrees: float) -> None:
    angle = math.radians(degrees)
    turned = [
        [0.5 + (x - 0.5) * math.cos(angle) - (y - 0.5) * math.sin(angle),
         0.5 + (x - 0.5) * math.sin(angle) + (y - 0.5) * math.cos(angle)]
        for x, y in EYES_LEVEL
    ]  # fmt: skip
    face = drawn(compute, {"neutral": 1.0}, turned)
    assert face["angle"] == pytest.approx(degrees)
    left, _, right, _, _ = points(face["mouth"])
    assert math.degrees(math.atan2(right[1] - left[1], right[0] - left[0])) == pytest.approx(degrees, abs=0.1)


def test_a_smile_raises_the_corners_of_the_mouth_and_sadness_lowers_them(compute: Compute) -> None:
    def corner(emotion: str) -> float:
        return points(drawn(compute, {emotion: 1.0})["mouth"])[0][1]

    assert corner("happiness") < corner("neutral") < corner("sadness")


def test_surprise_opens_mouth_and_eyes_and_raises_the_brows(compute: Compute) -> None:
    calm, surprised = drawn(compute, {"neutral": 1.0}), drawn(compute, {"surprise": 1.0})

    def opening(face: Any) -> float:
        _, upper, _, lower, _ = points(face["mouth"])
        return lower[1] - upper[1]

    assert opening(surprised) > opening(calm) + 20
    assert surprised["eyes"][0]["ry"] > calm["eyes"][0]["ry"]
    assert points(surprised["brows"][0])[1][1] < points(calm["brows"][0])[1][1]


def test_a_mixture_lies_between_its_expressions(compute: Compute) -> None:
    mixed = compute("own.avatar.blend({happiness: 0.5, sadness: 0.5})")
    shapes = compute("own.avatar.SHAPES")
    for part, value in mixed.items():
        assert value == pytest.approx((shapes["happiness"][part] + shapes["sadness"][part]) / 2)


def test_a_face_without_landmarks_or_with_odd_values_is_still_drawn(compute: Compute) -> None:
    odd = ([], None, [[0.5, 0.5]] * 6)
    for landmarks in odd:
        for probabilities in ({}, {"bored": 1.0}, {"surprise": 1.0}):
            face = drawn(compute, probabilities, landmarks)
            numbers = [
                n for path in (face["mouth"], face["nose"], *face["brows"]) for point in points(path) for n in point
            ]
            assert all(math.isfinite(number) for number in numbers)
    inside = drawn(compute, {"neutral": 1.0}, [])
    assert all(300 < eye["cx"] < 700 and 250 < eye["cy"] < 750 for eye in inside["eyes"])


def test_a_change_ends_a_band_and_begins_another(compute: Compute) -> None:
    events = [
        event(1, "start", at=10),
        event(2, "change", at=20, emotion="happiness"),
        event(3, "start", "B", at=25),
        event(4, "end", at=30, emotion="happiness"),
    ]
    script = "events => { const h = new own.history.History(); events.forEach(e => h.add(e)); return h.bands; }"
    bands = compute(script, events)
    spans = [(band["emotion"], band["lane"], band["to"] and band["to"] - band["from"]) for band in bands]
    assert spans == [("neutral", 0, 10), ("happiness", 0, 10), ("neutral", 1, None)]


def test_a_lane_is_used_again_when_its_track_has_ended(compute: Compute) -> None:
    events = [event(1, "start", at=1), event(2, "end", at=2), event(3, "start", "B", at=3)]
    script = "events => { const h = new own.history.History(); events.forEach(e => h.add(e)); return h.lanes; }"
    assert compute(script, events) == 1


def test_the_history_is_bounded_however_many_events_and_tracks_come(compute: Compute) -> None:
    script = """make => {
        const h = new own.history.History({ seconds: 300, most: 500 });
        for (let n = 0; n < 20000; n++) {
            const ts = new Date(1.8e12 + n * 100).toISOString();
            h.number(`T${n}`);
            h.add({ seq: n, type: n % 3 ? "change" : "start", ts, emotion: n % 2 ? "fear" : "anger",
                    track: { id: `T${n}`, started: ts } });
        }
        return [h.bands.length, h.marks.length, h.open.size, h.names.size, h.lanes];
    }"""
    bands, marks, opened, names, lanes = compute(script)
    assert bands <= 500 and marks <= 500 and opened <= 500 and names <= 500 and lanes <= 8


def test_a_series_keeps_its_last_values(compute: Compute) -> None:
    script = """() => {
        const series = new own.history.Series(2, 3);
        for (let n = 0; n < 9; n++) series.add(n, n * 2, null);
        return series.data;
    }"""
    assert compute(script) == [[6, 7, 8], [12, 14, 16], [None, None, None]]


def test_the_clock_of_the_node_is_followed_also_when_it_is_set(compute: Compute) -> None:
    script = """() => {
        const clock = new own.history.NodeClock(), iso = seconds => new Date(seconds * 1000).toISOString(), seen = [];
        const take = (node, here) => { clock.take(iso(node), here * 1000); seen.push(clock.now(here * 1000)); };
        take(1000, 5000); take(1001, 5001.4); take(9000, 5002); take(2000, 5003);
        return seen;
    }"""
    assert compute(script) == [1000, 1001.4, 9000, 2000]


def test_csv_has_a_row_for_each_face_and_survives_any_file_name(compute: Compute) -> None:
    face = {"box": [0.1, 0.2, 0.3, 0.4], "emotion": "fear", "confidence": 0.5, "quality": 0.9, "score": 0.8}
    face["probabilities"] = {"neutral": 0.25, "fear": 0.75}
    model = {"name": "tiny", "version": "2.0.1"}
    results = [
        {"file": 'a "b", c.jpg', "answer": {"faces": [face, face], "model": model}},
        {"file": "=1+1.png", "answer": {"faces": [], "model": model}},
    ]
    text = compute("r => own.results.asCsv(r)", results)
    rows = list(csv.DictReader(io.StringIO(text, newline="")))
    assert [row["file"] for row in rows] == ['a "b", c.jpg', 'a "b", c.jpg', "'=1+1.png"]
    assert [row["face"] for row in rows] == ["1", "2", ""]
    assert rows[0]["fear"] == "0.75" and rows[0]["width"] == "0.3" and rows[2]["model"] == "tiny"
