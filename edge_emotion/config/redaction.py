"""Sources without their credentials, for logs, messages and MQTT; the credentials are found by parsing the address."""

from __future__ import annotations

import re
from urllib.parse import unquote

HIDDEN = "***"

_ADDRESS = re.compile(r"[a-z][a-z0-9+.-]*://", re.IGNORECASE)
_HARMLESS = {"action", "camera", "ch", "channel", "fps", "height", "profile", "proto", "quality", "rate", "resolution"}
_HARMLESS |= {"size", "stream", "subtype", "transport", "unicast", "width"}
"""Keys of a query whose values are shown."""

_SECRET_KEY = re.compile(
    r"user|usr|login|pass|psw|pwd|token|secret|auth|key|psk|(?<![a-z])p[wk]?(?![a-z])", re.IGNORECASE
)
_PROPERTY = re.compile(r"""([a-z][a-z0-9_-]*=)("(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'|\S+)""", re.IGNORECASE)
# Camera makers also carry credentials in the path as key=value, joined by _ (user=admin_password=x_channel=1).
_PAIR = re.compile(r"([a-z-]+)=((?:(?!_[a-z]+=)[^/])*)", re.IGNORECASE)
_TOKEN = re.compile(r"(?=[A-Za-z-]*[0-9])(?=[0-9-]*[A-Za-z])[A-Za-z0-9-]{16,}")
# An @ in a query, as in ?user=me@home.org, begins no host. With a port it may be a password of digits and more.
_QUERY_FIRST = re.compile(r"[^/?#@:]+(?P<port>:[0-9]+)?(?:/[^?@]*)?\?[^@]*=")
_LEAST = 4
"""Shorter texts are too common to be looked for in messages of others."""


def redact(source: int | str) -> str:
    """A source as it may be shown: credentials, values of a query, and tokens in a path are ``***``."""
    return _redact(str(source), [])


def hide(text: str, source: int | str) -> str:
    """A text from another library (an error of OpenCV) without what ``redact`` hides of ``source``."""
    secrets: list[str] = []
    shown = _redact(str(source), secrets)
    text = text.replace(str(source), shown)
    written = {form for secret in secrets for form in (secret, unquote(secret))}
    written |= {repr(secret)[1:-1] for secret in written}
    for secret in sorted(written, key=len, reverse=True):
        if len(secret) >= _LEAST:
            text = text.replace(secret, HIDDEN)
    return text


def _redact(source: str, secrets: list[str]) -> str:
    """The source as it may be shown; what is hidden is added to ``secrets``."""
    if _ADDRESS.match(source):
        return _redact_address(source, secrets)
    if " !" not in source:
        return source

    def shown(found: re.Match[str]) -> str:
        key, value = found.groups()
        quote = value[0] if value[0] in "\"'" else ""
        inner = value[1:-1] if quote else value
        if _SECRET_KEY.search(key):
            return key + _hidden(inner, secrets)
        return f"{key}{quote}{_redact(inner, secrets)}{quote}" if _ADDRESS.match(inner) else found[0]

    return _PROPERTY.sub(shown, source)


def _redact_address(address: str, secrets: list[str]) -> str:
    """Passwords may hold any character, so the user information reaches to the last @, unless that is in a query."""
    scheme, _, rest = address.partition("://")
    query_first = _QUERY_FIRST.match(rest) if "@" in rest else None
    if query_first and query_first["port"]:
        secrets += [rest, *re.split("[@/?&;#=]", rest)]
        return f"{scheme}://{HIDDEN}"
    user, at, rest = ("", "", rest) if query_first else rest.rpartition("@")
    if user:
        secrets += [user, *user.partition(":")[::2], *user.rpartition(":")[::2]]
    path, question, query = rest.partition("?")
    host, slash, path = path.partition("/")
    path = _PAIR.sub(lambda found: _pair(found, secrets), path)
    path = _TOKEN.sub(lambda found: _hidden(found[0], secrets), path)
    parts = re.split(r"([&;#])", query)
    shown = "".join(part if part in "&;#" else _parameter(part, secrets) for part in parts)
    return f"{scheme}://{HIDDEN if user else ''}{at}{host}{slash}{path}{question}{shown}"


def _pair(found: re.Match[str], secrets: list[str]) -> str:
    return f"{found[1]}={_hidden(found[2], secrets)}" if _SECRET_KEY.search(found[1]) else found[0]


def _parameter(part: str, secrets: list[str]) -> str:
    key, equals, value = part.partition("=")
    if key.lower() in _HARMLESS:
        return part
    return f"{key}={_hidden(value, secrets)}" if equals else _hidden(part, secrets)


def _hidden(secret: str, secrets: list[str]) -> str:
    secrets.append(secret)
    return HIDDEN if secret else ""
