"""Imports of a checkout's own modules, read from the source: between files, between rooms, circles among them."""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple


class Arrow(NamedTuple):
    """``importer`` imports ``imported``, both dotted names of modules; at any place, also for types only."""

    importer: str
    imported: str


def module_name(path: Path, root: Path) -> str:
    """The dotted name of a file below ``root``; of a package that of its folder."""
    parts = path.relative_to(root).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def sources(root: Path, packages: Sequence[str]) -> dict[str, Path]:
    """Every module of these packages by its dotted name."""
    return {module_name(path, root): path for package in packages for path in sorted((root / package).rglob("*.py"))}


@cache
def imported_names(path: Path) -> tuple[str, ...]:
    """Dotted names of all imports of a file, wherever they stand: ``from a import b`` gives ``a.b``."""
    found: list[str] = []
    for node in _nodes(path):
        if isinstance(node, ast.Import):
            found.extend(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}: imports are absolute"
            found.extend(f"{node.module}.{alias.name}" for alias in node.names)
    return tuple(found)


@cache
def _nodes(path: Path) -> tuple[ast.Import | ast.ImportFrom | ast.Call, ...]:
    """The imports and calls of a file, which is parsed once."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return tuple(node for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom | ast.Call))


def arrows(modules: Mapping[str, Path]) -> list[Arrow]:
    """Who imports whom among these modules; a name that is imported from a module counts for that module."""
    found = set()
    for module, path in modules.items():
        for name in imported_names(path):
            known = name if name in modules else name.rpartition(".")[0]
            if known in modules and known != module:
                found.add(Arrow(module, known))
    return sorted(found)


def hidden_imports(modules: Mapping[str, Path]) -> list[str]:
    """Imports of our own modules by a string: ``import_module("package...")`` and ``__import__``."""
    packages = {name.partition(".")[0] for name in modules}
    found = []
    for module, path in modules.items():
        for node in _nodes(path):
            if isinstance(node, ast.Call) and _callee(node) in ("import_module", "__import__"):
                texts = [part.value for argument in node.args for part in ast.walk(argument) if _is_text(part)]
                if any(str(text).partition(".")[0] in packages for text in texts):
                    found.append(f"{module}, line {node.lineno}")
    return found


def room(module: str) -> str:
    """The folder of a module, ``package/folder``; a file at the top of its package is a room of its own."""
    return "/".join(module.split(".")[:2])


def against_the_order(found: Sequence[Arrow], order: Sequence[set[str]]) -> list[Arrow]:
    """Arrows between rooms of one package that do not lead to an earlier level. Raises KeyError for an unknown room."""
    rank = {name: level for level, names in enumerate(order) for name in names}
    between = [arrow for arrow in found if room(arrow.importer) != room(arrow.imported)]
    inside = [arrow for arrow in between if arrow.importer.partition(".")[0] == arrow.imported.partition(".")[0]]
    return [arrow for arrow in inside if rank[room(arrow.imported)] >= rank[room(arrow.importer)]]


def circles(found: Sequence[Arrow]) -> list[list[str]]:
    """Groups of modules that import each other, directly or through others (strongly connected components)."""
    following: dict[str, list[str]] = {}
    for arrow in found:
        following.setdefault(arrow.importer, []).append(arrow.imported)
    reached = {name: _reachable(name, following) for name in following}
    groups = {frozenset(b for b in names if a in reached.get(b, ())) for a, names in reached.items() if a in names}
    return sorted(sorted(group) for group in groups)


def _reachable(start: str, following: Mapping[str, Sequence[str]]) -> set[str]:
    seen: set[str] = set()
    waiting = [start]
    while waiting:
        fresh = [name for name in following.get(waiting.pop(), ()) if name not in seen]
        seen.update(fresh)
        waiting.extend(fresh)
    return seen


def _callee(call: ast.Call) -> str:
    return call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")


def _is_text(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str)
