"""Releases over HTTPS: resumed, bounded, and refused where something else comes than was ordered."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.broker import Authority
from support.orders import order_of
from support.release_server import ReleaseServer
from support.releases import Workshop, workshop

from edge_emotion.errors import ConfigError, EdgeEmotionError, ModelError, ReleaseRefused, SinkError
from edge_emotion.updates import fetch as fetch_module
from edge_emotion.updates.description import DESCRIPTION, MAX_DESCRIPTION
from edge_emotion.updates.fetch import fetch
from edge_emotion.updates.https_request import FetchFailed, Pace
from edge_emotion.updates.install import install
from edge_emotion.updates.minisign import read_public_key
from edge_emotion.wire.model_order import ModelOrder

QUICK = Pace(wait=0.3, answer=0.6, slowest=2**20)


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    return workshop(tmp_path_factory.mktemp("workshop"))


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("tls") / "authority")


@pytest.fixture(scope="module")
def https(shop: Workshop, authority: Authority) -> Iterator[ReleaseServer]:
    server = ReleaseServer(shop.folder / "releases", authority)
    yield server
    server.close()


@pytest.fixture
def release(shop: Workshop, https: ReleaseServer) -> Path:
    https.behave()
    return shop.release(7)


@pytest.fixture
def order(release: Path, https: ReleaseServer) -> ModelOrder:
    return order_of(release, https.address)


def largest(release: Path) -> Path:
    return max((file for file in release.iterdir() if file.suffix == ".tflite"), key=lambda file: file.stat().st_size)


def test_a_release_comes_over_https_and_can_be_installed(
    order: ModelOrder, shop: Workshop, authority: Authority, tmp_path: Path
) -> None:
    fetched = fetch(order, tmp_path / "tiny.releases", authority.certificate)
    keys = [read_public_key(shop.public)]
    assert install(fetched, tmp_path, keys, ordered=order.release.sha256).serial == 7
    assert not fetched.exists(), "the download is removed with the installation"


def test_a_cut_connection_keeps_what_came_and_the_next_attempt_asks_for_the_rest(
    order: ModelOrder, release: Path, https: ReleaseServer, authority: Authority, tmp_path: Path
) -> None:
    file = largest(release)
    https.faults.cut_after[file.name] = 100_000
    with pytest.raises(FetchFailed, match=f"^https://127.0.0.1:[0-9]+/tiny-7/{file.name}: [^\n]*broke off"):
        fetch(order, tmp_path, authority.certificate)
    fetched = fetch(order, tmp_path, authority.certificate)
    assert (f"/tiny-7/{file.name}", "bytes=100000-") in https.requests
    assert (fetched / file.name).read_bytes() == file.read_bytes()
    https.requests.clear()
    fetch(order, tmp_path, authority.certificate)
    assert {Path(path).name for path, _ in https.requests} == {DESCRIPTION, "release.json.minisig"}


def test_a_server_without_ranges_sends_the_whole_file_again(
    order: ModelOrder, release: Path, https: ReleaseServer, authority: Authority, tmp_path: Path
) -> None:
    file = largest(release)
    https.faults.cut_after[file.name] = 100_000
    with pytest.raises(FetchFailed):
        fetch(order, tmp_path, authority.certificate)
    https.faults.whole = https.faults.without_length = True
    assert (fetch(order, tmp_path, authority.certificate) / file.name).read_bytes() == file.read_bytes()


def test_a_file_that_changes_between_two_attempts_is_fetched_anew(
    order: ModelOrder, release: Path, https: ReleaseServer, authority: Authority, tmp_path: Path
) -> None:
    file = largest(release)
    (target := tmp_path / f"download-{order.release.sha256[:16]}").mkdir()
    (target / file.name).write_bytes(b"\0" * 1000)
    with pytest.raises(FetchFailed, match="fetched anew"):
        fetch(order, tmp_path, authority.certificate)
    assert (fetch(order, tmp_path, authority.certificate) / file.name).read_bytes() == file.read_bytes()


def test_what_does_not_fit_the_order_is_refused_after_its_signed_size_at_most(
    order: ModelOrder, release: Path, shop: Workshop, https: ReleaseServer, authority: Authority, tmp_path: Path
) -> None:
    file = largest(release)
    whole, size = file.read_bytes(), file.stat().st_size
    for content, reason in (
        (whole[:-1], "truncated"),
        (whole + b"\0", "larger than the signed"),
        (whole[:-1] + bytes([whole[-1] ^ 1]), "another content"),
    ):
        file.write_bytes(content)
        with pytest.raises(ModelError, match=f"^{file.name} of the release [^\n]*{reason}[^\n]*$"):
            fetch(order, tmp_path, authority.certificate)
        shutil.rmtree(tmp_path / f"download-{order.release.sha256[:16]}")
    file.write_bytes(whole)
    https.faults.endless = {file.name}
    with pytest.raises(ModelError, match="larger than the signed"):
        fetch(order, tmp_path, authority.certificate)
    kept = tmp_path / f"download-{order.release.sha256[:16]}" / file.name
    assert kept.stat().st_size <= size
    https.faults.endless = {DESCRIPTION}
    with pytest.raises(ReleaseRefused, match=f"larger than {MAX_DESCRIPTION} bytes"):
        fetch(order, tmp_path, authority.certificate)
    https.behave()
    shop.sign_text(release, b"{}")
    with pytest.raises(ReleaseRefused, match="not the one that was ordered"):
        fetch(order, tmp_path, authority.certificate)
    with pytest.raises(ReleaseRefused, match="not the one that was ordered"):
        install(release, tmp_path, [read_public_key(shop.public)], ordered=order.release.sha256)


def test_a_signed_file_outside_the_folder_is_refused_before_it_is_fetched(
    order: ModelOrder, release: Path, shop: Workshop, https: ReleaseServer, authority: Authority, tmp_path: Path
) -> None:
    described = json.loads((release / DESCRIPTION).read_text())
    described["files"].append({"name": "../../outside", "size": 4, "sha256": hashlib.sha256(b"evil").hexdigest()})
    text = json.dumps(described).encode()
    shop.sign_text(release, text)
    ordered = order.release.model_copy(update={"sha256": hashlib.sha256(text).hexdigest()})
    outside = order.model_copy(update={"release": ordered})
    _refused(outside, authority, tmp_path / "models", ReleaseRefused, r"files\.\d+\.name")
    assert {Path(path).name for path, _ in https.requests} == {DESCRIPTION, "release.json.minisig"}
    assert not list(tmp_path.iterdir())


def test_a_slow_or_silent_server_is_left_after_a_time(
    order: ModelOrder, release: Path, https: ReleaseServer, authority: Authority, tmp_path: Path
) -> None:
    https.faults.slow = {DESCRIPTION: 0.05}
    with pytest.raises(FetchFailed, match=r"it took longer than \d s"):
        fetch(order, tmp_path, authority.certificate, pace=QUICK)
    https.faults.slow = {DESCRIPTION: 30.0}
    with pytest.raises(FetchFailed, match="no answer in time"):
        fetch(order, tmp_path, authority.certificate, pace=QUICK)


def test_a_newer_order_ends_a_download(order: ModelOrder, authority: Authority, tmp_path: Path) -> None:
    with pytest.raises(FetchFailed, match="cancelled"):
        fetch(order, tmp_path, authority.certificate, cancelled=lambda: True)


def test_only_https_with_a_trusted_certificate_is_fetched_from_and_redirected_to(
    order: ModelOrder, release: Path, https: ReleaseServer, authority: Authority, shop: Workshop, tmp_path: Path
) -> None:
    https.faults.redirect = {DESCRIPTION: "http://127.0.0.1:9/release.json"}
    _refused(order, authority, tmp_path, ReleaseRefused, "redirects to .*which is not https")
    https.faults.redirect = {DESCRIPTION: f"/tiny-7/{DESCRIPTION}"}
    _refused(order, authority, tmp_path, FetchFailed, "more than 5 redirections")
    https.faults.redirect = {largest(release).name: f"{https.address}/elsewhere.bin"}
    shutil.copyfile(largest(release), shop.folder / "releases" / "elsewhere.bin")
    assert fetch(order, tmp_path, authority.certificate).is_dir()
    with pytest.raises(FetchFailed, match=r"certificate is not trusted: .*\(update\.ca\)$"):
        fetch(order, tmp_path)
    with pytest.raises(ConfigError, match=r"update\.ca .*expected PEM certificates"):
        fetch(order, tmp_path, shop.public)
    for source, reason in (
        ("http://releases.example/tiny-7", "not encrypted"),
        ("https://user:word@releases.example/tiny-7", "without a login"),
        ("https://releases.example:x/tiny-7", "cannot be used"),
        ("https:///tiny-7", "cannot be used"),
    ):
        _refused(order.model_copy(update={"source": source}), authority, tmp_path, ReleaseRefused, reason)
    missing = order.model_copy(update={"source": f"{https.address}/none"})
    _refused(missing, authority, tmp_path, FetchFailed, "answers 404 Not Found$")


def test_a_folder_or_this_machine_itself_needs_no_tls(release: Path, shop: Workshop, tmp_path: Path) -> None:
    assert fetch(order_of(release), tmp_path) == release
    with pytest.raises(FetchFailed, match="there is no /none/tiny-7 now"):
        fetch(order_of(release, "/none"), tmp_path)
    plain = ReleaseServer(release.parent)
    try:
        fetched = fetch(order_of(release, plain.address), tmp_path)
    finally:
        plain.close()
    assert json.loads((fetched / DESCRIPTION).read_text())["serial"] == 7


def test_a_full_disk_is_told_before_anything_is_fetched(
    order: ModelOrder, authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(tmp_path)._replace(free=2**20)
    monkeypatch.setattr(fetch_module.shutil, "disk_usage", lambda _folder: usage)
    _refused(order, authority, tmp_path, SinkError, "needs [0-9]+ bytes to be fetched")


def test_a_folder_that_cannot_be_made_is_one_line_with_its_place(
    order: ModelOrder, authority: Authority, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    place = tmp_path / "file" / "tiny.releases"
    with pytest.raises(SinkError, match=f"^cannot write tiny [^\n]*{place}: Not a directory; the model in use stays"):
        fetch(order, place, authority.certificate)


def _refused(order: ModelOrder, authority: Authority, folder: Path, kind: type[EdgeEmotionError], reason: str) -> None:
    with pytest.raises(kind, match=reason) as error:
        fetch(order, folder, authority.certificate)
    assert "\n" not in str(error.value)
