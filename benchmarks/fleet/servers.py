"""Programs on loopback that a run starts, kills and ends by their process ids: mosquitto, NATS nodes, collectors."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any
from urllib.request import urlopen

from benchmarks.fleet.node import PREFIX
from benchmarks.harness.process import peak_rss, usage
from benchmarks.harness.wait import wait_until
from edge_emotion.errors import BackendUnavailable, EdgeEmotionError, SinkError
from edge_emotion.mqtt.local_broker import HOST, find_mosquitto, free_port

START, STOP = 60.0, 30.0
"""Seconds, at most, to become ready and to end."""


class Program:
    """One program that may be started several times; its output goes to ``<name>.log`` in ``folder``."""

    def __init__(self, name: str, command: Sequence[str | Path], folder: Path) -> None:
        self.peak_rss, self.cpu = 0.0, 0.0
        """MiB, at most; seconds of one core, of all its processes."""
        self._command, self.log = [str(word) for word in command], folder / f"{name}.log"
        self._process: subprocess.Popen[bytes] | None = None
        self._earlier_cpu = 0.0

    @property
    def runs(self) -> bool:
        """Whether it was started and has not ended."""
        return self._process is not None and self._process.poll() is None

    @property
    def code(self) -> int | None:
        """Its exit code; None while it runs, and if it was not started."""
        return None if self._process is None else self._process.poll()

    @property
    def last_line(self) -> str:
        """The last line of its output."""
        return "".join(self.log.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-1:])

    def start(self) -> None:
        """Start it in a session of its own: Ctrl-C in a terminal is for the benchmark, which then ends it."""
        self._start()

    def sample(self) -> None:
        """Read memory and CPU time of its process, if it runs."""
        with suppress(OSError, KeyError):
            if self._process is not None and self.runs:
                self.peak_rss = max(self.peak_rss, peak_rss(self._process.pid))
                self.cpu = self._earlier_cpu + usage(self._process.pid).cpu

    def kill(self) -> None:
        """End it with SIGKILL."""
        self.sample()
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process, self._earlier_cpu = None, self.cpu

    def terminate(self) -> None:
        """Send SIGTERM, if it runs."""
        self.sample()
        self._signal(signal.SIGTERM)

    def end(self, until: float) -> None:
        """Wait for its end until ``until`` (monotonic seconds), then end it with SIGKILL."""
        if self._process is not None:
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(max(0.0, until - time.monotonic()))
        self.kill()

    def check(self) -> None:
        """Raises SinkError with the last line of its output if it has ended by itself."""
        if self._process is not None and not self.runs:
            raise SinkError(f"{self._command[0]} has ended with {self._process.returncode}: {self.last_line}")

    def _start(self, **options: Any) -> None:
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(self._command, stdout=log, stderr=log, start_new_session=True, **options)

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(number)


class Mosquitto(Program):
    """One mosquitto without limits on messages; what it keeps is in memory."""

    def __init__(self, folder: Path) -> None:
        """Raises BackendUnavailable if it is not installed."""
        executable = find_mosquitto()
        if executable is None:
            raise BackendUnavailable("mosquitto is not installed: apt-get install --no-install-recommends mosquitto")
        self.port = free_port()
        config = folder / "mosquitto.conf"
        lines = [f"listener {self.port} {HOST}", "allow_anonymous true", "persistence false", "log_type error"]
        lines += ["max_queued_messages 0", "max_inflight_messages 1000"]
        config.write_text("\n".join([*lines, ""]), encoding="utf-8")
        super().__init__("mosquitto", [executable, "-c", config], folder)

    def start(self) -> None:
        """Start it; returns when it accepts connections."""
        super().start()
        wait_until(lambda: _accepts(self), "mosquitto does not accept connections", patience=START)


class NatsNode(Program):
    """One node of a cluster with JetStream; its streams survive ``kill`` and ``start``."""

    def __init__(self, name: str, folder: Path, ports: Sequence[int], routes: Sequence[int], address: int) -> None:
        """``ports``: of the cluster, of clients, of MQTT, of the monitor.

        ``routes``: ports of the other nodes to which it connects; ``address``: the port that it gives them as its own.
        """
        executable = shutil.which("nats-server", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
        if executable is None:
            raise BackendUnavailable(
                "nats-server is not installed: apt-get install --no-install-recommends nats-server"
            )
        cluster, clients, self.port, self._monitor = ports
        config = folder / f"{name}.conf"
        links = ", ".join(f'"nats://{HOST}:{port}"' for port in routes)
        config.write_text(
            f"server_name: {name}\nlisten: {HOST}:{clients}\nhttp: {HOST}:{self._monitor}\n"
            f"jetstream {{ store_dir: {folder / name} }}\n"
            f"cluster {{ name: fleet, listen: {HOST}:{cluster}, advertise: {HOST}:{address}, routes: [{links}] }}\n"
            f'mqtt {{ listen: {HOST}:{self.port}, ack_wait: "5s", max_ack_pending: 1000 }}\n',
            encoding="utf-8",
        )
        super().__init__(name, [executable, "-c", config], folder)

    @property
    def ready(self) -> bool:
        """Whether it takes clients, and is in a cluster of three with a leader.

        Not ``/healthz``: with 2.9.10 it also fails for consumers of clients that have gone.
        """
        self.check()
        try:
            joined = self._ask("routez").get("num_routes", 0) >= 2
            return joined and bool(self._ask("jsz").get("meta_cluster", {}).get("leader")) and _accepts(self)
        except (OSError, ValueError):
            return False

    def wait_ready(self) -> None:
        """Raises EdgeEmotionError if it is not ready in time."""
        try:
            wait_until(lambda: self.ready, f"the NATS node {self.log.stem} is not ready", patience=START, pause=0.1)
        except EdgeEmotionError as error:
            raise SinkError(f"{error}: {self.last_line}") from error

    def _ask(self, page: str) -> dict[str, Any]:
        with urlopen(f"http://{HOST}:{self._monitor}/{page}", timeout=2) as answer:
            found: dict[str, Any] = json.load(answer)
            return found


class Link(Program):
    """Carries all connections between one node of a cluster and the others, and can be cut."""

    def __init__(self, folder: Path, port: int, target: int) -> None:
        """To ``port``, then on to ``target``."""
        self.port = port
        words = ["-m", "benchmarks.fleet.forwarder", str(port), str(target)]
        super().__init__("link", [sys.executable, *words], folder)

    def start(self) -> None:
        """Start it; returns when it accepts connections."""
        self._start(cwd=Path(__file__).parents[2])
        wait_until(lambda: _accepts(self), "the link does not accept connections", patience=START)

    def cut(self) -> None:
        """From now on nothing arrives, and nothing is closed."""
        self._signal(signal.SIGSTOP)

    def mend(self) -> None:
        """What was sent meanwhile arrives."""
        self._signal(signal.SIGCONT)


def nats_cluster(folder: Path) -> tuple[list[NatsNode], Link]:
    """Three nodes and the link to the third one, not started yet. Raises BackendUnavailable.

    The first two connect to each other and, over the link, to the third one. That one connects to nobody: its routes,
    without which JetStream does not start, and the addresses that the others give it lead nowhere.
    """
    with ExitStack() as stack:  # all of them at once: else a port may be given twice
        sockets = [stack.enter_context(socket.create_server((HOST, 0))) for _ in range(15)]
        ports = [int(one.getsockname()[1]) for one in sockets]
    *ports, over_link, nowhere, neither = ports
    first, second, third = ports[::4]
    routes: list[list[int]] = [[second, over_link], [first, over_link], [nowhere, neither]]
    addresses = nowhere, nowhere, over_link
    nodes = [NatsNode(f"nats{n + 1}", folder, ports[4 * n : 4 * n + 4], routes[n], addresses[n]) for n in range(3)]
    return nodes, Link(folder, over_link, third)


class Collector(Program):
    """``edge-emotion collect`` with a session of its own."""

    def __init__(
        self, name: str, folder: Path, ports: Sequence[int], protocol: str, group: str | None, database: Sequence[str]
    ) -> None:
        """``database``: the options that name it."""
        brokers = ",".join(f"{HOST}:{port}" for port in ports)
        words = ["--mqtt", brokers, "--protocol", protocol, "--prefix", PREFIX, *database]
        words += ["--session", name, *(["--group", group] if group else [])]
        super().__init__(name, [sys.executable, "-m", "edge_emotion", "collect", *words], folder)

    def start(self) -> None:
        """Start it; a DuckDB file must not be opened before ``wait_ready``."""
        self._log_before = self.log.stat().st_size if self.log.exists() else 0
        super().start()

    def wait_ready(self) -> None:
        """Until it has opened its database: before that it ends if it cannot. Raises EdgeEmotionError."""
        wait_until(self._has_opened, f"{self.log.stem} does not open its database", patience=START, pause=0.1)

    def _has_opened(self) -> bool:
        self.check()
        return b"storing into" in self.log.read_bytes()[self._log_before :]

    def subscribe(self) -> None:
        """Connect and subscribe once: from now on the broker keeps events for the session. Raises SinkError."""
        command = [*self._command, "--duration", "0.1"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=START)
        if done.returncode:
            raise SinkError(f"the collector: {done.stderr.strip()}")


def _accepts(program: Mosquitto | NatsNode | Link) -> bool:
    program.check()
    with socket.socket() as sock:
        sock.settimeout(1.0)
        return sock.connect_ex((HOST, program.port)) == 0


def stop_all(programs: Sequence[Program], patience: float = STOP) -> None:
    """End all of them, within ``patience`` seconds together."""
    for program in programs:
        program.terminate()
    until = time.monotonic() + patience
    for program in programs:
        program.end(until)
