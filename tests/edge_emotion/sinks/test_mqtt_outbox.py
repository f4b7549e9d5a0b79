"""The sink and its outbox on disk: what a restart finds, what a failing disk does, when the disk is asked to sync."""

from __future__ import annotations

import resource
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from support.broker import Broker, free_port, needs_mosquitto, wait_until
from support.mqtt_stage import INFO, TIMING, MakeSubscriber, publish, replayed, said, sequence
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


class Desk:
    """A send_queue with a writer and no network."""

    def __init__(self, path: Path, interval: float, retry: float = 0.05) -> None:
        self.file = WatchedFile(path / "pi5.outbox.db")
        self.send_queue = SendQueue(Topics("edge-emotion", "pi5"), Outbox(100), b"{}")
        self.send_queue.load(self.file.open())
        self.writer = OutboxWriter(self.file, self.send_queue, interval, None, retry)
        self.writer.start()

    def post(self, seq: int) -> None:
        self.send_queue.post(seq, "desk", event_to_json(event(seq)))

    def deliver(self) -> list[int]:
        """Take and acknowledge all that may be sent; their numbers."""
        told = []
        while (message := self.send_queue.take((), True)) is not None:
            assert message.number is not None
            self.send_queue.acknowledge(message.number)
            told.append(event_from_json(message.payload).seq)
        return told


@pytest.fixture
def make_desk(tmp_path: Path) -> Iterator[Callable[..., Desk]]:
    desks: list[Desk] = []

    def make(*arguments: float) -> Desk:
        desks.append(Desk(tmp_path, *arguments))
        return desks[-1]

    yield make
    for desk in desks:
        desk.writer.stop(10)


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
def test_what_a_clean_stop_could_not_deliver_comes_after_the_next_start_as_replayed_and_otherwise_unchanged(
    broker: Broker, make_durable: MakeDurable, make_subscriber: MakeSubscriber, log: pytest.LogCaptureFixture
) -> None:
    subscriber = make_subscriber(broker)
    first = make_durable(free_port())
    first.open()
    publish(first, range(1, 31))
    first.close()
    assert (first.waiting, first.dropped) == (0, 0)
    assert said(log, "30 events were not delivered") == said(log, "they wait for the next start") == 1
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
    assert (tmp_path / "pi5.seq").read_text().split()[2] == "outbox"
    sink.close()
    numbers.close()
    assert EventCounter(tmp_path, "pi5")() == 6


@needs_mosquitto
def test_a_full_disk_is_said_once_and_events_go_on(
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
    assert said(log, "cannot write events to") == 1
    assert sink.dropped == 0


@needs_mosquitto
def test_a_disk_that_is_full_from_the_start_is_said_once_and_events_go_on(
    broker: Broker, make_durable: MakeDurable, make_subscriber: MakeSubscriber, log: pytest.LogCaptureFixture
) -> None:
    subscriber = make_subscriber(broker)
    sink = make_durable(broker.port)
    with full_disk(0):
        sink.open()
        publish(sink, range(10))
        wait_until(lambda: len(subscriber.on("events")) == 10)
    assert not sink.durable and said(log, "cannot use the outbox") == 1


def test_when_the_disk_works_again_all_that_waits_is_written(
    make_desk: Callable[..., Desk], tmp_path: Path, log: pytest.LogCaptureFixture
) -> None:
    desk = make_desk(0.0)
    desk.post(1)
    wait_until(lambda: desk.file.written == 1)
    desk.file.broken = True
    desk.post(2)
    desk.post(3)
    wait_until(lambda: desk.writer.failing)
    message = desk.send_queue.take((), True)
    assert message is not None and message.number is not None
    desk.send_queue.acknowledge(message.number)
    time.sleep(0.2)  # several attempts
    desk.file.broken = False
    wait_until(lambda: not desk.writer.failing)
    desk.post(4)
    assert desk.writer.stop(10)
    assert [event_from_json(entry.payload).seq for entry in OutboxFile(desk.file.path).open()] == [2, 3, 4]
    assert said(log, "cannot write events to") == said(log, "are written to") == 1


def test_an_event_that_is_acknowledged_at_once_costs_no_sync(make_desk: Callable[..., Desk]) -> None:
    desk = make_desk(0.3)
    for seq in range(1, 6):
        desk.post(seq)
        wait_until(lambda: bool(desk.deliver()))
        time.sleep(0.1)
    time.sleep(0.4)
    assert desk.file.synced == []


def test_an_event_that_waits_is_on_the_disk_after_the_interval(make_desk: Callable[..., Desk]) -> None:
    desk = make_desk(0.2)
    desk.post(1)
    wait_until(lambda: desk.file.written == 1)
    assert desk.file.synced == []
    wait_until(lambda: desk.file.synced == [1])
    desk.post(2)
    wait_until(lambda: desk.file.synced == [1, 2])
    time.sleep(0.5)
    assert desk.file.synced == [1, 2]


def test_with_an_interval_of_zero_each_event_is_on_the_disk_before_it_may_be_sent(
    make_desk: Callable[..., Desk],
) -> None:
    desk = make_desk(0.0)
    for seq in range(1, 6):
        desk.post(seq)
        wait_until(lambda: desk.deliver())
        assert desk.file.synced[-1] == seq


def test_what_was_acknowledged_leaves_the_file_within_about_a_second(make_desk: Callable[..., Desk]) -> None:
    desk = make_desk(0.1)
    desk.post(1)
    wait_until(lambda: desk.deliver() == [1])
    wait_until(lambda: desk.file.forgotten == [0])
    assert desk.writer.stop(10)
    assert OutboxFile(desk.file.path).open() == []


def test_a_stored_event_that_this_version_cannot_read_is_refused_and_the_next_one_sent(
    make_desk: Callable[..., Desk], log: pytest.LogCaptureFixture
) -> None:
    desk = make_desk(0.0)
    desk.send_queue.post(1, "desk", b'{"schema":99}')
    desk.post(2)
    desk.send_queue.come_online()
    while desk.send_queue.take((), False) is not None:
        pass
    wait_until(lambda: desk.deliver() == [2])
    assert desk.send_queue.refused == 1 and said(log, "cannot be read any more") == 1
