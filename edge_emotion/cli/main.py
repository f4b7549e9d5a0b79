"""``edge-emotion``: the command line. Each command is imported when it is used."""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge_emotion import __version__
from edge_emotion.cli.broker_options import broker_of, connection_options, connection_settings
from edge_emotion.cli.classify_options import classify_options, run_classify
from edge_emotion.cli.collect_options import collect_options, drift_options, run_collect, run_drift, valid_name
from edge_emotion.cli.examples import EXAMPLES
from edge_emotion.cli.fleet_options import fleet_options, run_fleet
from edge_emotion.cli.install_options import install_options, run_install
from edge_emotion.cli.terminal import (
    CommandParser,
    add_debug,
    add_examples,
    complete_words,
    positive_count,
    positive_seconds,
    run_command,
)
from edge_emotion.errors import ConfigError

if TYPE_CHECKING:
    from edge_emotion.config.settings import Settings

EXIT_CODES = """exit codes: 0 done; 1 unexpected error; 2 wrong arguments or configuration; 3 no frames (camera, file);
4 model damaged or unfit; 5 a library is missing; 6 events cannot be delivered; 8 max_rss is reached;
9 doctor has found a failure; 11 the program that read the events from standard output has ended;
12 a release or order of a model is not to be trusted; 13 a roll-out has ended before all nodes;
130 stopped by Ctrl-C"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code. An error is one line; a traceback only with --debug."""
    try:
        return run_command(_options(argv))
    except KeyboardInterrupt:  # before there is a command
        return 130


def _options(argv: Sequence[str] | None) -> argparse.Namespace:
    """The arguments; umask and log are set."""
    os.umask(os.umask(0o077) | 0o022)  # what a command makes can be written by its owner only
    parser = _parser()
    complete_words(parser)
    options = parser.parse_args(argv)
    logging.basicConfig(
        level=logging.DEBUG if options.debug else logging.INFO,
        format="%(asctime)s %(levelname)s %(message)s",
        stream=sys.stderr,
    )
    return options


def _parser() -> argparse.ArgumentParser:
    parser = CommandParser(
        prog="edge-emotion",
        description="Facial expressions on the edge: camera frames in, emotion events out over MQTT.",
        epilog=EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"edge-emotion {__version__}")
    common = CommandParser(add_help=False)
    add_debug(parser)
    add_debug(common, default=argparse.SUPPRESS)
    parser.set_defaults(command=lambda _: parser.print_help())
    commands = parser.add_subparsers(metavar="COMMAND")

    def command(name: str, function: Any, text: str) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, parents=[common], help=text, description=text)
        add_examples(sub, *EXAMPLES[name])
        sub.set_defaults(command=function)
        return sub

    run = command("run", _run, "run the daemon: cameras in, emotion events out")
    _settings_options(run)
    run.add_argument(
        "--print",
        action=argparse.BooleanOptionalAction,
        help="each event as a line of text on standard output (default: if that is a terminal)",
    )
    run.add_argument(
        "--show", action="store_true", help="open the page in a browser; without web in the settings at 127.0.0.1:8765"
    )
    _demo_options(command("demo", _demo, "the whole chain on a bundled clip, with a broker of its own"))
    classify_options(command("classify", run_classify, "emotions of the faces in picture files and recordings"))
    _subscribe_options(command("subscribe", _subscribe, "the events of one or all nodes as they arrive"))
    collect_options(command("collect", run_collect, "store the events of all nodes in PostgreSQL or a DuckDB file"))
    drift_options(command("drift", run_drift, "the cameras that have moved away from their own reference month"))
    forget = command("forget", _forget, "empty the retained topics of a node that is gone")
    forget.add_argument("node", type=valid_name, metavar="NODE", help="name of the node")
    connection_options(forget)
    forget.add_argument("--force", action="store_true", help="also if the node is online")
    install_options(command("install", run_install, "a signed release of a model becomes the model in use"))
    fleet = command("fleet", run_fleet, "a new model for the nodes of a group, in waves that stop by themselves")
    fleet_options(fleet)
    _web_options(command("web", _web, "a page for pictures and for the nodes of a broker, without a daemon"))
    _settings_options(command("check-config", _check_config, "check the settings and print them, secrets redacted"))
    doctor = command(
        "doctor", _doctor, "check machine, models, cameras and broker, and explain how to fix what is wrong"
    )
    _settings_options(doctor)
    doctor.add_argument("--json", action="store_true", help="for scripts")
    models = command("models", _models, "list the models of this installation")
    models.add_argument("--json", action="store_true", help="for scripts")
    return parser


def _settings_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-c", "--config", type=Path, metavar="FILE", help="YAML settings")
    parser.add_argument("--source", help="one camera named 'camera': device index, path, URL, folder, pipeline")
    parser.add_argument("--mqtt", metavar="HOST[:PORT][,...]", help="the broker; also ws://HOST[:PORT]/PATH, wss://")
    parser.add_argument("--jsonl", metavar="FILE", help="events as JSON lines to a file, - for standard output")
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="any setting: policy.threshold=0.6"
    )


def _demo_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--source", help="a webcam (0) or anything else that run takes, instead of the clip")
    parser.add_argument(
        "--seconds", type=positive_seconds, help="stop after so many seconds (a webcam never ends by itself)"
    )
    parser.add_argument("--web", action="store_true", help="with a page to look at; the clip is repeated until Ctrl-C")


