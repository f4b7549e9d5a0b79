"""The API in front of a running daemon: each route against its shape, and the same answers as over MQTT."""

from __future__ import annotations

import http.client
import json
import socket
import struct
import threading
import time
import zlib
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import cv2
import numpy as np
import pytest
from pydantic import BaseModel
from support.broker import Broker, Subscriber, needs_mosquitto, password_access, wait_until
from support.page_stage import Answer, PageStage, page_alone

from edge_emotion import __version__
from edge_emotion.cli.demo import CLIP
from edge_emotion.config.settings import MqttSettings
from edge_emotion.daemon.control import MAX_PENDING, Control
from edge_emotion.daemon.daemon import Daemon
from edge_emotion.datatypes import Image
from edge_emotion.web import answers
from edge_emotion.web.node import Node
from edge_emotion.web.openapi import OPERATIONS
from edge_emotion.web.pictures import MAX_BYTES
from edge_emotion.web.tap import FRAMES_PER_SECOND


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PageStage]:
    """A daemon whose camera is online and has seen a face."""
    with PageStage(tmp_path_factory.mktemp("page")) as stage:
        stage.wait(lambda: stage.page.get("/api/v1/events").json["events"])
        yield stage


@pytest.fixture(scope="module")
def portrait() -> bytes:
    """A frame of the clip with a happy face, as JPEG."""
    clip = cv2.VideoCapture(str(CLIP))
    clip.set(cv2.CAP_PROP_POS_FRAMES, 40)
    return jpeg(clip.read()[1])


def jpeg(image: Image) -> bytes:
    return bytes(cv2.imencode(".jpg", image)[1])


def bomb(side: int) -> bytes:
    """The head of a PNG of side x side pixels, and little of its data."""
    head = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    parts = [(b"IHDR", head), (b"IDAT", zlib.compress(bytes(1000))), (b"IEND", b"")]
    chunks = (struct.pack(">I", len(d)) + k + d + struct.pack(">I", zlib.crc32(k + d)) for k, d in parts)
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def classify(stage: PageStage, data: bytes, query: str = "") -> Answer:
    return stage.page.post(f"/api/v1/classify{query}", data, Content_Type="image/jpeg")


def control_of(stage: PageStage) -> Control:
    return cast(Control, stage.daemon.on_turn.__self__)  # type: ignore[attr-defined]


def sample(stage: PageStage, series: str) -> float:
    """The value of a series of the metrics."""
    lines = stage.page.get("/metrics").body.decode().splitlines()
    return float(next(line for line in lines if line.startswith(series + " ")).rpartition(" ")[2])


def head(size: int) -> bytes:
    """Of a request with a picture of so many bytes."""
    lines = ("POST /api/v1/classify HTTP/1.1", "Host: localhost", "Content-Type: image/jpeg", f"Content-Length: {size}")
    return "\r\n".join((*lines, "", "")).encode()


# Reading


@pytest.mark.parametrize(
    "path", ["/api/v1/info", "/api/v1/state", "/api/v1/cameras", "/api/v1/events", "/api/v1/models"]
)
def test_answers_have_the_shape_that_is_described(path: str, stage: PageStage) -> None:
    shape = OPERATIONS[path].answer
    assert isinstance(shape, type)
    assert issubclass(shape, BaseModel)
    answer = stage.page.get(path)
    assert answer.status == 200
    assert shape.model_validate_json(answer.body, strict=True) is not None


def test_the_description_has_every_route_of_the_api_and_no_dead_reference(stage: PageStage) -> None:
    document = stage.page.get("/openapi.json").json
    assert set(document["paths"]) == set(OPERATIONS)
    assert document["paths"]["/api/v1/set"]["post"]["summary"] == "Set a feature of a camera."
    operations = [operation for methods in document["paths"].values() for operation in methods.values()]
    parameters = [each for operation in operations for each in operation.get("parameters", [])]
    assert len(parameters) > 5 and all(each["schema"]["description"] for each in parameters)
    body = document["paths"]["/api/v1/set"]["post"]["requestBody"]["content"]["application/json"]
    assert answers.Setting.model_validate(body["example"]).feature == "threshold"
    text = json.dumps(document)
    for name in {part.split('"')[0] for part in text.split("#/components/schemas/")[1:]}:
        assert name in document["components"]["schemas"]


