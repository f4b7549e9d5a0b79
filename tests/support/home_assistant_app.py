"""Rules of Home Assistant's Supervisor for an app's files, written down with the place where each one stands.

The Supervisor is in no package registry. The files are those of the repository home-assistant/supervisor, below
supervisor/: addons/validate.py at commit 00788af8, addons/options.py at 03069159, store/validate.py at 07c827f6.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import yaml

REQUIRED = {"name", "version", "slug", "description", "arch"}  # addons/validate.py, _SCHEMA_ADDON_CONFIG
ARCHITECTURES = {"amd64", "aarch64"}  # const.py, ARCH_ALL, without those that are no longer built
WORDS = {  # const.py: AddonStartup, AddonBootConfig, AddonStage
    "startup": {"initialize", "system", "services", "application", "once"},
    "boot": {"auto", "manual", "manual_only"},
    "stage": {"stable", "experimental", "deprecated"},
}
SWITCHES = {"ingress", "ingress_stream", "panel_admin", "tmpfs", "video", "udev", "init", "usb", "uart", "apparmor"}
TEXTS = {"name", "version", "slug", "description", "url", "homeassistant", "panel_icon", "panel_title", "watchdog"}
OTHER = {"arch", "services", "timeout", "ingress_port", "options", "schema", "image"}

VERSION = re.compile(r"\d+(\.\d+)+\S*")  # validate.py, version_tag
SLUG = re.compile(r"[\w.-]+", re.ASCII)  # addons/const.py, RE_SLUG
NETWORK_ADDRESS = re.compile(r"(https?|tcp)://\[HOST\]:(?P<port>\d+)(/\S*)?")  # addons/validate.py, ATTR_WATCHDOG
SERVICE = re.compile(r"(mqtt|mysql):(provide|want|need)")  # addons/validate.py, RE_SERVICE
PLAIN = {"bool", "email", "url", "port"}  # addons/options.py, RE_SCHEMA_ELEMENT, as the next ones
RANGED = re.compile(r"(?P<kind>str|password|int|float)\((?P<least>[\d.]*),(?P<most>[\d.]*)\)")
WITH_TEXT = re.compile(r"(?P<kind>match|list)\((?P<text>.+)\)")


def check_config(config: Mapping[str, Any]) -> None:
    """addons/validate.py, _SCHEMA_ADDON_CONFIG. Unknown keys are dropped there; here they are faults, as typos are."""
    assert set(config) >= REQUIRED and set(config) <= set(WORDS) | SWITCHES | TEXTS | OTHER, set(config)
    assert all(isinstance(config[key], str) and config[key] for key in TEXTS & set(config))
    assert all(isinstance(config[key], bool) for key in SWITCHES & set(config))
    assert all(config[key] in words for key, words in WORDS.items() if key in config)
    assert SLUG.fullmatch(config["slug"]) and VERSION.fullmatch(config["version"])
    assert VERSION.fullmatch(config.get("homeassistant", "1.0"))
    assert config["arch"] and set(config["arch"]) <= ARCHITECTURES
    assert all(SERVICE.fullmatch(service) for service in config.get("services", []))
    assert 10 <= config.get("timeout", 10) <= 300
    assert 0 <= config.get("ingress_port", 8099) <= 65_535
    assert NETWORK_ADDRESS.fullmatch(config.get("watchdog", "tcp://[HOST]:1"))
    assert re.fullmatch(r"mdi:[a-z-]+", config.get("panel_icon", "mdi:puzzle"))
    check_schema(config["schema"], 0)
    check_options(config["schema"], config["options"])


def check_schema(schema: Mapping[str, Any], depth: int) -> None:
    """addons/validate.py, SCHEMA_ELEMENT: types, lists of one type, objects; the documentation allows two levels."""
    assert depth <= 1
    for element in schema.values():
        if isinstance(element, list):
            (element,) = element  # addons/options.py: the first one counts
        if isinstance(element, dict):
            check_schema(element, depth + 1)
        else:
            check_type(element)


def check_type(text: str) -> None:
    """addons/options.py, RE_SCHEMA_ELEMENT."""
    kind = text.removesuffix("?")
    ranged, worded = RANGED.fullmatch(kind), WITH_TEXT.fullmatch(kind)
    assert ranged or worded or kind in PLAIN | {"str", "password", "int", "float"}, text
    if worded and worded["kind"] == "match":
        re.compile(worded["text"])


def check_options(schema: Mapping[str, Any], options: Mapping[str, Any]) -> None:
    """addons/options.py, AddonOptions: what is not in the schema is dropped there; here it is a fault."""
    assert set(options) <= set(schema), set(options) - set(schema)
    for key, element in schema.items():
        single = element[0] if isinstance(element, list) else element
        if key not in options:
            assert isinstance(single, str) and single.endswith("?"), f"{key} is missing"
            continue
        values = options[key] if isinstance(element, list) else [options[key]]
        assert isinstance(values, list)
        for value in values:
            if isinstance(single, dict):
                assert isinstance(value, dict)
                check_options(single, value)
            else:
                assert fits(single.removesuffix("?"), value), f"{key}: {value!r} is no {single}"


def fits(kind: str, value: object) -> bool:
    """addons/options.py, AddonOptions._single_validate."""
    if worded := WITH_TEXT.fullmatch(kind):
        if worded["kind"] == "list":
            return str(value) in worded["text"].split("|")
        return re.match(worded["text"], str(value)) is not None
    if kind == "bool":
        return isinstance(value, bool)
    if kind == "port":
        return type(value) is int and 1 <= value <= 65_535
    ranged = RANGED.fullmatch(kind)
    name = ranged["kind"] if ranged else kind
    if name in ("int", "float"):
        numeric = type(value) is int or (name == "float" and type(value) is float)
        least, most = (ranged["least"], ranged["most"]) if ranged else ("", "")
        return numeric and float(least or "-inf") <= float(str(value)) <= float(most or "inf")
    return isinstance(value, str)


def check_translations(text: str, schema: Mapping[str, Any]) -> None:
    """addons/validate.py, SCHEMA_ADDON_TRANSLATIONS; each option has its name."""
    translations = yaml.safe_load(text)
    assert set(translations) <= {"configuration", "network"}
    assert set(translations["configuration"]) == set(schema)
    for entry in translations["configuration"].values():
        assert entry["name"] and set(entry) <= {"name", "description", "fields"}


def check_repository(repository: Mapping[str, Any]) -> None:
    """store/validate.py, SCHEMA_REPOSITORY_CONFIG."""
    assert repository["name"] and set(repository) <= {"name", "url", "maintainer"}
