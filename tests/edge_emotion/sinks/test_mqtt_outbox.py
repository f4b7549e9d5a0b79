"""The sink and its outbox on disk: restarts, failing disks, and when a sync is made."""

from __future__ import annotations

import resource
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from support.broker import Broker, free_port, needs_mosquitto, wait_until
from support.mqtt_stage import INFO, TIMING, MakeSubscriber, count_logged, publish, replayed, sequence
from support.node_state import copy_state
from support.samples import event

from edge_emotion.config.settings import MqttSettings
from edge_emotion.errors import SinkError
from edge_emotion.outbox.event_counter import EventCounter
from edge_emotion.outbox.outbox import Outbox
from edge_emotion.outbox.store import OutboxFile
from edge_emotion.sinks.mqtt.outbox_writer import OutboxWriter
from edge_emotion.sinks.mqtt.send_queue import SendQueue
from edge_emotion.sinks.mqtt.sink import MqttSink
from edge_emotion.wire.payloads import event_from_json, event_to_json
from edge_emotion.wire.topics import Topics

MakeDurable = Callable[..., MqttSink]


@pytest.fixture
def make_durable(tmp_path: Path) -> Iterator[MakeDurable]:
    sinks: list[MqttSink] = []

    def make(port: int, numbers: EventCounter | None = None, **settings: Any) -> MqttSink:
        settings = {"host": "127.0.0.1", "port": port, "drain_timeout": 0.1, **settings}
        sink = MqttSink(MqttSettings(**settings), "pi5", INFO, ["desk"], TIMING, state_dir=tmp_path, numbers=numbers)
        sinks.append(sink)
        return sink

    yield make
    for sink in sinks:
        sink.close()


class WatchedFile(OutboxFile):
    """Remembers how many events had been written by each sync, and which were deleted; fails on demand."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.written = 0
        self.forgotten: list[int] = []
        self.synced: list[int] = []
        self.broken = False

    def write(self, new: Any, gone: Any) -> None:
        if self.broken:
            raise OSError(5, "Input/output error")
        super().write(new, gone)
        self.written += len(new)
        self.forgotten += gone

    def open(self) -> Any:
        if self.broken:
            raise OSError(5, "Input/output error")
        return super().open()

    def sync(self) -> None:
        super().sync()
        self.synced.append(self.written)


class WriterStage:
    """An outbox with a writer and a send queue, and no network."""

    def __init__(self, path: Path, interval: float, retry: float = 0.05) -> None:
        self.file = WatchedFile(path / "pi5.outbox.db")
        self.outbox = Outbox(100)
        self.send_queue = SendQueue(Topics("edge-emotion", "pi5"), self.outbox, b"{}")
        self.outbox.load(self.file.open(), time.monotonic())
        self.writer = OutboxWriter(self.file, self.outbox, interval, None, retry)
        self.writer.start()

    def append(self, seq: int) -> None:
        self.outbox.append(seq, "desk", event_to_json(event(seq)), time.monotonic())

    def deliver(self) -> list[int]:
        """Take and acknowledge all that may be sent; their numbers."""
        told = []
        while (message := self.send_queue.take((), True)) is not None:
            assert message.number is not None
            self.outbox.acknowledge(message.number)
            told.append(event_from_json(message.payload).seq)
        return told


@pytest.fixture
def make_stage(tmp_path: Path) -> Iterator[Callable[..., WriterStage]]:
    stages: list[WriterStage] = []

    def make(*arguments: float) -> WriterStage:
        stages.append(WriterStage(tmp_path, *arguments))
        return stages[-1]

    yield make
    for stage in stages:
        stage.writer.stop(10)


@contextmanager
def full_disk(limit: int) -> Iterator[None]:
    """No file of this process grows beyond ``limit`` bytes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@needs_mosquitto