def _web_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--listen", metavar="ADDRESS:PORT", default="127.0.0.1:8765", help="default: 127.0.0.1:8765")
    parser.add_argument("--page-password-file", type=Path, metavar="FILE", help="the page asks for this password")
    parser.add_argument("--page-token-file", type=Path, metavar="FILE", help="programs send this bearer token")
    parser.add_argument(
        "--host", action="append", default=[], metavar="NAME", help="a name of this machine in addresses"
    )
    connection_options(parser, default="the nodes are not shown")


def _subscribe_options(parser: argparse.ArgumentParser) -> None:
    connection_options(parser)
    parser.add_argument("--node", type=valid_name, help="only this node")
    parser.add_argument("--camera", type=valid_name, help="only cameras of this name")
    parser.add_argument("--session", type=valid_name, metavar="NAME", help="the broker stores events between two runs")
    parser.add_argument("--group", type=valid_name, help="share the events with the others of this group")
    parser.add_argument("--count", type=positive_count, help="stop after so many events")
    parser.add_argument("--duration", type=positive_seconds, metavar="S", help="stop after so many seconds")
    parser.add_argument("--format", choices=("text", "jsonl", "csv"), default="text")
    parser.add_argument("--json", action="store_const", dest="format", const="jsonl", help="the same as --format jsonl")
    parser.add_argument("--output", type=Path, metavar="FILE", help="append to this file instead of printing")


def _run(options: argparse.Namespace) -> int:
    from edge_emotion.app import make_daemon
    from edge_emotion.cli.printed_events import PrintedEvents
    from edge_emotion.config.loader import load

    overrides = _overrides(options) | ({"log_level": "debug"} if options.debug else {})
    sections, on_page = _page_to_show() if options.show else ({}, None)
    settings = load(options.config, overrides, sections=sections)
    if options.show and settings.web is None:
        raise ConfigError("--show: the settings switch the page off (web is null): give its settings, or none")
    logging.getLogger().setLevel(settings.log_level.upper())
    printed = [PrintedEvents()] if _prints_events(options.print, settings) else []
    daemon = make_daemon(
        settings,
        load=lambda: load(options.config, overrides, sections=sections),
        more_sinks=printed,
        on_page=on_page,
    )
    daemon.handle_signals()
    logging.getLogger(__name__).info("%s", daemon.run())
    return 0


def _page_to_show() -> tuple[dict[str, Any], Callable[[str], None]]:
    """Settings of the page where there are none, and the function that opens it. Raises BackendUnavailable."""
    from edge_emotion.cli.shown_page import page_settings, show_page

    return page_settings(), show_page


def _prints_events(wanted: bool | None, settings: Settings) -> bool:
    """Whether ``run`` prints events for people. Raises ConfigError where it already writes them for programs."""
    taken = settings.jsonl is not None and settings.jsonl.path == "-"
    if wanted and taken:
        raise ConfigError("--print and --jsonl - both write to standard output: give one of them")
    return not taken and sys.stdout is not None and sys.stdout.isatty() if wanted is None else wanted


def _demo(options: argparse.Namespace) -> None:
    from edge_emotion.cli.demo import demo

    logging.getLogger().setLevel(logging.DEBUG if options.debug else logging.WARNING)
    demo(options.source, seconds=options.seconds, web=options.web)


def _web(options: argparse.Namespace) -> None:
    from edge_emotion.cli.web import web, web_settings

    settings = web_settings(
        listen=options.listen,
        password_file=options.page_password_file,
        token_file=options.page_token_file,
        hosts=options.host,
    )
    web(settings, None if options.mqtt is None else connection_settings(options))


def _subscribe(options: argparse.Namespace) -> int:
    from edge_emotion.cli.subscribe import subscribe
    from edge_emotion.client import Client

    settings = connection_settings(options)
    client = Client(settings, node=options.node, camera=options.camera, session=options.session, group=options.group)
    return subscribe(client, form=options.format, output=options.output, count=options.count, duration=options.duration)


def _forget(options: argparse.Namespace) -> None:
    from edge_emotion.cli.forget import forget_node

    forget_node(connection_settings(options), options.node, force=options.force)


def _check_config(options: argparse.Namespace) -> None:
    from edge_emotion.cli.check_config import check_config
    from edge_emotion.config.loader import load

    check_config(load(options.config, _overrides(options)))


def _doctor(options: argparse.Namespace) -> int:
    from edge_emotion.cli.doctor import doctor

    return doctor(options.config, _overrides(options), as_json=options.json)


def _models(options: argparse.Namespace) -> None:
    from edge_emotion.cli.models import list_models

    list_models(as_json=options.json)


def _overrides(options: argparse.Namespace) -> dict[str, Any]:
    """The command line as a nested mapping; --set wins over the short forms."""
    from edge_emotion.config.loader import parse_override
    from edge_emotion.config.merge import merged

    layer: dict[str, Any] = {}
    if options.source is not None:
        layer["cameras"] = {"camera": {"source": options.source}}
    if options.mqtt is not None:
        layer["mqtt"] = broker_of(options.mqtt)
    if options.jsonl is not None:
        layer["jsonl"] = {"path": options.jsonl}
    for text in options.set:
        layer = merged(layer, parse_override(text))
    return layer