def test_info_is_that_of_the_node_and_tells_what_the_page_offers(stage: PageStage) -> None:
    info = stage.page.get("/api/v1/info").json
    assert (info["node"], info["cameras"], info["model"]["name"]) == ("pi5", ["desk"], "tiny")
    expected = {"daemon": True, "preview": False, "broker": False, "writes": True, "login": False, "failure": None}
    assert info["web"] == {**info["web"], **expected}


def test_statistics_come_with_the_first_interval_and_to_every_stream(stage: PageStage) -> None:
    assert "yet" in stage.page.get("/api/v1/stats").detail
    control = control_of(stage)
    with stage.page.stream() as messages:
        control._reported -= 61.0
        shown = next(json.loads(message["data"]) for message in messages if message["event"] == "stats")
    answer = stage.page.get("/api/v1/stats")
    answers.Stats.model_validate_json(answer.body)
    assert answer.json == shown
    assert shown["cameras"]["desk"]["status"] == "online"
    assert "outbox" not in shown


def test_events_since_a_number(stage: PageStage) -> None:
    newest = stage.page.get("/api/v1/events?limit=1").json
    assert len(newest["events"]) == 1
    assert newest["events"][0]["seq"] == newest["newest"]
    assert stage.page.get(f"/api/v1/events?since={newest['newest'] + 1000}").json["events"] == []


@pytest.mark.parametrize(
    "query",
    ["since=-1", "since=x", "since=", f"since={2**53}", "limit=0", "limit=1001", "since=1e3", "since=" + "9" * 30],
)
def test_an_impossible_number_is_one_line(query: str, stage: PageStage) -> None:
    answer = stage.page.get(f"/api/v1/events?{query}")
    assert (answer.status, "must be a whole number" in answer.detail) == (400, True)


def test_health_and_readiness_are_those_of_the_main_loop(stage: PageStage) -> None:
    assert stage.page.get("/healthz").json == {"status": "ok"}
    stage.wait(lambda: stage.page.get("/readyz").status == 200)
    control = control_of(stage)
    hanging = Node(cast(Daemon, SimpleNamespace(healthy_at=time.monotonic() - 61, cameras=[])), control)
    assert not hanging.healthy
    assert not hanging.ready


def test_an_unknown_path_or_method_is_a_problem(stage: PageStage) -> None:
    assert "openapi.json" in stage.page.get("/api/v2/info").detail
    assert stage.page.post("/api/v1/info").status == 405


# The stream


def test_the_stream_has_frames_with_faces_as_fractions_and_at_most_ten_a_second(stage: PageStage) -> None:
    frames = []
    with stage.page.stream() as messages:
        for message in messages:
            if message["event"] == "frame":
                frames.append(json.loads(message["data"]))
            if len(frames) > 25 and any(frame["faces"] for frame in frames):
                break
    assert {frame["camera"] for frame in frames} == {"desk"}
    assert (frames[0]["width"], frames[0]["height"]) == (640, 480)
    face = next(frame["faces"][0] for frame in frames if frame["faces"])
    assert set(face) >= {"track", "box", "landmarks", "score", "probabilities", "emotion", "confidence", "quality"}
    assert len(face["landmarks"]) == 6
    assert all(0 <= value <= 1 for value in face["box"])
    assert sum(face["probabilities"].values()) == pytest.approx(1, abs=0.001)
    # By the clock of the frames: 15 a second are captured.
    seconds = [float(frame["ts"][17:-1]) + 60 * int(frame["ts"][14:16]) for frame in frames]
    assert (len(frames) - 1) / ((seconds[-1] - seconds[0]) % 3600) <= FRAMES_PER_SECOND + 1


def test_a_stream_that_reconnects_gets_what_it_missed(stage: PageStage) -> None:
    kept = stage.page.get("/api/v1/events").json["events"]
    first = kept[0]["seq"]
    with stage.page.stream(Last_Event_ID=str(first - 1)) as messages:
        message = next(messages)
    assert (message["id"], json.loads(message["data"])) == (str(first), kept[0])
    with stage.page.stream(f"/api/v1/stream?since={first - 1}") as messages:
        assert next(messages)["id"] == str(first)


