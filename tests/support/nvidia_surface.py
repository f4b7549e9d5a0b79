"""Fakes that have exactly the symbols which one version of NVIDIA's Python packages has (tests/support/surfaces).

What a version lacks raises AttributeError, as does assigning what it only lets read; arguments must fit its signatures.
"""

from __future__ import annotations

import json
from typing import Any

from support.paths import ROOT

FOLDER = ROOT / "tests" / "support" / "surfaces"
TENSORRT = ("8.6.1", "10.3.0", "10.13.3.9", "11.4.0.106")
CUDA = ("12.2.1", "12.6.2.post1", "12.9.4", "13.4.4")

Rows = dict[str, Any]


def table(kind: str, version: str) -> Rows:
    return dict(json.loads((FOLDER / f"{kind}-{version}.json").read_text(encoding="utf-8")))


def fits(signature: list[str], positional: int, named: set[str]) -> bool:
    names = [name.rstrip("=") for name in signature]
    required = {name for name in signature[positional:] if not name.endswith("=")}
    return positional <= len(names) and named <= set(names[positional:]) and required <= named


def checked(owner: str, signatures: list[list[str]], function: Any) -> Any:
    """The function, refusing arguments that the real one would refuse."""

    def call(*arguments: Any, **named: Any) -> Any:
        if not any(fits(signature, len(arguments), set(named)) for signature in signatures):
            raise TypeError(f"{owner} takes {signatures}, not {arguments} {named}")
        return function(*arguments, **named)

    return call


def guarded(name: str, rows: Rows, implementation: type) -> type:
    """A subclass that shows only what ``rows`` has; names with an underscore are the fake's own."""

    class Guarded(implementation):  # type: ignore[misc, valid-type]
        def __getattribute__(self, attribute: str) -> Any:
            if attribute.startswith("_"):
                return super().__getattribute__(attribute)
            if attribute not in rows:
                raise AttributeError(f"{name} has no {attribute}")
            value = super().__getattribute__(attribute)
            signatures = rows[attribute]
            return checked(f"{name}.{attribute}", signatures, value) if isinstance(signatures, list) else value

        def __setattr__(self, attribute: str, value: Any) -> None:
            if not attribute.startswith("_") and rows.get(attribute) != "settable":
                raise AttributeError(f"{name}.{attribute} cannot be set")
            super().__setattr__(attribute, value)

    Guarded.__name__ = Guarded.__qualname__ = name
    return Guarded
