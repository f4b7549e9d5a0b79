"""``constraints.txt``: the versions with which tests and checks run."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from support.paths import ROOT

LINES = (ROOT / "constraints.txt").read_text().splitlines()
PYTHONS = ("3.10", "3.11", "3.12", "3.13")


def declared() -> Iterator[Requirement]:
    """What pyproject.toml asks for, with its wide ranges; read without a parser, as Python 3.10 has none."""
    text = (ROOT / "pyproject.toml").read_text()
    extras, groups = ("completion", "demo", "onnx", "update", "web"), ("train", "convert", "test", "arm64", "check")
    for name in ("dependencies", *extras, *groups):
        (body,) = re.findall(rf"^{name} = \[(.*?)\](?:  #[^\n]*)?\n", text, re.MULTILINE | re.DOTALL)
        found = (Requirement(entry) for entry in re.findall(r'"([^"]+)"', re.sub(r"\{.*?\}", "", body)))
        yield from (one for one in found if one.name != "edge-emotion")


def environment(python: str) -> dict[str, str]:
    return {"python_version": python, "python_full_version": python + ".0", "platform_machine": "x86_64"}


@pytest.mark.parametrize("python", PYTHONS)
def test_every_package_that_is_declared_has_one_version_within_its_range(python: str) -> None:
    here = [one for one in map(Requirement, LINES) if one.marker is None or one.marker.evaluate(environment(python))]
    versions = {canonicalize_name(one.name): str(one.specifier).removeprefix("==") for one in here}
    assert len(versions) == len(here)
    wanted = [one for one in declared() if one.marker is None or one.marker.evaluate(environment(python))]
    assert len(wanted) > 30
    for one in wanted:
        assert one.specifier.contains(versions[canonicalize_name(one.name)], prereleases=True), one


def test_constraints_are_exact_and_name_no_place() -> None:
    assert all(re.fullmatch(r"[a-z0-9-]+==[a-z0-9.]+( ; .+)?", line) for line in LINES)
    assert not [line for line in LINES if "://" in line]