def streams(stage: PageStage) -> float:
    """The number of streams, of which the page counts those of viewers that have just left for a moment."""
    return sample(stage, "edge_emotion_page_streams")


def test_a_viewer_that_leaves_is_forgotten(stage: PageStage) -> None:
    stage.wait(lambda: streams(stage) == 0)
    with stage.page.stream() as messages:
        next(messages)
        stage.wait(lambda: streams(stage) == 1)
    stage.wait(lambda: streams(stage) == 0)


def test_too_many_streams_are_refused(stage: PageStage) -> None:
    stage.wait(lambda: streams(stage) == 0)
    with ExitStack() as stack:
        for _ in range(20):
            stack.enter_context(stage.page.stream())
        assert "20 pages and programs read the stream" in stage.page.get("/api/v1/stream").detail


# Writing


def test_a_threshold_is_set_as_over_mqtt_and_survives_in_the_file(stage: PageStage) -> None:
    answer = stage.page.post("/api/v1/set", {"camera": "desk", "feature": "threshold", "value": 0.31})
    assert answer.json == {"camera": "desk", "feature": "threshold", "value": 0.31}
    assert stage.page.get("/api/v1/cameras").json["desk"]["threshold"] == 0.31
    kept = Path(stage.tree["state_dir"]) / "pi5.features.json"
    stage.wait(lambda: kept.exists() and "0.31" in kept.read_text())
    answer = stage.page.post("/api/v1/set", {"camera": "desk", "feature": "threshold", "value": None})
    assert answer.json["value"] == 0.5


def test_a_camera_is_switched_off_and_on_and_its_counters_go_on(stage: PageStage) -> None:
    def processed() -> float:
        return sample(stage, 'edge_emotion_frames_captured_total{camera="desk"}')

    stage.wait(lambda: processed() > 10)
    before = processed()
    off = stage.page.post("/api/v1/set", {"camera": "desk", "feature": "enabled", "value": False})
    assert off.json["value"] is False
    assert stage.page.get("/api/v1/state").json["desk"]["available"] is False
    assert stage.page.post("/api/v1/set", {"camera": "desk", "feature": "enabled", "value": True}).json["value"] is True
    stage.wait(lambda: stage.page.get("/api/v1/state").json["desk"]["available"])
    assert processed() >= before


@pytest.mark.parametrize(
    ("value", "status", "hint"),
    [
        ({"camera": "nowhere", "feature": "threshold", "value": 1}, 404, "no camera 'nowhere'"),
        ({"camera": "desk", "feature": "volume", "value": 1}, 422, "enabled, threshold, classes"),
        ({"camera": "desk", "feature": "threshold"}, 422, "and value"),
        ({"camera": "desk", "feature": "threshold", "value": 2}, 422, "from 0 to 1"),
        ({"camera": "desk", "feature": "enabled", "value": "ON"}, 422, "true or false"),
        ({"camera": "desk", "feature": "classes", "value": ["happy"]}, 422, "two"),
        ({"camera": ["desk"], "feature": "enabled", "value": True}, 422, "camera"),
        ({"camera": "desk", "feature": ["enabled"], "value": True}, 422, "feature"),
        ([], 400, "JSON object"),
        (b"{", 400, "JSON object"),
        (b"[" * 1000, 400, "nested"),
        (b'{"value": NaN}', 400, "NaN"),
        (b" " * 5000, 413, "bytes"),
    ],
)
def test_an_impossible_write_is_one_line_and_changes_nothing(
    value: object, status: int, hint: str, stage: PageStage
) -> None:
    before = stage.page.get("/api/v1/cameras").json
    answer = stage.page.post("/api/v1/set", value)
    assert (answer.status, hint in answer.detail) == (status, True), answer
    assert stage.page.get("/api/v1/cameras").json == before


def test_more_commands_than_the_main_loop_takes_are_refused(stage: PageStage) -> None:
    control, taken = control_of(stage), 0
    while control._pending.acquire(blocking=False):
        taken += 1
    try:
        answer = stage.page.post("/api/v1/set", {"camera": "desk", "feature": "threshold", "value": 0.1})
        assert (answer.status, f"{MAX_PENDING} commands" in answer.detail) == (503, True)
    finally:
        for _ in range(taken):
            control._pending.release()


