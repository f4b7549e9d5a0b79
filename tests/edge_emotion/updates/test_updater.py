"""What a node does about orders: it switches, watches, confirms, goes back, and refuses what is old."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from support.orders import order_of
from support.releases import Workshop, workshop

from edge_emotion.cli.main import main
from edge_emotion.config.settings import Settings
from edge_emotion.errors import ConfigError
from edge_emotion.models.classifier import EmotionClassifier
from edge_emotion.models.folder import MANIFEST
from edge_emotion.pipeline.pipeline import StageTimes
from edge_emotion.updates import install as install_module
from edge_emotion.updates.place import place_of_settings
from edge_emotion.updates.progress import Progress, RunEnded
from edge_emotion.updates.record import RecordFile
from edge_emotion.updates.secret_key import make_key_pair, read_secret_key
from edge_emotion.updates.signed_order import sign_order
from edge_emotion.updates.updater import Updater
from edge_emotion.updates.watch import LEAST, STALL, FrameTimes
from edge_emotion.wire.model_order import ModelOrder


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    return workshop(tmp_path_factory.mktemp("workshop"))


@pytest.fixture(scope="module")
def release(shop: Workshop) -> Callable[[int], Path]:
    """Releases of a copy of ``tiny`` by their serials, made once."""
    made: dict[int, Path] = {}

    def get(serial: int) -> Path:
        made[serial] = made.get(serial) or shop.release(serial)
        return made[serial]

    return get


class Node:
    """A daemon that only keeps which serial it was given; None for the shipped model."""

    def __init__(self, bench: Bench) -> None:
        self._bench, self.used, self.frames = bench, list[int | None](), 0
        self.fault: Exception | None = None

    def use(self, classifier: EmotionClassifier) -> None:
        if self.fault is not None:
            raise self.fault
        assert classifier.manifest.name == "tiny"
        self.used.append(self._bench.place.installed.current_serial())
        classifier.backend.close()

    def captured(self) -> int:
        return self.frames


class Bench:
    """One node without a daemon: its time passes when the test says so, and it can be restarted."""

    def __init__(self, folder: Path, shop: Workshop, **update: Any) -> None:
        keys = {"keys": [shop.public], "group": "cafes", "spread": 0, "watch": 100}
        self.settings = Settings(
            node="pi5",
            cameras={"desk": {"source": "0"}},
            mqtt={},
            classifier={"model": "tiny"},
            state_dir=folder,
            update={**keys, **update},
        )
        self.place, self._key = place_of_settings(self.settings), shop.key
        self.now, self.date = 1000.0, datetime.now(timezone.utc)
        self.states: list[str] = []
        self.node = Node(self)
        self.start()

    def start(self) -> None:
        """A process begins, with what the one before has left."""
        file = RecordFile(self.place.models.parent / "pi5.update.json")
        self.progress, self.times = Progress(file, lambda: self.date), FrameTimes()
        self.progress.on_change = self._changed
        self.updater = Updater(self.place, self.progress, self.node, self.times, clock=lambda: self.now)
        self.updater.begin()
        self.updater.models_are_made()
        self.updater.mark_running(True)

    def order(self, order: ModelOrder) -> None:
        self.take(sign_order(order, self._key))

    def take(self, payload: bytes) -> None:
        self.updater.take(payload)
        self.updater.step()

    def wait(self, seconds: float) -> None:
        self.now += seconds
        self.date += timedelta(seconds=seconds)
        self.updater.step()

    def look(self, seconds: float, frames: int = LEAST) -> None:
        """Frames with one face each, which take ``seconds``."""
        self.node.frames += frames
        for _ in range(frames):
            self.times.add(StageTimes(detect=seconds / 2, classify=seconds / 2), 1)

    @property
    def state(self) -> tuple[str, int | None]:
        """What is reported: the state, and the serial in use."""
        report = self.updater.report()
        return report.state, report.installed

    @property
    def reason(self) -> str:
        return self.updater.report().reason

    def _changed(self) -> None:
        if not self.states or self.states[-1] != self.progress.record.state:
            self.states.append(self.progress.record.state)


@pytest.fixture
def bench(tmp_path: Path, shop: Workshop) -> Bench:
    return Bench(tmp_path, shop)


Releases = Callable[[int], Path]


def test_a_release_is_fetched_switched_to_watched_and_confirmed(bench: Bench, release: Releases) -> None:
    bench.look(0.010)
    bench.order(order_of(release(7)))
    assert bench.states == ["waiting", "fetching", "checking", "switched"]
    assert (bench.state, bench.node.used) == (("switched", 7), [7])
    bench.look(0.015)
    bench.wait(99)
    assert bench.state == ("switched", 7)
    bench.wait(2)
    assert bench.state == ("confirmed", 7)
    assert bench.reason == "a frame with a face takes 15.0 ms, with the model before 10.0 ms"
    assert bench.place.classifier.model == str(bench.place.models / "tiny")


def test_a_node_waits_that_is_not_meant_now(bench: Bench, release: Releases) -> None:
    waits: list[tuple[dict[str, Any], str]] = [
        ({"percent": 0}, "not among the 0 % of nodes"),
        ({"action": "pause"}, "the order is paused"),
        ({"action": "abort"}, "the order is aborted"),
    ]
    for serial, (changes, reason) in enumerate(waits, 1):
        bench.order(order_of(release(7), serial=serial, **changes))
        assert (bench.state, bench.reason) == (("waiting", None), reason)
    bench.order(order_of(release(7), serial=4))
    assert bench.state == ("switched", 7)


def test_nodes_of_a_group_do_not_begin_at_the_same_moment(tmp_path: Path, shop: Workshop, release: Releases) -> None:
    bench = Bench(tmp_path, shop, spread=1000.0)
    bench.order(order_of(release(7)))
    assert bench.state == ("waiting", None) and "begins in" in bench.reason
    bench.wait(1000)
    assert bench.state == ("switched", 7)


def test_old_replayed_expired_and_forged_orders_are_refused_in_one_line_and_change_nothing(
    bench: Bench, release: Releases, shop: Workshop, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    newest = sign_order(order_of(release(7), serial=5, percent=0), shop.key)
    bench.take(newest)
    other = read_secret_key(make_key_pair(tmp_path / "other")[0])
    past = bench.date - timedelta(seconds=1)
    for payload, reason in (
        (sign_order(order_of(release(7), serial=4), shop.key), "order 4 is refused: order 5 was accepted"),
        (sign_order(order_of(release(7), serial=5), shop.key), "order 5 is refused: order 5 was accepted"),
        (sign_order(order_of(release(7), serial=6, expires=past), shop.key), "order 6 is refused: it has expired"),
        (sign_order(order_of(release(7), serial=6), other), "not trusted here"),
        (sign_order(order_of(release(7), serial=6, group="bars"), shop.key), "for group bars"),
        (b"{}", "no signature"),
        (b" " * 5000, "are the most"),
    ):
        for restarted in (False, True):
            caplog.clear()
            if restarted:
                bench.start()
            bench.take(payload)
            (line,) = [line for line in caplog.messages if reason in line]
            assert "\n" not in line
            assert bench.state == ("waiting", None)
    caplog.clear()
    bench.take(newest)
    bench.take(b"")
    assert caplog.messages == [], "the retained message comes again with each connection"


def test_abort_brings_the_release_before_back_and_the_shipped_model_after_the_first(
    bench: Bench, release: Releases
) -> None:
    bench.order(order_of(release(7)))
    bench.order(order_of(release(7), serial=2, action="abort"))
    assert bench.state == ("returned", None)
    assert bench.reason == "order 2 is to abort it"
    bench.order(order_of(release(7), serial=3))
    assert bench.state == ("returned", None), "the same release is not tried again"
    for serial in (8, 9):
        bench.order(order_of(release(serial), serial=serial))
        bench.wait(101)
        assert bench.state == ("confirmed", serial)
    bench.order(order_of(release(9), serial=10, action="abort"))
    assert bench.state == ("returned", 8)
    assert bench.node.used == [7, None, 8, 9, 8]


def test_a_new_order_waits_until_the_model_that_is_watched_is_confirmed(bench: Bench, release: Releases) -> None:
    bench.order(order_of(release(7)))
    bench.order(order_of(release(8), serial=2))
    assert bench.state == ("switched", 7)
    bench.wait(101)
    bench.wait(1)
    assert bench.state == ("switched", 8)


def test_a_model_that_makes_frames_twice_as_slow_is_left(bench: Bench, release: Releases) -> None:
    bench.look(0.010)
    bench.order(order_of(release(7)))
    bench.look(0.021)
    bench.wait(101)
    assert bench.state == ("returned", None)
    assert bench.reason == "a frame with a face takes 21.0 ms, with the model before 10.0 ms"
    assert bench.node.used == [7, None]


def test_a_model_without_frames_is_left_only_while_the_cameras_give_some(bench: Bench, release: Releases) -> None:
    bench.order(order_of(release(7)))
    bench.wait(STALL + 1)
    assert bench.state == ("switched", 7), "no camera is no fault of the model"
    bench.node.frames += 300
    bench.wait(1)
    bench.node.frames += 300
    bench.wait(STALL + 1)
    assert bench.state == ("returned", None)
    assert bench.reason.startswith("no frame was processed for 30 s")


def test_a_model_with_which_the_program_ends_twice_is_left_at_the_next_start(bench: Bench, release: Releases) -> None:
    bench.order(order_of(release(7)))
    bench.start()
    assert bench.state == ("switched", 7)
    bench.progress.close(in_order=True)
    bench.start()
    assert bench.state == ("switched", 7), "a stop in order does not count"
    bench.updater.mark_running(False)
    bench.start()
    assert bench.state == ("switched", 7), "nor does a start that another part has ended"
    bench.start()
    assert bench.state == ("returned", None)
    assert bench.reason == "the program has ended 2 times without order while it was watched"
    bench.start()
    bench.updater.step()
    assert bench.state == ("returned", None)
    assert bench.node.used == [7]


def test_a_model_that_does_not_fit_this_node_is_left_at_once(bench: Bench, release: Releases) -> None:
    bench.node.fault = ConfigError("no such class")
    bench.order(order_of(release(7)))
    assert (bench.state, bench.reason) == (("returned", None), "it cannot be used: no such class")
    bench.node.fault = None
    bench.order(order_of(release(7), serial=2))
    assert (bench.state, bench.node.used) == (("returned", None), [])


def test_a_model_that_cannot_be_loaded_at_a_start_is_left(bench: Bench, release: Releases) -> None:
    bench.order(order_of(release(7)))
    bench.start()
    assert bench.updater.cannot_start(ConfigError("its hash differs"))
    assert (bench.state, bench.reason) == (("returned", None), "its hash differs")
    bench.order(order_of(release(8), serial=2))
    bench.wait(101)
    assert not bench.updater.cannot_start(ConfigError("its hash differs")), "a confirmed one is not left for that"
    assert bench.state == ("confirmed", 8)


def test_a_bad_release_is_refused_and_a_newer_order_tries_again(
    bench: Bench, shop: Workshop, release: Releases
) -> None:
    damaged = shop.release(11)
    model = next(file for file in damaged.iterdir() if file.suffix == ".tflite")
    whole = model.read_bytes()
    model.write_bytes(whole[:-1])
    bench.order(order_of(damaged))
    assert bench.state == ("refused", None) and "truncated" in bench.reason
    model.write_bytes(whole)
    bench.updater.step()
    assert bench.state == ("refused", None)
    bench.order(order_of(damaged, serial=2))
    assert bench.state == ("switched", 11)
    bench.wait(101)
    bench.order(order_of(release(7), serial=3))
    assert bench.state == ("refused", 11) and "older than serial 11" in bench.reason
    other = order_of(release(8), serial=4)
    bench.order(other.model_copy(update={"release": other.release.model_copy(update={"name": "yunet"})}))
    assert (bench.state, bench.reason) == (("refused", 11), "this node runs tiny, not yunet")


def test_a_release_without_what_the_settings_ask_for_is_refused(
    tmp_path: Path, shop: Workshop, release: Releases
) -> None:
    for classifier, reason in (
        ({"operating_point": "expressive"}, "no operating point 'expressive'"),
        ({"precision": "float16"}, "float16"),
    ):
        bench = Bench(tmp_path / reason[:5], shop)
        settings = bench.settings.classifier.model_copy(update=classifier)
        bench.place = replace(bench.place, settings=bench.settings.model_copy(update={"classifier": settings}))
        bench.start()
        plain = shop.model.parent / f"plain-{reason[:5]}" / "tiny"
        shutil.copytree(shop.model, plain)
        manifest = json.loads((plain / MANIFEST).read_text())
        del manifest["calibration"]["operating_points"]["expressive"]
        (plain / MANIFEST).write_text(json.dumps(manifest))
        bench.order(order_of(shop.release(12, plain)))
        assert bench.state == ("refused", None) and reason in bench.reason
    with bench.place.installed.locked():
        bench.order(order_of(release(7), serial=2))
        assert bench.state == ("waiting", None) and "another process installs" in bench.reason


def test_what_is_not_there_or_has_no_room_is_tried_again(
    bench: Bench, release: Releases, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    order = order_of(release(7))
    bench.order(order.model_copy(update={"source": str(tmp_path / "later")}))
    assert bench.state == ("waiting", None) and "now; tried again in" in bench.reason
    (tmp_path / "later").symlink_to(release(7))
    bench.wait(1)
    assert bench.state == ("waiting", None)
    with monkeypatch.context() as patch:
        patch.setattr(install_module, "SPARE", 2**60)
        bench.wait(20)
        assert bench.state == ("waiting", None) and "bytes, and" in bench.reason
    bench.wait(40)
    assert bench.state == ("switched", 7)


def test_only_a_newer_order_ends_a_download(bench: Bench, release: Releases, shop: Workshop) -> None:
    order = order_of(release(7), percent=0)
    bench.order(order)
    for payload in (sign_order(order, shop.key), b"junk", b""):
        assert not bench.updater.is_newer(payload)
    assert bench.updater.is_newer(sign_order(order_of(release(7), serial=2), shop.key))


def test_silence_after_the_last_day_of_an_order_is_told(
    bench: Bench, release: Releases, caplog: pytest.LogCaptureFixture
) -> None:
    bench.order(order_of(release(7)))
    bench.wait(101)
    bench.wait(86_400)
    bench.start()
    bench.wait(86_400)
    assert bench.state == ("confirmed", 7)
    assert bench.updater.report().expired
    assert sum("no newer one came" in line for line in caplog.messages) == 2, "once for each process"
    bench.order(order_of(release(8), serial=2, expires=bench.date + timedelta(days=1)))
    assert (bench.state, bench.updater.report().expired) == (("switched", 8), False)


def test_an_expired_order_is_not_begun(tmp_path: Path, shop: Workshop, release: Releases) -> None:
    bench = Bench(tmp_path, shop, spread=86_400)
    bench.order(order_of(release(7), expires=bench.date + timedelta(milliseconds=1)))
    bench.wait(86_401)
    assert (bench.state, bench.reason) == (("waiting", None), "the order has expired")


def test_a_kill_between_the_exchange_and_its_record_leads_to_a_watched_model(bench: Bench, release: Releases) -> None:
    bench.progress.close(in_order=False)
    with pytest.raises(RunEnded):
        bench.order(order_of(release(7)))
    bench.start()
    bench.order(order_of(release(7)))
    record = bench.progress.record.model_copy(update={"state": "checking", "running": False, "watched": None})
    RecordFile(bench.place.models.parent / "pi5.update.json").save(record)
    download = bench.place.installed.folder / "download-0123456789abcdef"
    download.mkdir()
    bench.start()
    assert bench.state == ("switched", 7) and not download.exists()
    bench.updater.step()
    bench.wait(101)
    assert bench.state == ("confirmed", 7)


def test_a_kill_while_a_release_is_left_leads_to_the_one_before(bench: Bench, release: Releases) -> None:
    for serial in (7, 8):
        bench.order(order_of(release(serial), serial=serial))
        bench.wait(101)
    leaving = order_of(release(8)).release.sha256
    record = bench.progress.record.model_copy(update={"state": "returned", "leaving": leaving})
    for _ in ("before the link is set back", "after that"):
        RecordFile(bench.place.models.parent / "pi5.update.json").save(record)
        bench.start()
        assert bench.state == ("returned", 7)
        assert bench.progress.record.leaving is None


def test_a_link_that_cannot_be_set_back_is_tried_again(
    bench: Bench, release: Releases, caplog: pytest.LogCaptureFixture
) -> None:
    bench.order(order_of(release(7)))
    with bench.place.installed.locked():
        bench.order(order_of(release(7), serial=2, action="abort"))
        assert bench.state == ("returned", 7)
        assert "cannot be left now, it is tried again: another process installs" in caplog.text
    bench.wait(1)
    assert (bench.state, bench.node.used) == (("returned", None), [7, None])


def test_a_model_that_somebody_exchanged_by_hand_is_not_taken_for_the_one_that_was_watched(
    bench: Bench, release: Releases
) -> None:
    for serial in (7, 8):
        bench.wait(101)
        bench.order(order_of(release(serial), serial=serial))
    bench.place.undo()
    bench.start()
    assert bench.state == ("waiting", 7)


def test_an_ordered_release_that_somebody_installed_by_hand_is_taken_into_use_and_watched(
    bench: Bench, release: Releases
) -> None:
    install_module.install(release(7), bench.place.models, bench.place.keys)
    bench.order(order_of(release(7)))
    assert (bench.state, bench.node.used) == (("switched", 7), [7])
    bench.wait(101)
    bench.start()
    bench.order(order_of(release(7), serial=2))
    assert bench.state == ("confirmed", 7)


def test_a_key_that_is_no_longer_trusted_ends_its_order(
    bench: Bench, release: Releases, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    bench.order(order_of(release(7), percent=0))
    _, public = make_key_pair(tmp_path / "new")
    bench.place = place_of_settings(
        bench.settings.model_copy(update={"update": bench.settings.update.model_copy(update={"keys": (public,)})})
    )
    bench.start()
    assert bench.updater.report().order is None
    assert "not trusted here" in caplog.text


def test_orders_need_a_key_a_broker_and_a_library(
    shop: Workshop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = tmp_path / "settings.yaml"
    plain, update = "cameras: {c: {source: 0}}\nclassifier: {model: tiny}\n", f"group: cafes, keys: [{shop.public}]"
    for text, reason in (
        ("mqtt: {}\nupdate: {group: cafes}", "a group needs keys"),
        (f"jsonl: {{}}\nupdate: {{{update}}}", "update.group needs mqtt"),
        (f"mqtt: {{}}\nupdate: {{group: cafes, keys: [{tmp_path}/none.pub]}}", "No such file"),
        (f"mqtt: {{}}\nupdate: {{{update}, ca: {tmp_path}/none.pem}}", "none.pem: expected PEM certificates"),
        (f"mqtt: {{}}\nupdate: {{{update}, ca: {shop.public}}}", "release.key.pub: expected PEM certificates"),
    ):
        settings.write_text(f"{plain}{text}\n")
        assert main(["check-config", "-c", str(settings)]) == 2
        assert reason in capsys.readouterr().err
    settings.write_text(f"{plain}mqtt: {{}}\nupdate: {{{update}}}\n")
    assert main(["check-config", "-c", str(settings)]) == 0
    monkeypatch.setitem(sys.modules, "edge_emotion.updates.place", None)
    monkeypatch.setitem(sys.modules, "edge_emotion.updates.service", None)
    for command in ("check-config", "run"):
        assert main([command, "-c", str(settings)]) == 5
        assert "update.group needs pynacl" in capsys.readouterr().err
