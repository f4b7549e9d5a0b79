"""YAML as settings are written in it: no key twice, numbers with their text, environment variables.

``${NAME}`` is the value of an environment variable, ``${NAME:-text}`` has a default, ``$${`` is ``${`` itself; nothing
is replaced within single quotes.
"""

from __future__ import annotations

import os
import re
from typing import Any

import yaml

_VARIABLE = re.compile(r"\$(?:\$(?=\{)|\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\})")
_TAG = "tag:yaml.org,2002:"


class WrittenInt(int):
    """A number of a YAML file with its text: a user name 0123 is not 83."""

    written: str


class WrittenFloat(float):
    """As WrittenInt: 1e3 is a name, too."""

    written: str


def read_yaml(text: str) -> Any:
    """The plain values of a YAML text. Raises ValueError with place and fault, but without the line itself."""
    try:
        return yaml.load(text, _SettingsLoader)  # noqa: S506 - a SafeLoader
    except yaml.YAMLError as error:
        raise ValueError(_fault(error)) from error
    except (ValueError, TypeError, ArithmeticError, RecursionError) as error:  # of PyYAML's own conversions
        raise ValueError(f"a value cannot be read ({type(error).__name__}): quote it") from error


class _SettingsLoader(yaml.SafeLoader):
    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        """YAML forbids a key that stands twice; PyYAML silently takes the last one."""
        seen = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise _error(key, "a key must be plain text; quote a value that begins with { or [")
            if key.value in seen:
                raise _error(key, f"the key {key.value!r} stands twice")
            seen.add(key.value)
        return dict(super().construct_mapping(node, deep))


def _error(node: Any, problem: str) -> yaml.constructor.ConstructorError:
    return yaml.constructor.ConstructorError(None, None, problem, node.start_mark)


def _text(loader: _SettingsLoader, node: Any) -> str:
    text = str(loader.construct_scalar(node))
    return text if node.style == "'" else _VARIABLE.sub(lambda found: _variable(found, node), text)


def _variable(found: re.Match[str], node: Any) -> str:
    name, default = found.groups()
    if name is None:  # $${
        return "$"
    value = os.environ.get(name, default)
    if value is None:
        raise _error(node, f"the environment variable {name} is not set")
    return value


def _number(loader: _SettingsLoader, node: Any) -> WrittenInt | WrittenFloat | str:
    """As in YAML 1.2: 0123 is 123 and 12:30 is text; PyYAML, of version 1.1, makes 83 and 750 of them."""
    value: WrittenInt | WrittenFloat
    if ":" in node.value:
        return str(node.value)
    if re.fullmatch(r"[-+]?[0-9_]+", node.value):
        value = WrittenInt(node.value.replace("_", ""))
    elif node.tag == _TAG + "int":
        value = WrittenInt(loader.construct_yaml_int(node))
    else:
        value = WrittenFloat(loader.construct_yaml_float(node))
    value.written = node.value
    return value


def _unknown(_loader: _SettingsLoader, node: Any) -> Any:
    raise _error(node, f"unknown tag {node.tag}: ${{NAME}} reads an environment variable, mqtt.password_file a file")


_SettingsLoader.add_constructor(_TAG + "str", _text)
_SettingsLoader.add_constructor(_TAG + "int", _number)
_SettingsLoader.add_constructor(_TAG + "float", _number)
_SettingsLoader.add_constructor(_TAG + "timestamp", lambda _loader, node: node.value)
_SettingsLoader.add_constructor(None, _unknown)


def _fault(error: yaml.YAMLError) -> str:
    """Place and fault without the line itself: it may hold a password."""
    mark = getattr(error, "problem_mark", None)
    if mark is None:
        return type(error).__name__
    return f"line {mark.line + 1}, column {mark.column + 1}: {getattr(error, 'problem', 'unexpected')}"
