"""The pictures of the folders: drawn from the imports, and the committed ones are up to date."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType
from xml.etree import ElementTree

import pytest
from support.paths import ROOT


@pytest.fixture(scope="module")
def rooms() -> ModuleType:
    spec = importlib.util.spec_from_file_location("draw_rooms", ROOT / "scripts" / "draw_rooms.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def package(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = folder / "house" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder / "house"


HOUSE = {
    "__init__.py": "",
    "values.py": "import json\n",
    "low/__init__.py": "",
    "low/a.py": "from house.values import x\nfrom house.low.b import y\n",
    "low/b.py": "",
    "high/deep/c.py": "def late():\n    from house import low\n    import house.values\n",
}


def test_the_committed_pictures_show_the_imports_of_today(rooms: ModuleType) -> None:
    assert rooms.main(["--check"]) == 0, "run python scripts/draw_rooms.py"


def test_imports_between_folders_are_read_from_the_files(rooms: ModuleType, tmp_path: Path) -> None:
    graph = rooms.read_imports(package(tmp_path, HOUSE))
    assert graph == {"values": frozenset(), "low": frozenset({"values"}), "high": frozenset({"low", "values"})}
    assert rooms.heights(graph) == {"values": 0, "low": 1, "high": 2}
    assert rooms.essential(graph)["high"] == {"low"}


def test_another_import_gives_another_picture(rooms: ModuleType, tmp_path: Path) -> None:
    house = package(tmp_path, HOUSE)
    before = rooms.draw("house", rooms.read_imports(house))
    package(tmp_path, {"low/a.py": ""})
    assert rooms.draw("house", rooms.read_imports(house)) != before


def test_folders_that_import_each_other_are_refused(rooms: ModuleType, tmp_path: Path) -> None:
    house = package(tmp_path, {**HOUSE, "values.py": "import house.high.deep.c\n"})
    with pytest.raises(ValueError, match="import each other"):
        rooms.read_imports(house)


@pytest.mark.parametrize("name", ["edge_emotion", "train", "convert", "benchmarks"])
def test_a_picture_is_well_formed_and_its_arrows_lead_down(rooms: ModuleType, name: str) -> None:
    graph = rooms.read_imports(ROOT / name)
    picture = ElementTree.fromstring(rooms.draw(name, graph))
    space = {"svg": "http://www.w3.org/2000/svg"}
    assert {text.text for text in picture.findall(".//svg:text", space)} == set(graph)
    arrows = [
        path.get("d", "").replace("M", " ").replace("C", " ").split() for path in picture.findall("svg:path", space)
    ]
    assert len(arrows) == sum(map(len, rooms.essential(graph).values()))
    assert all(int(numbers[1]) < int(numbers[-1]) for numbers in arrows)


def test_the_architecture_page_describes_every_folder(rooms: ModuleType) -> None:
    text = (ROOT / "docs" / "explanation" / "architecture.md").read_text(encoding="utf-8")
    named = {f"`{name}`" for name in rooms.read_imports(ROOT / "edge_emotion")}
    for package in ("train", "convert", "benchmarks"):
        named |= {
            f"`{package}/{name}`" for name in rooms.read_imports(ROOT / package) if (ROOT / package / name).is_dir()
        }
    assert len(named) > 30
    assert [name for name in sorted(named) if name not in text] == []
