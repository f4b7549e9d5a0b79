"""Draws the folders of each package and the imports between them as SVG, from the imports themselves.

    python scripts/draw_rooms.py            # write docs/explanation/rooms/*.svg
    python scripts/draw_rooms.py --check    # exit code 1 if a file is not what the imports give

A room is a folder directly in the package, or a module directly in it. An arrow goes from a room to a room that it
imports. Each room stands above everything that it imports. Only arrows that do not follow from others are drawn; the
title of each room, which browsers show under the pointer, lists all of its imports.
"""

from __future__ import annotations

import argparse
import ast
import sys
from collections.abc import Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from itertools import pairwise
from pathlib import Path
from statistics import mean

ROOT = Path(__file__).parent.parent
PACKAGES = "edge_emotion", "train", "convert", "benchmarks"
PICTURES = ROOT / "docs" / "explanation" / "rooms"

Graph = Mapping[str, frozenset[str]]
"""Room -> the rooms that it imports."""

BOX, WIDTH, ROW, MARGIN, SWEEPS = 30, 136, 78, 20, 24
"""Height and width of a box, distance of rows and border, pixels; passes that reduce crossings of arrows."""

STYLE = (
    "rect{fill:#eef3f8;stroke:#33516e}text{font:14px sans-serif;fill:#1b2b3a;text-anchor:middle}"
    "path{fill:none;stroke:#7d93a8}.ground{fill:#ffffff;stroke:none}"
)


def main(arguments: list[str]) -> int:
    """Write the pictures, or compare them with those that are there."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing; exit code 1 if one is out of date")
    options = parser.parse_args(arguments)
    pictures = {PICTURES / f"{name}.svg": draw(name, read_imports(ROOT / name)) for name in PACKAGES}
    if not options.check:
        PICTURES.mkdir(exist_ok=True)
        for path, text in pictures.items():
            path.write_text(text, encoding="utf-8")
        return 0
    old = [path for path, text in pictures.items() if not path.is_file() or path.read_text(encoding="utf-8") != text]
    for path in old:
        print(f"{path.relative_to(ROOT)} does not show today's imports: run scripts/draw_rooms.py", file=sys.stderr)
    return 1 if old else 0


def read_imports(package: Path) -> dict[str, frozenset[str]]:
    """The graph of a package, read from its source files. Raises ValueError if two rooms import each other."""
    rooms = sorted({path.name.removesuffix(".py") for path in package.iterdir() if _is_room(path)})
    found: dict[str, set[str]] = {room: set() for room in rooms}
    for path in sorted(package.rglob("*.py")):
        room = path.relative_to(package).parts[0].removesuffix(".py")
        if room in found:
            found[room] |= {name for name in _imported_rooms(path, package.name) if name in found and name != room}
    graph = {room: frozenset(names) for room, names in found.items()}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        raise ValueError(f"rooms of {package.name} import each other: {' <- '.join(error.args[1])}") from None
    return graph


def _is_room(path: Path) -> bool:
    if path.is_dir():
        return any(path.rglob("*.py"))
    return path.suffix == ".py" and not path.name.startswith("__")


def _imported_rooms(path: Path, package: str) -> Iterator[str]:
    """Names of the rooms that a file imports, anywhere in it, ``if TYPE_CHECKING`` included."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module == package:
            names = [f"{package}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module or ""]
        else:
            continue
        yield from (name.split(".")[1] for name in names if name.startswith(f"{package}."))


def heights(graph: Graph) -> dict[str, int]:
    """Room -> its row from below: one more than the highest room that it imports."""
    height: dict[str, int] = {}
    for room in TopologicalSorter(graph).static_order():
        height[room] = max((height[name] + 1 for name in graph[room]), default=0)
    return height


def essential(graph: Graph) -> dict[str, frozenset[str]]:
    """The arrows that do not follow from others (transitive reduction)."""
    below: dict[str, frozenset[str]] = {}
    for room in TopologicalSorter(graph).static_order():
        below[room] = graph[room].union(*(below[name] for name in graph[room]))
    return {room: names - frozenset().union(*(below[name] for name in names)) for room, names in graph.items()}


def draw(package: str, graph: Graph) -> str:
    """The picture as SVG text. The same graph gives the same text on every machine."""
    chains = _chains(graph)
    rows = _sorted_rows(graph, chains)
    longest = max(map(len, rows))
    size = longest * (WIDTH + MARGIN) + MARGIN, len(rows) * ROW + MARGIN
    place = {
        name: (_round(size[0] * (index + 0.5) / len(row)), size[1] - (number + 1) * ROW + (ROW - BOX) // 2)
        for number, row in enumerate(rows)
        for index, name in enumerate(row)
    }
    arrows = [_arrow([place[name] for name in chain]) for chain in chains]
    boxes = [_box(room, *place[room], sorted(graph[room])) for room in sorted(graph)]
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {size[0]} {size[1]}" width="{size[0]}" '
            f'height="{size[1]}" role="img">',
            f"<title>Folders of {package}: each imports only what is below it</title>",
            f"<style>{STYLE}</style>",
            '<defs><marker id="tip" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
            '<path d="M0 0L8 4L0 8z" style="fill:#7d93a8;stroke:none"/></marker></defs>',
            f'<rect class="ground" width="{size[0]}" height="{size[1]}"/>',
            *arrows,
            *boxes,
            "</svg>\n",
        ]
    )