def test_a_reload_applies_what_has_changed_and_tells_what_waits(stage: PageStage) -> None:
    stage.write(policy={"threshold": 0.4}, classifier={"model": "mobilenet_v2"})
    try:
        assert stage.page.post("/api/v1/reload").json == {
            "applied": ["policy.threshold"],
            "restart": ["classifier.model"],
        }
        assert stage.page.get("/api/v1/cameras").json["desk"]["threshold"] == 0.4
        stage.write(policy={"threshold": 7})
        answer = stage.page.post("/api/v1/reload")
        assert (answer.status, "policy.threshold" in answer.detail) == (422, True)
        answer = stage.page.post("/api/v1/reload", {"policy": {"threshold": 0.2}})
        assert (answer.status, "an empty object" in answer.detail) == (422, True)
    finally:
        stage.write(policy={}, classifier={"model": "tiny"})
        assert stage.page.post("/api/v1/reload").status == 200


def test_doctor_examines_once_at_a_time_and_finds_the_page(stage: PageStage) -> None:
    answer = stage.page.get("/api/v1/doctor")
    answers.Doctor.model_validate_json(answer.body)
    (found,) = [check for check in answer.json["checks"] if check["name"] == "page"]
    assert found["status"] == "ok"
    assert str(stage.port) in found["detail"]
    control = control_of(stage)
    with control._examining:
        assert (stage.page.get("/api/v1/doctor").status) == 409


# Pictures


def test_the_faces_of_a_picture_are_found_and_classified(stage: PageStage, portrait: bytes) -> None:
    answer = classify(stage, portrait)
    found = answers.Classification.model_validate_json(answer.body)
    assert (found.width, found.height, found.model.name) == (640, 480, "tiny")
    assert [face.emotion for face in found.faces] == ["happiness"]
    assert all(0 <= x <= 1 and 0 <= y <= 1 for x, y in found.faces[0].landmarks)


def test_model_point_and_classes_can_be_chosen(stage: PageStage, portrait: bytes) -> None:
    query = "?model=tiny&point=expressive&classes=happy,%20sadness,anger"
    found = classify(stage, portrait, query).json
    assert set(found["faces"][0]["probabilities"]) == {"happiness", "sadness", "anger"}


def test_a_picture_without_a_face_has_none(stage: PageStage) -> None:
    assert classify(stage, jpeg(np.zeros((64, 64, 3), np.uint8))).json["faces"] == []


@pytest.mark.parametrize(
    ("query", "hint"),
    [
        ("?model=nothing", "no model 'nothing'"),
        ("?model=../tiny", "no model '../tiny'"),
        ("?point=wild", "no operating point 'wild'"),
        ("?classes=happiness", "two"),
        ("?classes=hunger,anger", "unknown emotion"),
    ],
)
def test_an_unknown_choice_is_one_line(query: str, hint: str, stage: PageStage, portrait: bytes) -> None:
    answer = classify(stage, portrait, query)
    assert (answer.status, hint in answer.detail) == (422, True)


@pytest.mark.parametrize(
    ("data", "status", "hint"),
    [
        (b"no picture", 422, "not a readable image"),
        (b"", 422, "the picture is empty (0 bytes)"),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", 422, "the picture is HEIC, which is not read: give JPEG or PNG"),
        (b"\xff\xd8\xff\xe0" + bytes(100), 422, "not a readable image"),
        pytest.param(bomb(12_000), 422, "12000 x 12000 pixels, more than 25 million", id="bomb"),
        pytest.param(bytes(MAX_BYTES + 1), 413, "more than 10000000 bytes", id="large"),
    ],
)
def test_a_picture_that_is_none_or_too_large_is_one_line(data: bytes, status: int, hint: str, stage: PageStage) -> None:
    answer = classify(stage, data)
    assert (answer.status, hint in answer.detail) == (status, True)


def test_one_picture_at_a_time_and_the_next_is_asked_to_come_again(stage: PageStage, portrait: bytes) -> None:
    with socket.create_connection(("127.0.0.1", stage.port)) as slow:
        slow.sendall(head(len(portrait)) + portrait[:-1])
        stage.wait(lambda: classify(stage, portrait).status == 503)
        assert classify(stage, portrait).headers["retry-after"] == "1"
        slow.sendall(portrait[-1:])
        assert slow.recv(20).startswith(b"HTTP/1.1 200")
    assert classify(stage, portrait).status == 200


