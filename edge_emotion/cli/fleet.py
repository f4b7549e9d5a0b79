"""``edge-emotion fleet``: a release for all nodes of a group in waves, and how far they are."""

from __future__ import annotations

import argparse
import re
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import TYPE_CHECKING

from edge_emotion.cli.fleet_status import json_line, status_lines
from edge_emotion.cli.interrupts import termination_as_interrupt
from edge_emotion.config.section import read_secret
from edge_emotion.config.settings import MqttSettings
from edge_emotion.errors import BackendUnavailable, ConfigError, ReleaseRefused
from edge_emotion.fleet.broker import FleetBroker
from edge_emotion.system.paths import printable
from edge_emotion.wire.model_order import SOURCE

if TYPE_CHECKING:
    from edge_emotion.fleet.orders import GroupOrders
    from edge_emotion.fleet.release import CheckedRelease
    from edge_emotion.updates.secret_key import SecretKey


def status(settings: MqttSettings, options: argparse.Namespace) -> int:
    """Print nodes and orders; returns 0. Raises ConfigError if no node takes orders, or none of the group."""
    with FleetBroker(settings) as broker:
        view = broker.view
    groups = [options.group] if options.group else sorted(view.groups)
    for group in groups or [""]:
        view.group(group)  # raises for one without nodes
        for line in json_line(view, group) if options.json else status_lines(view, group):
            print(line)
    for node, reason in sorted(view.malformed.items()):
        print(f"the info of node {node} is not understood: {reason}", file=sys.stderr)
    return 0


def roll_out(settings: MqttSettings, options: argparse.Namespace) -> int:
    """All waves; returns 0.

    Raises ReleaseRefused, ConfigError and SinkError before anything is ordered, RollOutStopped after that.
    """
    key = _secret_key(options)
    from edge_emotion.fleet.release import check_release, require_newer
    from edge_emotion.fleet.roll_out import Plan, RollOut

    checked = check_release(options.release, key.public)
    plan = Plan(
        checked.ordered,
        _source(options.source, options.release),
        min(checked.release.expires, datetime.now(timezone.utc) + timedelta(days=options.expires)),
        waves=options.waves,
        max_failed=options.max_failed,
        timeout=options.wait,
        on_failure=options.on_failure,
    )
    with _orders(settings, options, key) as (broker, orders), _lines() as lines:
        nodes = broker.view.group(options.group)
        require_newer(checked.ordered, nodes)
        _warn(checked, broker, options.group)
        lines.show(f"{checked.release.title} for the {len(nodes)} nodes of group {options.group}")
        options.on_interrupt = (
            "the order stays as it is, and nodes of this wave go on; the same again continues, and so do edge-emotion "
            "fleet pause and abort"
        )
        found = RollOut(broker, orders, plan, lines.show, lines.progress).run()
        lines.show(f"done: {found.text}")
    return 0


def pause(settings: MqttSettings, options: argparse.Namespace) -> int:
    """No further node begins; returns 0. Raises ConfigError without an order, ReleaseRefused, SinkError."""
    with _orders(settings, options, _secret_key(options)) as (_, orders):
        order = orders.required()
        if order.action == "abort":
            raise ConfigError(f"order {order.serial} has aborted {order.release.title}: there is nothing to pause")
        if order.action == "install":
            order = orders.change(order, "pause")
        print(f"order {order.serial} pauses {order.release.title} at {order.percent:g} %")
    return 0


def abort(settings: MqttSettings, options: argparse.Namespace) -> int:
    """Nodes go back; returns 0. Raises ConfigError without an order, ReleaseRefused, SinkError, RollOutStopped."""
    key = _secret_key(options)
    from edge_emotion.errors import RollOutStopped
    from edge_emotion.fleet.roll_out import await_return

    with _orders(settings, options, key) as (broker, orders), _lines() as lines:
        order = orders.required()
        if order.action != "abort":
            order = orders.change(order, "abort")
        else:
            orders.keep()
        lines.show(f"order {order.serial} aborts {order.release.title}")
        options.on_interrupt = "the order stays as it is: nodes go on going back"
        left = await_return(broker, orders, order, options.wait, lines.progress)
        if left:
            raise RollOutStopped(f"{left} nodes still use {order.release.title}: away, or not yet; see fleet status")
        lines.show("no node uses it any more")
    return 0


class _Lines:
    """Lines for people; on a terminal also one that is written over."""

    def __init__(self) -> None:
        self._live = sys.stderr is not None and sys.stderr.isatty()

    def show(self, text: str) -> None:
        """A line that stays."""
        self.clear()
        print(text, flush=True)

    def progress(self, text: str) -> None:
        """A line until the next one."""
        if self._live:
            width = shutil.get_terminal_size().columns - 1  # a line that wraps could not be written over
            print(f"\r\x1b[K{text[:width]}", end="", file=sys.stderr, flush=True)

    def clear(self) -> None:
        """Remove the line that does not stay."""
        self.progress("")


@contextmanager
def _lines() -> Iterator[_Lines]:
    lines = _Lines()
    try:
        yield lines
    finally:
        lines.clear()


@contextmanager
def _orders(
    settings: MqttSettings, options: argparse.Namespace, key: SecretKey
) -> Iterator[tuple[FleetBroker, GroupOrders]]:
    """The broker and the orders of the group; SIGTERM is taken like Ctrl-C."""
    from edge_emotion.fleet.orders import GroupOrders
    from edge_emotion.updates.minisign import read_public_key

    trusted = [read_public_key(file) for file in options.trust]
    with termination_as_interrupt(), FleetBroker(settings) as broker:
        yield broker, GroupOrders(broker, options.group, key, trusted)


def _secret_key(options: argparse.Namespace) -> SecretKey:
    """The key that signs. Raises ConfigError, BackendUnavailable."""
    try:
        from edge_emotion.updates.secret_key import read_secret_key
    except ModuleNotFoundError as error:
        raise BackendUnavailable(
            f"fleet {options.action} needs pynacl ({error}): pip install '.[update]' in the clone, or "
            "edge-emotion[update]"
        ) from error
    file, option = options.release_key_password_file, "--release-key-password-file"
    password = "" if file is None else read_secret(option, file)
    if file is not None and not password:
        raise ConfigError(f"{option} {file} is empty")
    return read_secret_key(options.release_key, password, option)


def _source(source: str | None, release: Path) -> str:
    """Where the nodes fetch the files. Raises ConfigError for what they would refuse."""
    from edge_emotion.updates.https_request import checked_address

    given = str(release.resolve()) if source is None else source
    if not re.fullmatch(SOURCE, given):
        raise ConfigError(
            f"--source {printable(given[:200])}: expected https://... without blanks, or an absolute folder that every "
            "node has; 990 characters at most"
        )
    if not given.startswith("/"):
        try:
            checked_address(given)
        except ReleaseRefused as error:
            raise ConfigError(f"--source: {error}") from error
    return given


def _warn(checked: CheckedRelease, broker: FleetBroker, group: str) -> None:
    from edge_emotion.fleet.release import lacking

    nodes = lacking(checked, broker.view.group(group))
    if nodes:
        print(
            f"warning: {checked.release.title} has only {', '.join(sorted(checked.precisions))}, and {len(nodes)} "
            f"nodes ({nodes[0]}) use another precision now: they refuse it where classifier.precision is set",
            file=sys.stderr,
        )