def _chains(graph: Graph) -> list[list[str]]:
    """Each drawn arrow as its two rooms and a point in every row between them, through which it bends."""
    height = heights(graph)
    return [
        [room, *(f"{room} > {name} {row}" for row in range(height[room] - 1, height[name], -1)), name]
        for room, names in sorted(essential(graph).items())
        for name in sorted(names)
    ]


def _sorted_rows(graph: Graph, chains: list[list[str]]) -> list[list[str]]:
    """Names from left to right, the lowest row first; each stands near its neighbours, so that few arrows cross."""
    height = heights(graph)
    rows: list[list[str]] = [[] for _ in range(max(height.values()) + 1)]
    for room in sorted(graph):
        rows[height[room]].append(room)
    neighbours: dict[str, list[str]] = {room: [] for room in graph}
    for chain in chains:
        for number, name in enumerate(chain[1:-1], start=1):
            rows[height[chain[0]] - number].append(name)
        for upper, lower in pairwise(chain):
            neighbours.setdefault(upper, []).append(lower)
            neighbours.setdefault(lower, []).append(upper)
    for _ in range(SWEEPS):
        for row in rows:
            at = {name: (index + 0.5) / len(line) for line in rows for index, name in enumerate(line)}
            row.sort(key=lambda name: (mean([at[each] for each in neighbours[name]] or [at[name]]), name))
    return rows


def _arrow(points: list[tuple[int, int]]) -> str:
    """A line from the lower edge of the first box through the points to the upper edge of the last one."""
    (x, y), *middle, end = points
    y, bend = y + BOX, ROW // 3
    path = f"M{x} {y}"
    for next_x, next_y in [*((mid_x, mid_y + BOX // 2) for mid_x, mid_y in middle), end]:
        path += f"C{x} {y + bend} {next_x} {next_y - bend} {next_x} {next_y}"
        x, y = next_x, next_y
    return f'<path d="{path}" marker-end="url(#tip)"/>'


def _box(room: str, x: int, y: int, imports: list[str]) -> str:
    title = f"{room} imports {', '.join(imports)}" if imports else f"{room} imports none of the others"
    return (
        f'<g><title>{title}</title><rect x="{x - WIDTH // 2}" y="{y}" width="{WIDTH}" height="{BOX}" rx="5"/>'
        f'<text x="{x}" y="{y + 20}">{room}</text></g>'
    )


def _round(value: float) -> int:
    return int(value + 0.5)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
