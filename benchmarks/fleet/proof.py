"""One run: brokers, collectors and nodes are started, some of them killed, and every event is accounted for."""

from __future__ import annotations

import asyncio
import resource
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from benchmarks.fleet.judge import Verdict, count_rows, judge, read_files
from benchmarks.fleet.node import Measured
from benchmarks.fleet.packets import Level
from benchmarks.fleet.servers import Collector, Mosquitto, NatsNode, Program, nats_cluster, stop_all
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
class Plan:
    """Numbers of one run; ``seconds`` is how long events are made, at least. ``kills``: NATS nodes that are killed.

    ``commands``: nodes subscribe to their commands, as the daemon does.
    """

    nodes: int = 1000
    rate: float = 500.0
    seconds: float = 30.0
    kills: int = 3
    commands: bool = True


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


@dataclass(frozen=True)
class Scene:
    """What runs in a scenario; ``disturb`` kills and starts parts of it while events are made."""

    brokers: Sequence[Mosquitto | NatsNode]
    collectors: Sequence[Collector]
    protocol: str
    disturb: Callable[[Plan, Callable[[str], None]], Awaitable[None]]


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


def prove(scenario: str, plan: Plan, show: Callable[[str], None]) -> Outcome:
    """Run ``mosquitto`` or ``nats``. Raises BackendUnavailable without the broker, ConfigError, SinkError."""
    raise_file_limit(plan.nodes)
    with tempfile.TemporaryDirectory(prefix="edge-emotion-fleet-", ignore_cleanup_errors=True) as name:
        scene = SCENARIOS[scenario](Path(name))
        programs: list[Program] = [*scene.brokers, *scene.collectors]
        try:
            return asyncio.run(_run(scene, plan, Path(name), lambda line: show(f"{scenario}: {line}")))
        finally:  # what they have is in the folder, which goes
            for program in programs:
                program.kill()


def mosquitto_scene(folder: Path) -> Scene:
    """One mosquitto, MQTT 5, two collectors that share the events; one of them is killed."""
    broker = Mosquitto(folder)
    collectors = [Collector(f"collector{n}", folder, [broker.port], "5", "shared") for n in (1, 2)]

    async def disturb(plan: Plan, show: Callable[[str], None]) -> None:
        await _kill_for_a_while(collectors[1], plan.seconds, show)

    return Scene([broker], collectors, "5", disturb)


def nats_scene(folder: Path) -> Scene:
    """Three NATS nodes, MQTT 3.1.1, one collector; the nodes are killed in turn, then the collector."""
    brokers = nats_cluster(folder)
    collector = Collector("collector1", folder, [broker.port for broker in brokers], "3.1.1", None)

    async def disturb(plan: Plan, show: Callable[[str], None]) -> None:
        share = plan.seconds / (plan.kills + 1)
        for broker in brokers[: plan.kills]:
            await _kill_for_a_while(broker, share, show)
        await _kill_for_a_while(collector, share, show)

    return Scene(brokers, [collector], "3.1.1", disturb)


SCENARIOS: dict[str, Callable[[Path], Scene]] = {"mosquitto": mosquitto_scene, "nats": nats_scene}
"""Scenario -> its parts, not yet started, in a folder for their files."""


async def _kill_for_a_while(program: NatsNode | Collector, seconds: float, show: Callable[[str], None]) -> None:
    """Kill it after a third of the time, start it again after another third."""
    await asyncio.sleep(seconds / 3)
    show(f"kill -9 {program.log.stem}")
    program.kill()
    await asyncio.sleep(seconds / 3)
    program.start()
    await asyncio.to_thread(program.wait_ready)
    show(f"{program.log.stem} is started again")
    await asyncio.sleep(seconds / 3)


async def _run(scene: Scene, plan: Plan, folder: Path, show: Callable[[str], None]) -> Outcome:
    await asyncio.to_thread(_start, scene)
    before = _memory(scene)
    simulator = Simulator(
        plan.nodes, [broker.port for broker in scene.brokers], LEVELS[scene.protocol], commands=plan.commands
    )
    sampling = asyncio.create_task(_sample(scene))
    try:
        times, cpu = await _send_and_store(scene, plan, simulator, show)
    finally:
        sampling.cancel()
    await asyncio.to_thread(stop_all, scene.collectors)
    rows, gaps, summed = await asyncio.to_thread(read_files, [one.file for one in scene.collectors], folder)
    verdict = judge({f"n{index:05}": node for index, node in enumerate(simulator.nodes)}, rows, gaps, summed)
    brokers, collectors = (Used(*each) for each in zip(before, _memory(scene), cpu[:2], strict=True))
    return Outcome(verdict, times, simulator.measured, brokers, collectors, cpu[2])


async def _send_and_store(
    scene: Scene, plan: Plan, simulator: Simulator, show: Callable[[str], None]
) -> tuple[Times, list[float]]:
    """The whole way of all events; also returns the CPU seconds of brokers, collectors and this program for it."""
    connecting = await simulator.connect()
    show(f"{plan.nodes} nodes connected in {connecting:.1f} s")
    cpu, disturbing = _cpu(scene), asyncio.ensure_future(scene.disturb(plan, show))
    try:
        sending = await simulator.send(plan.rate, lambda elapsed: elapsed >= plan.seconds and disturbing.done())
        await disturbing
    finally:
        disturbing.cancel()
    draining = await _timed(simulator.drain())
    show(f"every event is acknowledged after another {draining:.1f} s")
    storing = await _timed(_until_stored(scene.collectors, sum(len(node.made) for node in simulator.nodes)))
    show(f"the collectors ended after another {storing:.1f} s")
    used = [after - earlier for after, earlier in zip(_cpu(scene), cpu, strict=True)]
    await simulator.leave()
    return Times(connecting, sending, draining, storing), used


async def _timed(work: Awaitable[None]) -> float:
    begin = time.monotonic()
    await work
    return time.monotonic() - begin


def _start(scene: Scene) -> None:
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


async def _until_stored(collectors: Sequence[Collector], total: int) -> None:
    """Until all rows are there, or no further one came for STORED seconds."""
    counts = dict.fromkeys((one.file for one in collectors), 0)
    most, since = 0, time.monotonic()
    while sum(counts.values()) < total and time.monotonic() - since < STORED:
        await asyncio.sleep(0.5)
        for collector in collectors:
            collector.check()
            found = await asyncio.to_thread(count_rows, collector.file)
            counts[collector.file] = counts[collector.file] if found is None else found
        if sum(counts.values()) > most:
            most, since = sum(counts.values()), time.monotonic()