def test_events_that_a_clean_stop_could_not_deliver_are_sent_after_the_next_start_as_replayed_and_otherwise_unchanged(
    broker: Broker, make_durable: MakeDurable, make_subscriber: MakeSubscriber, log: pytest.LogCaptureFixture
) -> None:
    subscriber = make_subscriber(broker)
    first = make_durable(free_port())
    first.open()
    publish(first, range(1, 31))
    first.close()
    assert (first.waiting, first.dropped) == (0, 0)
    assert count_logged(log, "30 events were not delivered") == count_logged(log, "they wait for the next start") == 1
    second = make_durable(broker.port)
    second.open()
    publish(second, range(31, 33))
    wait_until(lambda: len(subscriber.on("events")) == 32 and not second.waiting)
    assert sequence(subscriber.on("events")) == list(range(1, 33))
    assert replayed(subscriber.on("events")) >= set(range(1, 31))
    told = [event_from_json(message.payload) for message in subscriber.on("events")]
    assert [(e.id, e.ts, e.replayed) for e in told[:30]] == [
        (event_from_json(event_to_json(event(seq))).id, event_from_json(event_to_json(event(seq))).ts, True)
        for seq in range(1, 31)
    ]
    second.close()
    third = make_durable(free_port())
    third.open()
    assert third.waiting == 0


@needs_mosquitto
def test_the_broker_sees_the_same_client_after_a_restart(broker: Broker, make_durable: MakeDurable) -> None:
    for _ in range(2):
        sink = make_durable(broker.port, drain_timeout=10.0)
        sink.open()
        sink.publish(event(1))
        sink.close()
    clients = [line.split(" as ")[1].split()[0] for line in broker.log.splitlines() if "New client connected" in line]
    assert len(clients) == 2 and len(set(clients)) == 1 and clients[0].startswith("edge-emotion-pi5-")


def test_two_sinks_of_one_node_do_not_share_the_outbox(make_durable: MakeDurable) -> None:
    make_durable(free_port()).open()
    with pytest.raises(SinkError, match="another process uses the outbox"):
        make_durable(free_port()).open()


def test_events_older_than_allowed_are_dropped_at_the_next_start_and_counted(
    make_durable: MakeDurable, tmp_path: Path
) -> None:
    first = make_durable(free_port())
    first.open()
    publish(first, range(1, 4))
    first.close()
    time.sleep(0.05)
    second = make_durable(free_port(), outbox_max_age=0.04)
    second.open()
    assert (second.waiting, second.dropped) == (0, 3)


def test_the_counter_goes_on_after_what_the_outbox_holds(make_durable: MakeDurable, tmp_path: Path) -> None:
    numbers = EventCounter(tmp_path, "pi5")
    sink = make_durable(free_port(), numbers=numbers)
    sink.open()
    for _ in range(5):
        seq = numbers()
        numbers.save()
        sink.publish(event(seq))
    seen = OutboxFile(tmp_path / "copy.db")

    def copied() -> int | None:
        with suppress(OSError):  # what a SIGKILL would leave behind
            for suffix in ("", "-wal"):
                content = (tmp_path / f"pi5.outbox.db{suffix}").read_bytes()
                (tmp_path / f"copy.db{suffix}").write_bytes(content)
            seen.open()
            seen.close()
        return seen.mark

    wait_until(lambda: copied() == 5)
    killed = EventCounter(copy_state(tmp_path, tmp_path / "killed"), "pi5")
    assert killed() == 6
    killed.close()
    sink.close()
    numbers.close()
    assert EventCounter(tmp_path, "pi5")() == 6


@needs_mosquitto
def test_a_full_disk_is_logged_once_and_events_are_still_sent(
    broker: Broker, make_durable: MakeDurable, make_subscriber: MakeSubscriber, log: pytest.LogCaptureFixture
) -> None:
    subscriber = make_subscriber(broker)
    sink = make_durable(broker.port, drain_timeout=10.0)
    sink.open()
    wait_until(lambda: sink.connected and sink.durable)
    broker.freeze()
    with full_disk(40_000):
        publish(sink, range(200))
        wait_until(lambda: not sink.durable)
        publish(sink, range(200, 300))
        broker.thaw()
        wait_until(lambda: len(sequence(subscriber.on("events"))) == 300)
    assert sequence(subscriber.on("events")) == list(range(300))
    assert count_logged(log, "cannot write events to") == 1
    assert sink.dropped == 0


@needs_mosquitto
def test_a_disk_that_is_full_from_the_start_is_logged_once_and_events_are_sent(
    broker: Broker, make_durable: MakeDurable, make_subscriber: MakeSubscriber, log: pytest.LogCaptureFixture
) -> None:
    subscriber = make_subscriber(broker)
    sink = make_durable(broker.port)
    with full_disk(0):
        sink.open()
        publish(sink, range(10))
        wait_until(lambda: len(subscriber.on("events")) == 10)
    assert not sink.durable and count_logged(log, "cannot use the outbox") == 1


