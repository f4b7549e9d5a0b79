"""One run: brokers, collectors and nodes are started, some of them killed, and every event is accounted for."""

from __future__ import annotations

import asyncio
import resource
import tempfile
import time
from collections.abc import Awaitable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from benchmarks.fleet.daemons import DRAIN
from benchmarks.fleet.databases import PostgresServer
from benchmarks.fleet.judge import History, Verdict, judge
from benchmarks.fleet.node import Measured
from benchmarks.fleet.packets import Level
from benchmarks.fleet.scenes import SCENARIOS, Plan, Scene, Show
from benchmarks.fleet.servers import Collector, NatsNode, stop_all
from benchmarks.fleet.simulator import Simulator
from edge_emotion.errors import ConfigError

FILES_ASIDE = 500
"""Open files of a broker or of this program beside one for each node."""
MOST_NODES = 27_000
"""One address has 28,232 ports for connections to one port (Linux' ip_local_port_range)."""
STORED = 60.0
"""Seconds without a further row after which a collector counts as finished."""
SAMPLE = 0.25
LEVELS: dict[str, Level] = {"3.1.1": 4, "5": 5}


@dataclass(frozen=True)
class Used:
    """Memory in MiB: before the nodes came, and the peak; CPU seconds while events were made."""

    before: float
    peak: float
    cpu: float


@dataclass(frozen=True)
class Times:
    """Seconds: until all nodes were connected, of making events, until all were acknowledged, until all were stored."""

    connecting: float
    sending: float
    draining: float
    storing: float


@dataclass(frozen=True)
class Outcome:
    """All that one run has shown."""

    verdict: Verdict
    times: Times
    measured: Measured
    brokers: Used
    collectors: Used
    simulator_cpu: float
    by_daemons: int = 0
    """Events that real daemons made."""


def raise_file_limit(nodes: int) -> None:
    """Allow a connection for each node, here and in what is started. Raises ConfigError if the system does not."""
    if nodes > MOST_NODES:
        raise ConfigError(f"--nodes {nodes}: one address has ports for {MOST_NODES} connections at most")
    needed = nodes + FILES_ASIDE
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if resource.RLIM_INFINITY not in (soft, hard) and needed > hard:
        raise ConfigError(
            f"--nodes {nodes} needs {needed} open files, the limit is {hard}: fewer nodes, or raise it (ulimit -Hn)"
        )
    if soft != resource.RLIM_INFINITY and needed > soft:
        resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))


def prove(scenario: str, plan: Plan, show: Show) -> Outcome:
    """Run ``mosquitto`` or ``nats``. Raises BackendUnavailable without the broker, ConfigError, SinkError."""
    raise_file_limit(plan.nodes)
    with tempfile.TemporaryDirectory(prefix="edge-emotion-fleet-", ignore_cleanup_errors=True) as name:
        scene = SCENARIOS[scenario](Path(name), plan)
        try:
            return asyncio.run(_run(scene, plan, lambda line: show(f"{scenario}: {line}")))
        finally:  # what they have is in the folder, which goes
            for program in scene.programs:
                program.kill()
            for server in scene.beside:
                if isinstance(server, PostgresServer):
                    server.remove()


async def _run(scene: Scene, plan: Plan, show: Show) -> Outcome:
    await asyncio.to_thread(_start, scene)
    before = _memory(scene)
    simulator = Simulator(
        plan.nodes, [broker.port for broker in scene.brokers], LEVELS[scene.protocol], commands=plan.commands
    )
    sampling = asyncio.create_task(_sample(scene))
    try:
        nodes, times, cpu = await _send_and_store(scene, plan, simulator, show)
    finally:
        sampling.cancel()
    await asyncio.to_thread(stop_all, scene.collectors)
    verdict = judge(nodes, *await asyncio.to_thread(scene.databases.read))
    brokers, collectors = (Used(*each) for each in zip(before, _memory(scene), cpu[:2], strict=True))
    by_daemons = sum(len(daemon.made) for daemon in scene.daemons)
    return Outcome(verdict, times, simulator.measured, brokers, collectors, cpu[2], by_daemons)


async def _send_and_store(
    scene: Scene, plan: Plan, simulator: Simulator, show: Show
) -> tuple[Mapping[str, History], Times, list[float]]:
    """The whole way of all events; returns what made them, and CPU seconds of brokers, collectors and this program."""
    connecting = await simulator.connect()
    show(f"{plan.nodes} nodes connected in {connecting:.1f} s")
    await asyncio.to_thread(_start_daemons, scene)
    cpu, disturbing = _cpu(scene), asyncio.ensure_future(scene.disturb(show))
    try:
        sending = await simulator.send(plan.rate, lambda elapsed: elapsed >= plan.seconds and disturbing.done())
        await disturbing
    finally:
        disturbing.cancel()
    draining = await _timed(_drain(simulator, scene))
    show(f"every event is acknowledged after another {draining:.1f} s")
    nodes = {f"n{index:05}": History(node.made, node.unacknowledged) for index, node in enumerate(simulator.nodes)}
    nodes |= {daemon.name: History(daemon.made, daemon.unacknowledged) for daemon in scene.daemons}
    storing = await _timed(
        _until_stored(scene, sum(len(node.made) - len(node.unacknowledged) for node in nodes.values()))
    )
    show(f"the collectors ended after another {storing:.1f} s")
    used = [after - earlier for after, earlier in zip(_cpu(scene), cpu, strict=True)]
    await simulator.leave()
    return nodes, Times(connecting, sending, draining, storing), used


async def _drain(simulator: Simulator, scene: Scene) -> None:
    """The daemons end first: they deliver what they have."""
    await asyncio.to_thread(stop_all, scene.daemons, DRAIN)
    await simulator.drain()


async def _timed(work: Awaitable[None]) -> float:
    begin = time.monotonic()
    await work
    return time.monotonic() - begin


def _start(scene: Scene) -> None:
    for program in scene.beside:
        program.start()
    for broker in scene.brokers:
        broker.start()
    for broker in scene.brokers:
        if isinstance(broker, NatsNode):
            broker.wait_ready()
    with ThreadPoolExecutor() as pool:
        list(pool.map(Collector.subscribe, scene.collectors))
    for collector in scene.collectors:
        collector.start()
    for collector in scene.collectors:
        collector.wait_ready()


def _start_daemons(scene: Scene) -> None:
    for daemon in scene.daemons:
        daemon.start()
    for daemon in scene.daemons:
        daemon.wait_ready()


def _memory(scene: Scene) -> list[float]:
    """Peak MiB until now of brokers and of collectors, each together."""
    _read(scene)
    return [sum(one.peak_rss for one in programs) for programs in (scene.brokers, scene.collectors)]


def _cpu(scene: Scene) -> list[float]:
    """CPU seconds until now of brokers, of collectors and of this program."""
    _read(scene)
    parts = [sum(one.cpu for one in programs) for programs in (scene.brokers, scene.collectors)]
    return [*parts, time.process_time()]


def _read(scene: Scene) -> None:
    for program in (*scene.brokers, *scene.collectors):
        program.sample()


async def _sample(scene: Scene) -> None:
    while True:
        _read(scene)
        await asyncio.sleep(SAMPLE)


async def _until_stored(scene: Scene, total: int) -> None:
    """Until all rows are there, or no further one came for STORED seconds."""
    most, since = 0, time.monotonic()
    while most < total and time.monotonic() - since < STORED:
        await asyncio.sleep(0.5)
        for collector in scene.collectors:
            collector.check()
        if (found := await asyncio.to_thread(scene.databases.count)) > most:
            most, since = found, time.monotonic()
