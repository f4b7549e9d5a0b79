"""Roll-outs of a bad and of a good release to simulated nodes and real daemons, by ``edge-emotion fleet``."""

from __future__ import annotations

import asyncio
import itertools
import json
import math
import re
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.fleet.daemons import DRAIN, Daemon
from benchmarks.fleet.model_node import GROUP, ModelNode
from benchmarks.fleet.node import PREFIX
from benchmarks.fleet.proof import raise_file_limit
from benchmarks.fleet.roll_out_outcome import RolledOut, RollOutOutcome, Wave
from benchmarks.fleet.scenes import Show
from benchmarks.fleet.servers import Mosquitto, Program, stop_all
from benchmarks.fleet.simulator import ATTEMPTS
from edge_emotion.errors import SinkError
from edge_emotion.models.folder import MANIFEST, find_model
from edge_emotion.mqtt.local_broker import HOST, free_port
from edge_emotion.system.atomic_file import sha256
from edge_emotion.updates.description import DESCRIPTION
from edge_emotion.updates.minisign import read_public_key
from edge_emotion.updates.secret_key import SecretKey, make_key_pair, read_secret_key
from edge_emotion.updates.signed_order import read_order, sign_order
from edge_emotion.wire.model_order import place_of
from edge_emotion.wire.topics import order_topic

BAD = 30
"""Percent of the simulated nodes on which the bad release fails. On a real daemon it always fails its self-test."""

FIRST, WAVES = 1.0, "1,10,50,100"
WAIT, LONGEST = 90, 300
"""Seconds for each wave and for each command, at most."""

REAL_WATCH = 3.0
"""Seconds for which a real daemon watches a model."""

REFUSAL = 20.0
"""Seconds, at most, until every simulated node has refused an order."""

_WAVE = re.compile(r"^wave ([\d.]+) %: (\d+) of (\d+) nodes confirmed, .*after (\d+) s$")


@dataclass
class Fleet:
    """What runs: simulated nodes by name, and real daemons."""

    broker: Mosquitto
    folder: Path
    key: SecretKey
    port: int
    """Of the server that has the releases."""
    nodes: Mapping[str, ModelNode] = field(default_factory=dict)
    daemons: tuple[Daemon, ...] = ()
    refusals: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        words = ["-m", "http.server", str(self.port), "--bind", HOST, "--directory", str(self.folder / "releases")]
        self.server = Program("releases-server", [sys.executable, *words], self.folder)
        """Plain http, which a daemon accepts from its own machine only."""

    def roll_out(self, release: Path) -> list[str]:
        """The command line that rolls a release out."""
        source = f"http://{HOST}:{self.port}/{release.name}"
        return self.command("roll-out", str(release), "--source", source, "--waves", WAVES)

    def command(self, action: str, *words: str, signed: bool = True) -> list[str]:
        """The command line of ``edge-emotion fleet``; ``signed``: it gives an order."""
        options = ["--mqtt", f"{HOST}:{self.broker.port}", "--prefix", PREFIX, "--group", GROUP]
        options += ["--release-key", str(self.folder / "release.key"), "--wait", str(WAIT)] if signed else []
        return [sys.executable, "-m", "edge_emotion", "fleet", action, *words, *options]