def test_when_the_disk_works_again_all_that_waits_is_written(
    make_stage: Callable[..., WriterStage], tmp_path: Path, log: pytest.LogCaptureFixture
) -> None:
    stage = make_stage(0.0)
    stage.append(1)
    wait_until(lambda: stage.file.written == 1)
    stage.file.broken = True
    stage.append(2)
    stage.append(3)
    wait_until(lambda: stage.writer.failing)
    message = stage.send_queue.take((), True)
    assert message is not None and message.number is not None
    stage.outbox.acknowledge(message.number)
    time.sleep(0.2)  # several attempts
    stage.file.broken = False
    wait_until(lambda: not stage.writer.failing)
    stage.append(4)
    assert stage.writer.stop(10)
    assert [event_from_json(entry.payload).seq for entry in OutboxFile(stage.file.path).open()] == [2, 3, 4]
    assert count_logged(log, "cannot write events to") == count_logged(log, "are written to") == 1


def test_a_file_deleted_while_events_wait_is_logged_and_made_again_with_all_of_them(
    make_stage: Callable[..., WriterStage], log: pytest.LogCaptureFixture
) -> None:
    stage = make_stage(0.0)
    stage.append(1)
    wait_until(lambda: stage.file.written == 1)
    for path in stage.file.path.parent.glob("pi5.outbox.db*"):
        path.unlink()
    posted = 1

    def is_noticed() -> bool:
        nonlocal posted
        posted += 1
        stage.append(posted)
        return "deleted while it was in use" in log.text

    wait_until(is_noticed)
    wait_until(lambda: stage.file.path.exists() and not stage.writer.failing)
    assert stage.writer.stop(10)
    waiting = [event_from_json(entry.payload).seq for entry in OutboxFile(stage.file.path).open()]
    assert waiting == list(range(max(1, posted - 99), posted + 1))


def test_an_event_that_is_acknowledged_at_once_costs_no_sync(make_stage: Callable[..., WriterStage]) -> None:
    stage = make_stage(0.3)
    for seq in range(1, 6):
        stage.append(seq)
        wait_until(lambda: bool(stage.deliver()))
        time.sleep(0.1)
    time.sleep(0.4)
    assert stage.file.synced == []


def test_an_event_that_waits_is_on_the_disk_after_the_interval(make_stage: Callable[..., WriterStage]) -> None:
    stage = make_stage(0.2)
    stage.append(1)
    wait_until(lambda: stage.file.written == 1)
    assert stage.file.synced == []
    wait_until(lambda: stage.file.synced == [1])
    stage.append(2)
    wait_until(lambda: stage.file.synced == [1, 2])
    time.sleep(0.5)
    assert stage.file.synced == [1, 2]


def test_with_an_interval_of_zero_each_event_is_on_the_disk_before_it_may_be_sent(
    make_stage: Callable[..., WriterStage],
) -> None:
    stage = make_stage(0.0)
    for seq in range(1, 6):
        stage.append(seq)
        wait_until(lambda: stage.deliver())
        assert stage.file.synced[-1] == seq


def test_what_was_acknowledged_leaves_the_file_within_about_a_second(make_stage: Callable[..., WriterStage]) -> None:
    stage = make_stage(0.1)
    stage.append(1)
    wait_until(lambda: stage.deliver() == [1])
    wait_until(lambda: stage.file.forgotten == [0])
    assert stage.writer.stop(10)
    assert OutboxFile(stage.file.path).open() == []


def test_a_stored_event_that_this_version_cannot_read_is_refused_and_the_next_one_sent(
    make_stage: Callable[..., WriterStage], log: pytest.LogCaptureFixture
) -> None:
    stage = make_stage(0.0)
    stage.outbox.append(1, "desk", b'{"schema":99}', time.monotonic())
    stage.append(2)
    stage.send_queue.begin_connection()
    while stage.send_queue.take((), False) is not None:
        pass
    wait_until(lambda: stage.deliver() == [2])
    assert stage.outbox.refused == 1 and count_logged(log, "cannot be read any more") == 1