def test_a_client_that_leaves_in_the_middle_of_a_picture_makes_room(stage: PageStage, portrait: bytes) -> None:
    with socket.create_connection(("127.0.0.1", stage.port)) as slow:
        slow.sendall(head(9) + b"x")
        stage.wait(lambda: classify(stage, portrait).status == 503)
    stage.wait(lambda: classify(stage, portrait).status == 200)


# No pixel


def test_with_the_settings_that_ship_no_route_gives_a_pixel(stage: PageStage) -> None:
    walked = 0
    for path, operation in OPERATIONS.items():
        if operation.body is not None or path.endswith("stream"):
            continue
        answer = stage.page.get(path.replace("{camera}", "desk"))
        assert not answer.headers["content-type"].startswith(("image/", "multipart/", "video/")), path
        assert not any(magic in answer.body for magic in (b"\xff\xd8\xff", b"\x89PNG", b"RIFF", b"data:image"))
        walked += 1
    assert walked >= 9
    assert "web.preview" in stage.page.get("/api/v1/preview/desk").detail


def first_picture(stage: PageStage) -> tuple[http.client.HTTPMessage, Image]:
    """Headers of the preview, and its first picture."""
    connection = http.client.HTTPConnection("127.0.0.1", stage.port, timeout=20)
    connection.request("GET", "/api/v1/preview/desk")
    answer = connection.getresponse()
    assert answer.readline() == b"--picture\r\n"
    size = int([answer.readline() for _ in range(3)][1].split(b": ")[1])
    picture = cv2.imdecode(np.frombuffer(answer.read(size), np.uint8), cv2.IMREAD_COLOR)
    connection.close()
    assert picture is not None
    return answer.headers, np.asarray(picture, np.uint8)


def test_with_the_preview_on_only_a_known_camera_is_shown_and_nothing_is_kept(tmp_path: Path) -> None:
    with PageStage(tmp_path, web={"preview": True}) as stage:
        stage.wait(lambda: stage.page.get("/api/v1/state").json["desk"]["available"])
        assert stage.page.get("/api/v1/info").json["web"]["preview"] is True
        assert stage.page.get("/api/v1/preview/nowhere").status == 404
        headers, picture = first_picture(stage)
        assert headers["content-type"] == "multipart/x-mixed-replace; boundary=picture"
        assert headers["cache-control"] == "no-store"
        assert picture.shape == (480, 640, 3)
        assert picture.max() > 100


def test_the_preview_is_turned_cropped_and_masked_as_the_settings_want_also_while_nobody_is_there(
    tmp_path: Path,
) -> None:
    whole = [[[0, 0], [1, 0], [1, 1], [0, 1]]]
    camera = {"source": str(CLIP), "loop": True, "rotate": 90, "crop": [0, 0, 1, 0.5], "mask": whole}
    with PageStage(tmp_path, web={"preview": True}, cameras={"desk": camera}) as stage:
        stage.wait(lambda: stage.page.get("/api/v1/state").json["desk"]["available"])
        for _ in range(3):
            _, picture = first_picture(stage)
            assert picture.shape == (320, 480, 3)
            assert picture.max() < 10
        with stage.page.stream() as messages:
            shown = [json.loads(next(messages)["data"]) for _ in range(8)]
        sizes = {(one["width"], one["height"]) for one in shown if "width" in one}
        assert sizes == {(480, 320)}


# A broker beside it


@needs_mosquitto
def test_the_nodes_of_the_broker_are_listed_with_their_cameras_and_last_events(tmp_path: Path) -> None:
    broker = Broker(tmp_path).start()
    try:
        with PageStage(tmp_path, mqtt={"host": "127.0.0.1", "port": broker.port}) as stage:
            stage.wait(lambda: stage.page.get("/api/v1/nodes").status == 200 and stage.page.get("/api/v1/nodes").json)
            stage.wait(lambda: stage.page.get("/api/v1/nodes").json[0]["last_event"])
            stage.wait(lambda: stage.page.get("/api/v1/nodes").json[0]["info"])
            answer = stage.page.get("/api/v1/nodes")
            answers.Nodes.model_validate_json(answer.body)
            (node,) = answer.json
            assert (node["node"], node["available"], node["gaps"]) == ("pi5", True, 0)
            assert node["cameras"]["desk"]["available"] is True
            assert node["last_event"]["camera"] == "desk"
            assert (node["info"]["version"], node["info"]["model"]["name"]) == (__version__, "tiny")
            assert stage.page.get("/api/v1/info").json["web"]["broker"] is True
    finally:
        broker.stop()


