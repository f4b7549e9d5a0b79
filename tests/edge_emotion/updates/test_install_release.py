"""Installation of releases: what comes in, what is refused, and what stays when it breaks off."""

from __future__ import annotations

import json
import os
import random
import resource
import shutil
import signal
import sys
import tarfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from support.crashing_model import crashing_model
from support.releases import Workshop, as_tar, long_ago, workshop

from edge_emotion.cli.main import main
from edge_emotion.errors import EdgeEmotionError, SinkError
from edge_emotion.factory.models import make_classifier
from edge_emotion.updates import install as install_module
from edge_emotion.updates.description import DESCRIPTION, MAX_RELEASE, SIGNATURE
from edge_emotion.updates.install import install
from edge_emotion.updates.minisign import read_public_key
from edge_emotion.updates.secret_key import make_key_pair, read_secret_key


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    return workshop(tmp_path_factory.mktemp("workshop"))


@pytest.fixture
def models(shop: Workshop, tmp_path: Path) -> Path:
    """A folder of models in which serial 5 is in use."""
    folder = tmp_path / "models"
    install(shop.release(5), folder, [read_public_key(shop.public)])
    return folder


@pytest.fixture(scope="module")
def untouched(shop: Workshop, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of models in which serial 5 is in use, for tests in which nothing of it may change."""
    folder = tmp_path_factory.mktemp("models")
    install(shop.release(5), folder, [read_public_key(shop.public)])
    return folder


def content(models: Path) -> dict[Path, bytes | Path]:
    """Everything in a folder of models: contents of files, and where links lead."""
    paths = [path for path in models.rglob("*") if path.is_symlink() or path.is_file()]
    return {path: path.readlink() if path.is_symlink() else path.read_bytes() for path in paths}


def serial(models: Path) -> int:
    """The serial of the model in use, whose files are all there."""
    assert make_classifier(str(models / "tiny")).manifest.name == "tiny"
    found: int = json.loads((models / "tiny" / DESCRIPTION).read_text())["serial"]
    return found


def run(models: Path, shop: Workshop, release: Path, *options: str) -> int:
    return main(["install", str(release), "--trust", str(shop.public), "--models", str(models), *options])


def only_line(capsys: pytest.CaptureFixture[str]) -> str:
    (line,) = capsys.readouterr().err.splitlines()
    return line


def test_a_release_becomes_the_model_in_use_and_the_one_before_it_comes_back(
    shop: Workshop, models: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(models, shop, as_tar(shop.release(6))) == 0
    assert serial(models) == 6
    assert main(["install", "--back", "tiny", "--models", str(models)]) == 0
    assert serial(models) == 5
    assert "serial 5 again" in capsys.readouterr().out
    assert main(["install", "--back", "tiny", "--models", str(models)]) == 2
    assert "no release of tiny" in only_line(capsys)


def test_only_the_release_in_use_and_the_one_before_it_stay_on_the_disk(shop: Workshop, models: Path) -> None:
    for number in (6, 7, 7):
        assert run(models, shop, shop.release(number)) == 0
    kept = {path.name for path in (models / "tiny.releases").iterdir() if path.is_dir()}
    assert kept == {"6.1", "7.2"}


def test_the_highest_serial_is_kept_after_going_back_and_a_downgrade_has_to_be_asked_for(
    shop: Workshop, models: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(models, shop, shop.release(8)) == 0
    assert main(["install", "--back", "tiny", "--models", str(models)]) == 0
    capsys.readouterr()
    assert run(models, shop, shop.release(7)) == 12
    assert "older than serial 8" in only_line(capsys)
    assert run(models, shop, shop.release(7), "--downgrade") == 0
    assert serial(models) == 7
    (models / "tiny.releases" / "state.json").write_text("{")
    capsys.readouterr()
    assert run(models, shop, shop.release(9)) == 4
    assert "state.json is damaged" in only_line(capsys)


def test_keys_are_those_of_the_options_or_of_the_settings_and_two_during_a_change(
    shop: Workshop, models: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    new, public = make_key_pair(tmp_path / "new.key")
    release = shop.release(6, key=read_secret_key(new))
    assert run(models, shop, release, "--trust", str(public)) == 0
    settings = tmp_path / "settings.yaml"
    settings.write_text(f"cameras: {{c: {{source: 0}}}}\njsonl: {{}}\nupdate: {{keys: [{shop.public}]}}\n")
    words = ["--models", str(models), "--config", str(settings)]
    capsys.readouterr()
    assert main(["install", str(release), *words]) == 12
    assert "not trusted here" in only_line(capsys)
    assert main(["install", str(shop.release(7)), *words]) == 0
    capsys.readouterr()
    assert main(["install", str(release), "--models", str(models)]) == 2
    assert "no key is trusted" in only_line(capsys)


def test_without_the_library_of_signatures_one_line_has_the_command_that_installs_it(
    shop: Workshop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delitem(sys.modules, "edge_emotion.updates.minisign")
    monkeypatch.setitem(sys.modules, "nacl.exceptions", None)
    assert run(tmp_path, shop, tmp_path) == 5
    assert only_line(capsys).endswith("pip install '.[update]' in the clone, or edge-emotion[update]")


def test_a_release_without_the_precision_of_the_settings_is_refused(
    shop: Workshop, models: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = tmp_path / "settings.yaml"
    settings.write_text("cameras: {c: {source: 0}}\njsonl: {}\nclassifier: {precision: float16}\n")
    assert run(models, shop, shop.release(6), "--config", str(settings)) == 4
    assert "has no float16 file" in only_line(capsys)
    assert serial(models) == 5


def _old_serial(shop: Workshop, release: Path) -> None:
    shop.sign(release, serial=4)


def _expired(shop: Workshop, release: Path) -> None:
    shop.sign(release, expires=long_ago())


def _other_key(shop: Workshop, release: Path) -> None:
    secret, _ = make_key_pair(release / "other.key")
    shop._replace(key=read_secret_key(secret)).sign(release)


def _other_key_of_the_same_number(shop: Workshop, release: Path) -> None:
    secret, _ = make_key_pair(release / "other.key")
    shop._replace(key=read_secret_key(secret)._replace(number=shop.key.number)).sign(release)


def _description_of_another_signature(shop: Workshop, release: Path) -> None:
    (release / DESCRIPTION).write_bytes((release / DESCRIPTION).read_bytes().replace(b'"serial": 6', b'"serial": 9'))


def _changed_comment(shop: Workshop, release: Path) -> None:
    (release / SIGNATURE).write_bytes((release / SIGNATURE).read_bytes().replace(b"serial 6", b"serial 9"))


def _bad_base64(shop: Workshop, release: Path) -> None:
    head, first, *rest = (release / SIGNATURE).read_bytes().split(b"\n")
    (release / SIGNATURE).write_bytes(b"\n".join((head, first[:-3] + b"!!=", *rest)))


def _other_spelling_of_base64(shop: Workshop, release: Path) -> None:
    head, first, *rest = (release / SIGNATURE).read_bytes().split(b"\n")
    (release / SIGNATURE).write_bytes(b"\n".join((head, first + b"====", *rest)))


def _huge_signature(shop: Workshop, release: Path) -> None:
    (release / SIGNATURE).write_bytes(b"x" * 10_000)


def _signature_without_a_hash(shop: Workshop, release: Path) -> None:
    """Minisign's old kind, as in its documentation: of "test"."""
    (release / DESCRIPTION).write_bytes(b"test")
    (release / SIGNATURE).write_bytes(
        b"untrusted comment: signature from minisign secret key\n"
        b"RWQf6LRCGA9i59SLOFxz6NxvASXDJeRtuZykwQepbDEGt87ig1BNpWaVWuNrm73YiIiJbq71Wi+dP9eKL8OC351vwIasSSbXxwA=\n"
        b"trusted comment: timestamp:1555779966\tfile:test\n"
        b"QtKMXWyYcwdpZAlPF7tE2ENJkRd1ujvKjlj1m9RtHTBnZPa5WKU5uWRs5GoP5M/VqE81QFuMKI5k/SfNQUaOAA==\n"
    )


def _no_signature(shop: Workshop, release: Path) -> None:
    (release / SIGNATURE).unlink()


def _no_json(shop: Workshop, release: Path) -> None:
    shop.sign_text(release, b"[" * 20_000)


def _renamed_file(shop: Workshop, release: Path, name: str) -> None:
    text = (release / DESCRIPTION).read_bytes()
    shop.sign_text(release, text.replace(b"tiny_int8.tflite", name.encode()))


def _file_outside(shop: Workshop, release: Path) -> None:
    shutil.copy(release / "tiny_int8.tflite", release.parent / "outside.tflite")
    _renamed_file(shop, release, "../outside.tflite")


def _file_at_an_absolute_path(shop: Workshop, release: Path) -> None:
    _renamed_file(shop, release, str(release / "tiny_int8.tflite"))


def _name_outside(shop: Workshop, release: Path) -> None:
    shop.sign_text(release, (release / DESCRIPTION).read_bytes().replace(b'"name": "tiny"', b'"name": "../tiny"'))


def _signed_huge_file(shop: Workshop, release: Path) -> None:
    text = (release / DESCRIPTION).read_bytes()
    size = (release / "tiny_int8.tflite").stat().st_size
    shop.sign_text(release, text.replace(f'"size": {size}'.encode(), f'"size": {MAX_RELEASE}'.encode()))


def _link(shop: Workshop, release: Path) -> None:
    (release / "tiny_int8.tflite").rename(release.parent / "target")
    (release / "tiny_int8.tflite").symlink_to(release.parent / "target")


def _pipe(shop: Workshop, release: Path) -> None:
    (release / "manifest.json").unlink()
    os.mkfifo(release / "manifest.json")


def _missing_file(shop: Workshop, release: Path) -> None:
    (release / "tiny_int8.tflite").unlink()


def _truncated_file(shop: Workshop, release: Path) -> None:
    os.truncate(release / "tiny_int8.tflite", 1000)


def _endless_file(shop: Workshop, release: Path) -> None:
    os.truncate(release / "tiny_int8.tflite", 2**40)  # with holes, which take no room


def _swapped_file(shop: Workshop, release: Path) -> None:
    path = release / "tiny_int8.tflite"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


def _newer_runtime(shop: Workshop, release: Path) -> None:
    shop.sign(release, minimum_runtime="99.0.0")


def _other_version(shop: Workshop, release: Path) -> None:
    shop.sign(release, version="99.0.0")


@pytest.mark.parametrize(
    ("attack", "code", "said"),
    [
        (_old_serial, 12, "older than serial 5"),
        (_expired, 12, "has expired on 2020-01-01"),
        (_other_key, 12, "which is not trusted here"),
        (_other_key_of_the_same_number, 12, "the release has a signature that does not belong to it"),
        (_description_of_another_signature, 12, "the release has a signature that does not belong to it"),
        (_changed_comment, 12, "the release has a signature that does not belong to it"),
        (_bad_base64, 12, "the signature of the release cannot be read"),
        (_other_spelling_of_base64, 12, "the signature of the release cannot be read"),
        (_huge_signature, 12, "larger than 4096 bytes"),
        (_signature_without_a_hash, 12, "its algorithm is not Ed25519 over a hash"),
        (_no_signature, 12, "cannot read"),
        (_no_json, 12, "release.json: release:"),
        (_file_outside, 12, "release.json: files.1.name:"),
        (_file_at_an_absolute_path, 12, "release.json: files.1.name:"),
        (_name_outside, 12, "release.json: name:"),
        (_signed_huge_file, 12, "are the most"),
        (_link, 12, "cannot read"),
        (_pipe, 12, "it is no regular file"),
        (_missing_file, 12, "cannot read"),
        (_truncated_file, 4, "is truncated"),
        (_endless_file, 4, "is larger than the signed"),
        (_swapped_file, 4, "another content than the signed one"),
        (_newer_runtime, 4, "needs edge-emotion 99.0.0"),
        (_other_version, 4, "contains tiny"),
    ],
)
def test_an_attack_ends_in_one_line_and_the_old_model_stays(
    shop: Workshop,
    untouched: Path,
    capsys: pytest.CaptureFixture[str],
    attack: Callable[[Workshop, Path], None],
    code: int,
    said: str,
) -> None:
    release = shop.release(6)
    attack(shop, release)
    before = content(untouched)
    assert run(untouched, shop, release) == code
    assert said in only_line(capsys)
    assert content(untouched) == before
    assert not (untouched / "tiny.releases" / "new.part").exists()


@pytest.mark.parametrize("name", ["../outside", "/outside", "folder/file", ".hidden"])
def test_a_tar_file_with_members_elsewhere_is_refused(
    shop: Workshop, untouched: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    release = as_tar(shop.release(6), (tarfile.TarInfo(name), shop.public))
    assert run(untouched, shop, release) == 12
    assert "which does not belong there" in only_line(capsys)
    assert serial(untouched) == 5


def test_links_doubles_and_damage_in_a_tar_file_are_refused(
    shop: Workshop, models: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    link, double = tarfile.TarInfo("NOTICE"), tarfile.TarInfo("manifest.json")
    link.type, link.linkname = tarfile.SYMTYPE, "/etc/hostname"
    for member, content in ((link, None), (double, shop.public)):
        assert run(models, shop, as_tar(shop.release(6), (member, content))) == 12
        assert "which does not belong there" in only_line(capsys)
    for size in (-(2**40), 2**80):
        numbers = tarfile.TarInfo("NOTICE")
        numbers.size = size
        (shop.folder / "size.tar").write_bytes(numbers.tobuf(tarfile.GNU_FORMAT))
        assert run(models, shop, shop.folder / "size.tar") == 12
        assert "which does not belong there" in only_line(capsys)
    long = tarfile.TarInfo("NOTICE")
    long.type = tarfile.GNUTYPE_LONGNAME
    assert run(models, shop, as_tar(shop.release(6), (long, shop.public))) == 12
    assert "which does not belong there" in only_line(capsys)
    whole = as_tar(shop.release(6))
    for size in (0, 100, 5_000, whole.stat().st_size // 2):
        cut = shop.folder / "cut.tar"
        cut.write_bytes(whole.read_bytes()[:size])
        assert run(models, shop, cut) in (4, 12), size
        only_line(capsys)
    assert run(models, shop, shop.folder / "none") == 2
    assert serial(models) == 5


def test_a_tar_file_with_random_damage_is_refused_or_gives_exactly_what_was_signed(
    shop: Workshop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "fsync", lambda _: None)
    monkeypatch.setattr(install_module, "_try", lambda *_: None)  # no damage gets as far as that
    release = shop.release(6)
    whole, keys = as_tar(release).read_bytes(), [read_public_key(shop.public)]
    heads = [place for place in range(0, len(whole), 512) if whole[place + 257 : place + 262] == b"ustar"]
    draw, outcomes = random.Random(1), set()
    for _ in range(150):
        damaged = bytearray(whole)
        damaged[draw.choice(heads) + draw.randrange(1500)] = draw.randrange(256)
        (tmp_path / "damaged.tar").write_bytes(damaged)
        try:
            install(tmp_path / "damaged.tar", tmp_path / "models", keys)
        except EdgeEmotionError as error:
            outcomes.add(error.exit_code)
            continue
        outcomes.add(0)
        installed = tmp_path / "models" / "tiny"
        for file in release.iterdir():  # of the signature's first line nobody promises anything
            assert file.name == SIGNATURE or (installed / file.name).read_bytes() == file.read_bytes()
    assert outcomes == {0, 4, 12}


def test_a_signed_model_that_computes_something_else_or_crashes_does_not_come_in(
    shop: Workshop, models: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    liar = shutil.copytree(shop.model, tmp_path / "liar")
    manifest = json.loads((liar / "manifest.json").read_text())
    golden = manifest["files"][0]["golden"]
    golden["expected"] = [[value + 1 for value in row] for row in golden["expected"]]
    (liar / "manifest.json").write_text(json.dumps(manifest))
    assert run(models, shop, shop.release(6, liar)) == 4
    assert "computes something else here" in only_line(capsys)
    assert run(models, shop, shop.release(6, crashing_model(tmp_path / "crashing"))) == 4
    assert "ends the process that runs it" in only_line(capsys)
    assert serial(models) == 5


def test_what_is_not_ours_is_not_replaced(shop: Workshop, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "tiny").mkdir()
    for _ in range(2):
        assert run(tmp_path, shop, shop.release(6)) == 2
        assert "was not made by edge-emotion install" in only_line(capsys)
        shutil.rmtree(tmp_path / "tiny", ignore_errors=True)
        if not (tmp_path / "tiny").is_symlink():
            (tmp_path / "tiny").symlink_to(shop.model)
    assert (tmp_path / "tiny").readlink() == shop.model


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """Writing more than ``size`` bytes into a file fails, as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_disk_that_is_full_leaves_the_old_model(
    shop: Workshop, models: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    before, release = content(models), shop.release(6)
    with largest_file(100_000):
        assert run(models, shop, release) == 6
    assert "the model in use stays as it is" in only_line(capsys)
    assert content(models) == before
    monkeypatch.setattr(install_module, "SPARE", 2**62)
    with pytest.raises(SinkError, match=r"has \d+ left"):
        install(release, models, [read_public_key(shop.public)])
    assert serial(models) == 5


STEPS = {"os.rename", "os.symlink", "os.mkdir", "os.remove", "os.rmdir"}
"""Audit events at which a process is killed: before it renames, makes, removes, or opens for writing."""


def changes_the_disk(event: str, arguments: tuple[Any, ...]) -> bool:
    return event in STEPS or (event == "open" and bool((arguments[2] or 0) & (os.O_WRONLY | os.O_RDWR)))


def killed_at(step: int, work: Callable[[], object]) -> bool:
    """Run ``work`` in a forked process that ends itself by SIGKILL at this step; False if it ended before."""
    process = os.fork()
    if not process:
        left = step

        def hook(event: str, arguments: tuple[Any, ...]) -> None:
            nonlocal left
            if not changes_the_disk(event, arguments):
                return
            left -= 1
            if left < 0:
                os.kill(os.getpid(), signal.SIGKILL)

        sys.addaudithook(hook)
        try:
            work()
        finally:
            os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) == -signal.SIGKILL


def test_kill_9_at_any_step_leaves_a_whole_model_and_the_next_installation_works(
    shop: Workshop, models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    release, keys = shop.release(6), [read_public_key(shop.public)]
    monkeypatch.setattr(install_module, "_try", lambda *_: None)  # interpreters do not survive a fork
    monkeypatch.setattr(os, "fsync", lambda _: None)  # what a process has written survives it
    whole = {file.name for file in (models / "tiny").iterdir()}
    found: list[int] = []
    for step in range(200):
        trial = shutil.copytree(models, models.with_name(f"at-{step}"), symlinks=True)
        if not killed_at(step, lambda: install(release, trial, keys)):  # noqa: B023 - used at once
            break
        found.append(json.loads((trial / "tiny" / DESCRIPTION).read_text())["serial"])
        assert {file.name for file in (trial / "tiny").iterdir()} == whole
        install(release, trial, keys)
        assert json.loads((trial / "tiny" / DESCRIPTION).read_text())["serial"] == 6
        assert {path.name for path in (trial / "tiny.releases").iterdir() if path.is_dir()} <= {"5.1", "6.1", "6.2"}
        shutil.rmtree(trial)
    assert found == sorted(found)
    assert set(found) == {5, 6}
