"""What runs in a scenario, and what is killed, stopped or cut while events are made."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.fleet.daemons import Daemon
from benchmarks.fleet.databases import Databases, Files, PostgresServer
from benchmarks.fleet.servers import Collector, Link, Mosquitto, NatsNode, Program, nats_cluster

Show = Callable[[str], None]
"""Takes a line about the course of the run."""


@dataclass(frozen=True)
class Plan:
    """Numbers of one run; ``seconds`` is how long events are made, at least. ``kills``: NATS nodes that are killed.

    ``commands``: nodes subscribe to their commands, as the daemon does. ``daemons``: real ones beside the nodes.
    ``postgres``: the collector stores there, and the server is stopped for ``away`` seconds. ``partition``: one NATS
    node is cut off from the others for ``away`` seconds.
    """

    nodes: int = 1000
    rate: float = 500.0
    seconds: float = 30.0
    kills: int = 3
    commands: bool = True
    daemons: int = 0
    postgres: bool = False
    partition: bool = False
    away: float = 30.0


@dataclass(frozen=True)
class Scene:
    """What runs in a scenario; ``disturb`` kills and starts parts of it while events are made."""

    brokers: Sequence[Mosquitto | NatsNode]
    collectors: Sequence[Collector]
    databases: Databases
    daemons: Sequence[Daemon]
    protocol: str
    disturb: Callable[[Show], Awaitable[None]]
    beside: Sequence[Link | PostgresServer] = ()
    """Started before all others."""

    @property
    def programs(self) -> list[Program]:
        """All of them."""
        return [*self.daemons, *self.collectors, *self.brokers, *self.beside]


def mosquitto_scene(folder: Path, plan: Plan) -> Scene:
    """One mosquitto, MQTT 5, two collectors that share the events; one of them is killed."""
    broker = Mosquitto(folder)
    databases, beside = _databases(folder, plan)
    names = "collector1", "collector2"
    collectors = [Collector(name, folder, [broker.port], "5", "shared", databases.words(name)) for name in names]

    async def disturb(show: Show) -> None:
        await _kill_for_a_while(collectors[1], plan.seconds, show)
        for server in beside:
            await _stop_database(server, plan.away, show)

    return Scene([broker], collectors, databases, _daemons(folder, plan, [broker], "5"), "5", disturb, beside)


def nats_scene(folder: Path, plan: Plan) -> Scene:
    """Three NATS nodes, MQTT 3.1.1, one collector; the nodes are killed in turn, then the collector.

    After that PostgreSQL is stopped and the third node is cut off, where the plan says so.
    """
    brokers, link = nats_cluster(folder)
    databases, beside = _databases(folder, plan)
    ports = [broker.port for broker in brokers]
    collector = Collector("collector1", folder, ports, "3.1.1", None, databases.words("collector1"))

    async def disturb(show: Show) -> None:
        share = plan.seconds / (plan.kills + 1)
        for broker in brokers[: plan.kills]:
            await _kill_for_a_while(broker, share, show)
        await _kill_for_a_while(collector, share, show)
        for server in beside:
            await _stop_database(server, plan.away, show)
        if plan.partition:
            await _cut(link, brokers[2], plan.away, show)

    daemons = _daemons(folder, plan, brokers, "3.1.1")
    return Scene(brokers, [collector], databases, daemons, "3.1.1", disturb, [link, *beside])


SCENARIOS: dict[str, Callable[[Path, Plan], Scene]] = {"mosquitto": mosquitto_scene, "nats": nats_scene}
"""Scenario -> its parts, not yet started, in a folder for their files."""


def _databases(folder: Path, plan: Plan) -> tuple[Databases, list[PostgresServer]]:
    if not plan.postgres:
        return Files(folder), []
    server = PostgresServer(folder)
    return server, [server]


def _daemons(folder: Path, plan: Plan, brokers: Sequence[Mosquitto | NatsNode], protocol: str) -> list[Daemon]:
    ports = [broker.port for broker in brokers]
    return [
        Daemon(f"real{number:02}", folder, [*ports[number % len(ports) :], *ports[: number % len(ports)]], protocol)
        for number in range(plan.daemons)
    ]


async def _kill_for_a_while(program: NatsNode | Collector, seconds: float, show: Show) -> None:
    """Kill it after a third of the time, start it again after another third."""
    await asyncio.sleep(seconds / 3)
    show(f"kill -9 {program.log.stem}")
    program.kill()
    await asyncio.sleep(seconds / 3)
    program.start()
    await asyncio.to_thread(program.wait_ready)
    show(f"{program.log.stem} is started again")
    await asyncio.sleep(seconds / 3)


async def _stop_database(server: PostgresServer, seconds: float, show: Show) -> None:
    """Stop it without waiting for its clients; start it again after ``seconds``."""
    show(f"PostgreSQL is stopped for {seconds:g} s")
    await asyncio.to_thread(server.stop)
    await asyncio.sleep(seconds)
    await asyncio.to_thread(server.start)
    show("PostgreSQL is started again")


async def _cut(link: Link, node: NatsNode, seconds: float, show: Show) -> None:
    """Nothing passes between ``node`` and the others for ``seconds``; clients of all nodes stay connected."""
    show(f"{node.log.stem} is cut off from the others for {seconds:g} s")
    link.cut()
    try:
        await asyncio.sleep(seconds)
    finally:
        link.mend()
    await asyncio.to_thread(node.wait_ready)
    show(f"{node.log.stem} is one of the cluster again")