def prove_roll_out(nodes: int, daemons: int, show: Show) -> RollOutOutcome:
    """Run all. Raises BackendUnavailable without mosquitto or pynacl, ConfigError, SinkError."""
    raise_file_limit(nodes)
    with tempfile.TemporaryDirectory(prefix="edge-emotion-fleet-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        broker = Mosquitto(folder)
        file, _ = make_key_pair(folder / "release.key")
        fleet = Fleet(broker, folder, read_secret_key(file), free_port())
        try:
            return asyncio.run(_run(fleet, nodes, daemons, show))
        finally:
            for program in (*fleet.daemons, fleet.server, broker):
                program.kill()


async def _run(fleet: Fleet, nodes: int, daemons: int, show: Show) -> RollOutOutcome:
    cpu = time.process_time()
    await asyncio.to_thread(fleet.broker.start)
    fleet.server.start()
    bad = await asyncio.to_thread(_make_release, fleet.folder, 1, _break)
    good = await asyncio.to_thread(_make_release, fleet.folder, 2, lambda _: None)
    fleet.daemons = _daemons(fleet, daemons, bad.sha256)
    await asyncio.to_thread(_start, fleet.daemons)
    begin = time.monotonic()
    await _connect(fleet, nodes, bad.sha256)
    connecting = time.monotonic() - begin
    show(f"{nodes} nodes connected in {connecting:.1f} s, beside {daemons} real daemons")
    names = [*fleet.nodes, *(daemon.name for daemon in fleet.daemons)]
    found_bad = await _roll_out(fleet, fleet.roll_out(bad.folder), bad, show)
    found_good = await _roll_out(fleet, fleet.roll_out(good.folder), good, show)
    forged, old = await _attack(fleet)
    show(f"{forged} simulated nodes refused a forged order, {old} an old one")
    found_back = await _roll_out(fleet, fleet.command("abort"), good, show)
    fleet.broker.sample()
    for node in fleet.nodes.values():
        node.leave()
    await asyncio.to_thread(stop_all, fleet.daemons, DRAIN)
    first = sum(place_of(name, bad.sha256) < FIRST for name in names)
    peak, used = fleet.broker.peak_rss, time.process_time() - cpu
    return RollOutOutcome(nodes, daemons, first, connecting, found_bad, found_good, found_back, forged, old, peak, used)


class _Release(NamedTuple):
    folder: Path
    serial: int
    sha256: str


def _make_release(folder: Path, serial: int, change: Callable[[dict[str, Any]], None]) -> _Release:
    """A release of the model ``tiny`` by the project's own command, after ``change`` of its manifest."""
    model = folder / f"model-{serial}" / "tiny"
    shutil.copytree(find_model("tiny"), model)
    manifest = json.loads((model / MANIFEST).read_text(encoding="utf-8"))
    change(manifest)
    (model / MANIFEST).write_text(json.dumps(manifest), encoding="utf-8")
    words = ["--key", str(folder / "release.key"), "--out", str(folder / "releases"), "--serial", str(serial)]
    command: list[str | Path] = [sys.executable, "-m", "convert", "release", model, *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=WAIT, cwd=Path(__file__).parents[2])
    if done.returncode:
        raise SinkError(f"convert release: {done.stderr.strip()}")
    release = Path(done.stdout.strip())
    return _Release(release, serial, sha256(release / DESCRIPTION))


def _break(manifest: dict[str, Any]) -> None:
    """Promise other results of the self-test than the files compute."""
    for file in manifest["files"]:
        file["golden"]["expected"] = [[-one for one in row] for row in file["golden"]["expected"]]


def _daemons(fleet: Fleet, count: int, bad: str) -> tuple[Daemon, ...]:
    """Real daemons; one of twenty has a name that is chosen in the first wave of the bad release."""
    names = (f"real{number:05}" for number in itertools.count())
    early = islice((name for name in names if place_of(name, bad) < FIRST), math.ceil(count / 20))
    others = (name for name in names if place_of(name, bad) >= FIRST)
    update = {"group": GROUP, "keys": [str(fleet.folder / "release.key.pub")], "spread": 1.0, "watch": REAL_WATCH}
    chosen = [*early, *islice(others, count - math.ceil(count / 20))]
    return tuple(Daemon(name, fleet.folder, [fleet.broker.port], "5", update=update) for name in chosen)


def _start(daemons: Iterable[Daemon]) -> None:
    for daemon in daemons:
        daemon.start()
    for daemon in daemons:
        daemon.wait_ready()


async def _connect(fleet: Fleet, count: int, bad: str) -> None:
    trusted = [read_public_key(fleet.folder / "release.key.pub")]

    def fails(name: str, sha256: str) -> bool:
        return sha256 == bad and place_of(name, f"fails {bad}") < BAD

    gate = asyncio.Semaphore(ATTEMPTS)

    async def connect(node: ModelNode) -> None:
        async with gate:
            await node.connect(fleet.broker.port)

    names = [f"n{number:05}" for number in range(count)]
    fleet.nodes = {name: ModelNode(name, trusted, fails, fleet.refusals) for name in names}
    await asyncio.gather(*(connect(node) for node in fleet.nodes.values()))


async def _roll_out(fleet: Fleet, command: list[str], release: _Release, show: Show) -> RolledOut:
    """Run one command to its end, and count."""
    logs = {daemon: daemon.log.stat().st_size for daemon in fleet.daemons}
    begin = time.monotonic()
    code, lines = await _call(fleet.folder, command)
    seconds = time.monotonic() - begin
    for line in lines:
        show(line)
    reports = await asyncio.to_thread(_reports, fleet)
    new = [daemon.log.read_bytes()[size:] for daemon, size in logs.items()]
    matches = filter(None, map(_WAVE.match, lines))
    return RolledOut(
        code,
        seconds,
        tuple(Wave(float(found[1]), int(found[3]), float(found[4])) for found in matches),
        touched=sum(release.sha256 in node.touched for node in fleet.nodes.values()),
        using=sum(release.serial in node.serials for node in fleet.nodes.values()),
        real_touched=sum(b"model update: switched" in text for text in new),
        real_using=sum(reports[daemon.name] == release.serial for daemon in fleet.daemons),
        real_refused=sum(b"model update: refused" in text for text in new),
        real_returned=sum(b"model update: returned" in text for text in new),
    )


async def _call(folder: Path, command: list[str]) -> tuple[int, list[str]]:
    """Exit code and output of a command, which does not outlive this program. Raises SinkError after LONGEST."""
    program = Program(f"command-{secrets.token_hex(4)}", command, folder)
    until = time.monotonic() + LONGEST
    program.start()
    try:
        while (code := program.code) is None:
            if time.monotonic() > until:
                raise SinkError(f"{' '.join(command[2:5])} has not ended within {LONGEST} s: {program.last_line}")
            await asyncio.sleep(0.05)
    finally:
        program.kill()
    return code, program.log.read_text(encoding="utf-8").splitlines()


def _reports(fleet: Fleet) -> dict[str, int | None]:
    """Node -> serial of the release that it reports to use. Raises SinkError."""
    command = fleet.command("status", "--json", signed=False)
    done = subprocess.run(command, capture_output=True, text=True, timeout=LONGEST, stdin=subprocess.DEVNULL)
    if done.returncode:
        raise SinkError(f"fleet status: {done.stderr.strip()}")
    return {name: report.get("installed") for name, report in json.loads(done.stdout)["nodes"].items()}


async def _attack(fleet: Fleet) -> tuple[int, int]:
    """Publish a forged order and an old one, each to abort the good release; how many simulated nodes refused each."""
    operator, topic = next(iter(fleet.nodes.values())), order_topic(PREFIX, GROUP)
    payload = operator.payload
    order = read_order(payload, [fleet.key.public], GROUP).model_copy(update={"action": "abort"})
    other = read_secret_key(make_key_pair(fleet.folder / "other.key")[0])._replace(number=fleet.key.number)
    later, earlier = (order.model_copy(update={"serial": order.serial + step}) for step in (1, -1))
    counts = []
    for kind, attack in (("signature", sign_order(later, other)), ("old", sign_order(earlier, fleet.key))):
        fleet.refusals.clear()
        operator.publish(topic, attack)
        with suppress(asyncio.TimeoutError):
            await asyncio.wait_for(_refused(fleet, kind), REFUSAL)
        counts.append(fleet.refusals[kind])
    operator.publish(topic, payload)
    return counts[0], counts[1]


async def _refused(fleet: Fleet, kind: str) -> None:
    while fleet.refusals[kind] < len(fleet.nodes):
        await asyncio.sleep(0.05)
