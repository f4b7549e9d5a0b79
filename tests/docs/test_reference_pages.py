"""The reference pages list everything there is: commands, options, settings, exit codes, the client, manifests."""

from __future__ import annotations

import inspect
import re
import typing
from collections.abc import Iterator
from types import UnionType

import pytest
from pydantic import BaseModel
from support.command_help import MODULES, commands_of, options_of
from support.paths import ROOT

from edge_emotion import client, errors
from edge_emotion.config.settings import RESERVED, Settings
from edge_emotion.models.manifest import DetectorManifest, ModelManifest

REFERENCE = ROOT / "docs" / "reference"


def page(name: str) -> str:
    return (REFERENCE / name).read_text(encoding="utf-8")


def sections(text: str) -> dict[str, str]:
    """Heading -> the text until the next one."""
    parts = re.split(r"^#+ +(.+)$", text, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def listed_options(text: str) -> set[str]:
    """Options in the first cell of a table's row."""
    cells = re.findall(r"^\| ([^|]+) \|", text, re.MULTILINE)
    return {option for cell in cells for option in re.findall(r"`(--[a-z][a-z0-9-]*)", cell)}


@pytest.mark.parametrize("program", MODULES)
def test_the_command_line_page_lists_every_command_with_exactly_its_options(program: str) -> None:
    parts = sections(page("command-line.md"))
    shared = {heading.lower().replace(" ", "-"): text for heading, text in parts.items()}
    commands = {
        heading.strip("`").removeprefix(program).strip() for heading in parts if heading.startswith(f"`{program} ")
    }
    assert commands == commands_of(program)
    for command in commands:
        text = parts[f"`{program} {command}`"]
        listed = listed_options(text)
        for anchor in re.findall(r"options\]\(#([a-z-]+)\)", text):
            listed |= listed_options(shared[anchor])
        assert listed == options_of(program, command), command


def keys(model: type[BaseModel], prefix: str = "") -> Iterator[str]:
    """Every setting, with dots; cameras under ``cameras.<name>``."""
    for name, field in model.model_fields.items():
        inner = next((each for each in types_in(field.annotation) if issubclass(each, BaseModel)), None)
        inside = f"{prefix}{name}." + ("<name>." if name == "cameras" else "")
        if inner is None:
            yield f"{prefix}{name}"
        else:
            yield from keys(inner, inside)


def types_in(annotation: object) -> Iterator[type]:
    if isinstance(annotation, type) and not typing.get_args(annotation):
        yield annotation
    elif typing.get_origin(annotation) in (typing.Union, UnionType, dict, tuple, typing.Annotated):
        for each in typing.get_args(annotation):
            yield from types_in(each)


def test_the_configuration_page_lists_every_setting() -> None:
    text = page("configuration.md")
    every = list(keys(Settings))
    assert {"node", "cameras.<name>.max_fps", "mqtt.tls.ca", "mqtt.discovery.enabled", "jsonl.path"} <= set(every)
    missing = [key for key in every if f"`{key}`" not in text and f"`{key.rsplit('.', 1)[-1]}`" not in text]
    assert missing == []
    assert all(f"`{name}`" in text for name in RESERVED)


def test_the_page_of_exit_codes_has_the_code_of_every_error() -> None:
    rows = dict(re.findall(r"^\| (\d+) \|(.+)$", page("exit-codes.md"), re.MULTILINE))
    classes = [each for _, each in inspect.getmembers(errors, inspect.isclass)]
    assert len(classes) >= 8
    for each in classes:
        named = [base.__name__ for base in each.__mro__ if issubclass(base, errors.EdgeEmotionError)]
        assert any(f"`{name}`" in rows[str(each.exit_code)] for name in named), each
    help_codes = set(re.findall(r"\b(\d+) [a-z]", _epilog()))
    assert help_codes and help_codes <= set(rows)


def _epilog() -> str:
    from support.command_help import help_text

    return help_text("edge-emotion").split("exit codes:")[1]


def test_the_client_page_has_every_public_name_and_argument() -> None:
    text = page("client.md")
    names = [*client.__all__, *(name for name in vars(client.Client) if not name.startswith("_"))]
    names += [*inspect.signature(client.Client).parameters, *inspect.signature(client.broker_settings).parameters]
    for each in (client.EventReceived, client.StateReceived, client.AvailabilityReceived, client.Totals):
        names += list(each.__dataclass_fields__)
    assert [name for name in names if not re.search(rf"`[^`\n]*\b{name}\b[^`\n]*`", text)] == ["Item"]


@pytest.mark.parametrize("manifest", [ModelManifest, DetectorManifest])
def test_the_manifest_page_has_every_field(manifest: type[BaseModel]) -> None:
    text = page("manifest.md")
    names = {key.rsplit(".", 1)[-1] for key in keys(manifest)} - {"schema_version"} | {"schema"}
    assert [name for name in sorted(names) if f"`{name}`" not in text] == []