@needs_mosquitto
def test_nodes_whose_info_is_hidden_or_broken_are_shown_without_it(tmp_path: Path) -> None:
    rules = [f"topic read edge-emotion/{part}" for part in ("+/availability", "hall/info", "attic/info")]
    lines = password_access(tmp_path, "viewer", "viewers password", [*rules, "topic write edge-emotion/#"])
    broker = Broker(tmp_path, lines).start()
    publisher = Subscriber(broker, "publisher", "viewer", "viewers password")
    mqtt = {"host": "127.0.0.1", "port": broker.port, "username": "viewer", "password": "viewers password"}

    def infos() -> dict[str, object]:
        for node, info in (("hall", b'{"version": "9.9"}'), ("attic", b"[" * 5_000), ("cellar", b"{}")):
            publisher.publish(f"edge-emotion/{node}/info", info)
            publisher.publish(f"edge-emotion/{node}/availability", b"online")
        return {node["node"]: node["info"] for node in page.get("/api/v1/nodes").json}

    try:
        with page_alone(tmp_path, mqtt=MqttSettings.model_validate(mqtt)) as (page, _):
            wait_until(lambda: infos() == {"hall": {"version": "9.9"}, "attic": None, "cellar": None})
            publisher.publish("edge-emotion/hall/info", b"")
            wait_until(lambda: page.get("/api/v1/nodes").json[2]["info"] is None)
    finally:
        publisher.close()
        broker.stop()


@needs_mosquitto
def test_a_command_by_the_page_is_seen_over_mqtt_and_its_answer_is_not(tmp_path: Path) -> None:
    broker = Broker(tmp_path).start()
    subscriber = Subscriber(broker, "subscriber")
    try:
        with PageStage(tmp_path, mqtt={"host": "127.0.0.1", "port": broker.port}) as stage:
            stage.wait(lambda: subscriber.on("threshold/state"))
            stage.page.post("/api/v1/set", {"camera": "desk", "feature": "threshold", "value": 0.25})
            stage.wait(lambda: subscriber.on("threshold/state")[-1].payload == b"0.25")
            stage.page.post("/api/v1/reload")
            info = json.loads(subscriber.on("/info")[-1].payload)
            assert info["web"] == {"listen": f"127.0.0.1:{stage.port}", "failure": None}
            assert not subscriber.on("response/reload")
    finally:
        subscriber.close()
        broker.stop()


def test_many_readers_at_once_are_all_answered(stage: PageStage) -> None:
    statuses: list[int] = []
    threads = [
        threading.Thread(target=lambda: statuses.append(stage.page.get("/api/v1/state").status)) for _ in range(40)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert statuses == [200] * 40


def test_neither_address_nor_login_of_a_camera_is_in_any_answer_or_message(tmp_path: Path) -> None:
    secret = "http://admin:hunter2@127.0.0.9:9/garden?token=s3cret"
    with PageStage(tmp_path, cameras={"desk": {"source": str(CLIP)}, "door": {"source": secret}}) as stage:
        with stage.page.stream() as messages:
            texts = [str(next(messages)) for _ in range(5)]
        reads = [path for path, operation in OPERATIONS.items() if operation.body is None and "stream" not in path]
        for path in [*reads, "/metrics", "/openapi.json", "/healthz", "/readyz"]:
            texts.append(stage.page.get(path.replace("{camera}", "door")).body.decode())
        stage.write(cameras={"door": {"source": secret, "fourcc": "NO"}})
        texts.append(stage.page.post("/api/v1/reload").body.decode())
        for text in texts:
            assert not [part for part in ("hunter2", "s3cret", "admin", "127.0.0.9", "garden") if part in text], text
