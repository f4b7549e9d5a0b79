"""Documents: links, anchors, paths and commands in them lead somewhere, and README's commands run."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.command_help import commands_of, options_of
from support.paths import ROOT

from edge_emotion import __version__
from edge_emotion.cli.main import main

DOCUMENTS = sorted(
    [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "deploy").rglob("*.md")], key=lambda path: path.parts
)
FENCE = re.compile(r"^( *)```.*?^\1```", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^)\s]+)\)")
PATH = re.compile(
    r"(?<![\w./-])(?:(?:deploy|docs|examples|scripts|tests)/[\w./*-]*[\w*]"
    r"|(?:edge_emotion|train|convert|benchmarks)/[\w./*-]+\.(?:py|mp4|json))"
)
PROGRAM = re.compile(
    r"(?:^ *|`|bin/|-u edge-emotion )(edge-emotion|python -m (?:train|convert|benchmarks)) +([a-z][\w-]*)([^#|`\n]*)",
    re.MULTILINE,
)
NAME = re.compile(r"(?<![\w./-])(?:edge_emotion|train|convert|benchmarks)(?:\.[A-Za-z_]\w*)+(?!\w)")
LEFT_OUT_BY_GIT = "deploy/containers/private"


def place(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def anchors(text: str) -> set[str]:
    """The anchors that GitHub gives to the headings."""
    found: dict[str, int] = {}
    for heading in re.findall(r"^#+ +(.+?) *$", FENCE.sub("", text), re.MULTILINE):
        shown = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading)
        anchor = re.sub(r"[^\w\- ]", "", shown.lower()).replace(" ", "-")
        count = found[anchor] = found.get(anchor, -1) + 1
        if count:
            found[f"{anchor}-{count}"] = 0
    return set(found)


def broken_links(document: Path) -> Iterator[str]:
    for target in LINK.findall(FENCE.sub("", document.read_text(encoding="utf-8"))):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, anchor = target.partition("#")
        file = document.parent / name if name else document
        if not file.exists():
            yield f"{target}: no such file"
        elif anchor and anchor not in anchors(file.read_text(encoding="utf-8")):
            yield f"{target}: no such heading"


@pytest.mark.parametrize("document", DOCUMENTS, ids=place)
def test_every_link_leads_to_a_file_and_a_heading(document: Path) -> None:
    assert list(broken_links(document)) == []


def test_links_to_missing_files_and_headings_are_found(tmp_path: Path) -> None:
    (tmp_path / "other.md").write_text(
        "# A *title*, `code` (and more)\n\n# Twice\n\n# Twice\n\n```\n# No heading\n```\n"
    )
    document = tmp_path / "one.md"
    document.write_text(
        "[a](other.md#a-title-code-and-more) [b](other.md#twice-1) [c](https://example.org/x#y) [d\nd](gone.md)\n"
        "[e](other.md#no-heading) [f](#here) ![g](gone.png)\n\n```\n[h](in-code.md)\n```\n\n## Here\n"
    )
    assert [each.split(":")[0] for each in broken_links(document)] == ["gone.md", "other.md#no-heading", "gone.png"]


def test_the_index_links_to_every_page_and_every_decision() -> None:
    index = ROOT / "docs" / "index.md"
    linked = {(index.parent / target).resolve() for target in LINK.findall(index.read_text(encoding="utf-8"))}
    assert {path for path in (ROOT / "docs").rglob("*.md") if path != index} <= linked


def test_every_picture_of_the_documents_is_shown_in_one() -> None:
    shown = {
        (document.parent / target).resolve()
        for document in DOCUMENTS
        for target in LINK.findall(document.read_text(encoding="utf-8"))
    }
    pictures = {path for path in (ROOT / "docs").rglob("*") if path.suffix in {".png", ".svg", ".jpg"}}
    assert pictures and pictures <= shown


@pytest.mark.parametrize("document", DOCUMENTS, ids=place)
def test_every_file_of_the_repository_that_a_document_names_is_there(document: Path) -> None:
    text = LINK.sub("", document.read_text(encoding="utf-8"))
    named = {name for name in PATH.findall(text) if not name.startswith(LEFT_OUT_BY_GIT)}
    assert [name for name in sorted(named) if not any(ROOT.glob(name))] == []


def is_defined(name: str) -> bool:
    """Whether a dotted name is a module, or is defined in one at its top level."""
    parts = name.split(".")
    if any(ROOT.joinpath(*parts).with_suffix(suffix).exists() for suffix in ("", ".py")):
        return True
    module = ROOT.joinpath(*parts[:-1])
    files = [file for file in (module.with_suffix(".py"), module / "__init__.py") if file.is_file()]
    return any(
        re.search(rf"^(?:def|class) {parts[-1]}\b|^{parts[-1]}\b", file.read_text(), re.MULTILINE) for file in files
    )


def test_every_python_name_that_a_document_shows_is_defined() -> None:
    named = {
        (place(document), name)
        for document in DOCUMENTS
        for name in NAME.findall(LINK.sub("", document.read_text(encoding="utf-8")))
        if not name.endswith((".py", ".md"))
    }
    assert len({name for _, name in named}) >= 5
    assert [(document, name) for document, name in sorted(named) if not is_defined(name)] == []


def test_every_document_that_a_source_file_names_is_there() -> None:
    folders = ("edge_emotion", "train", "convert", "benchmarks", "deploy", "examples", "scripts", "tests")
    kinds = {".py", ".sh", ".yaml", ".conf", ".service", ".sql", ".toml"}
    files = [path for folder in folders for path in (ROOT / folder).rglob("*") if path.suffix in kinds]
    named = {
        (place(path), name)
        for path in [*files, ROOT / "pyproject.toml", ROOT / "Makefile"]
        for name in re.findall(r"docs/[\w./-]*\.(?:md|svg|png)", path.read_text(encoding="utf-8"))
    }
    assert len(named) >= 10
    assert [(path, name) for path, name in sorted(named) if not (ROOT / name).is_file()] == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=place)
def test_every_command_that_a_document_shows_exists_and_has_the_options_that_are_shown(document: Path) -> None:
    text = document.read_text(encoding="utf-8").replace("\\\n", " ")
    code = "\n".join([*(block[0] for block in FENCE.finditer(text)), *re.findall(r"`[^`\n]+`", FENCE.sub("", text))])
    for program, first, rest in PROGRAM.findall(code):
        action = f"{first} {''.join(rest.split()[:1])}"
        command = action if action in commands_of(program) else first
        known = commands_of(program) | {full.partition(" ")[0] for full in commands_of(program)}
        assert command in known, f"{program} {command}"
        assert options_of(program, command) >= set(re.findall(r"(?<=\s)--[a-z][a-z-]*", rest)), f"{command}{rest}"


def test_a_newcomer_can_finish_the_readme() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 120


def commands_of_the_readme() -> list[str]:
    """Those that need no camera, no broker and no package index."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    lines = [line.split("#")[0].strip() for block in FENCE.finditer(text) for line in block[0].splitlines()]
    return [line for line in lines if re.match(r"edge-emotion (classify|models|check-config)\b", line)]


def test_the_commands_of_the_readme_run_as_they_stand_there(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(ROOT)
    commands = commands_of_the_readme()
    assert {shlex.split(command)[1] for command in commands} == {"classify", "models", "check-config"}
    for command in commands:
        assert main(shlex.split(command)[1:]) == 0, command
        assert capsys.readouterr().out


def test_the_changelog_has_an_entry_for_this_version() -> None:
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert re.search(rf"^## \[{re.escape(__version__)}\] - \d{{4}}-\d\d-\d\d$", changelog, re.MULTILINE)
