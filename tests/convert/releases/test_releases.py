"""Keys and releases, and that minisign itself agrees with them."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from nacl.pwhash import scrypt

from convert.cli import main
from edge_emotion.errors import ConfigError
from edge_emotion.models.folder import find_model
from edge_emotion.updates import secret_key
from edge_emotion.updates.description import DESCRIPTION, SIGNATURE, parse_release
from edge_emotion.updates.minisign import parse_signature, read_public_key, verify
from edge_emotion.updates.secret_key import make_key_pair, read_secret_key


def minisign(*words: object, answer: str = "") -> str:
    done = subprocess.run(
        ["minisign", *map(str, words)], input=answer, capture_output=True, text=True, check=True, timeout=60
    )
    return done.stdout


def release(model: object, folder: Path, *options: str) -> int:
    key = folder / "release.key"
    return main(["release", str(model), "--key", str(key), "--out", str(folder), "--serial", "7", *options])


@pytest.fixture
def keys(tmp_path: Path) -> tuple[Path, Path]:
    return make_key_pair(tmp_path / "release.key")


def test_minisign_accepts_a_release_of_all_files_of_a_model(keys: tuple[Path, Path], tmp_path: Path) -> None:
    assert release("yunet", tmp_path, "--expires", "30") == 0
    made, model = tmp_path / "yunet-7", find_model("yunet")
    assert "(serial 7)" in minisign("-V", "-p", keys[1], "-m", made / DESCRIPTION)
    described = parse_release((made / DESCRIPTION).read_bytes())
    assert {file.name for file in described.files} == {path.name for path in model.iterdir()}
    for file in described.files:
        assert (made / file.name).read_bytes() == (model / file.name).read_bytes()


def test_keys_and_signatures_of_minisign_are_read_and_ours_are_used_by_it(
    keys: tuple[Path, Path], tmp_path: Path
) -> None:
    theirs, public = tmp_path / "theirs.key", tmp_path / "theirs.pub"
    minisign("-G", "-W", "-s", theirs, "-p", public)
    assert read_secret_key(theirs).public == read_public_key(public)
    text = tmp_path / "text"
    text.write_bytes(b"some text")
    for secret, trusted in ((theirs, public), keys):
        minisign("-S", "-s", secret, "-m", text, "-x", tmp_path / "signature")
        signature = parse_signature((tmp_path / "signature").read_bytes())
        assert verify(b"some text", signature, [read_public_key(trusted)]) == read_public_key(trusted)


def test_a_secret_key_is_private_and_never_overwritten(keys: tuple[Path, Path]) -> None:
    secret, public = keys
    before = secret.read_bytes()
    assert (secret.stat().st_mode & 0o777, public.stat().st_mode & 0o777) == (0o600, 0o644)
    for gone in (public, secret):
        with pytest.raises(ConfigError, match="never overwritten"):
            make_key_pair(secret)
        assert secret.read_bytes() == before
        kept = gone.read_bytes()
        gone.unlink()
        with pytest.raises(ConfigError, match="never overwritten"):
            make_key_pair(secret)
        gone.write_bytes(kept)
        gone.chmod(0o600)


def test_a_password_protects_the_secret_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(secret_key, "LIMITS", (scrypt.OPSLIMIT_INTERACTIVE, scrypt.MEMLIMIT_INTERACTIVE))
    secret, public = make_key_pair(tmp_path / "release.key", "correct horse")
    assert read_secret_key(secret, "correct horse").public == read_public_key(public)
    with pytest.raises(ConfigError, match="the password is another one"):
        read_secret_key(secret, "wrong horse")
    assert release("tiny", tmp_path) == 2
    assert "give --password-file" in capsys.readouterr().err
    (tmp_path / "password").write_text("correct horse\n")
    assert release("tiny", tmp_path, "--password-file", str(tmp_path / "password")) == 0


def test_a_secret_key_that_others_can_read_is_a_warning(
    keys: tuple[Path, Path], caplog: pytest.LogCaptureFixture
) -> None:
    read_secret_key(keys[0])
    assert not caplog.messages
    keys[0].chmod(0o640)
    read_secret_key(keys[0])
    assert caplog.messages == [f"secret key {keys[0]} can be read or written by others: chmod 600 {keys[0]}"]


def test_keys_that_cannot_be_written_are_one_line_and_none_of_them_stays(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "k.key.part").mkdir()  # the secret key cannot be written, its public key can
    for file in ("none/k.key", "k.key"):
        assert main(["release-key", str(tmp_path / file)]) == 6
        error = capsys.readouterr().err
        assert error.count("\n") == 1 and f"cannot write {tmp_path / file}: " in error
    assert [path.name for path in tmp_path.iterdir()] == ["k.key.part"]


def test_what_cannot_become_a_release_is_one_line_and_writes_nothing(
    keys: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    damaged = shutil.copytree(find_model("tiny"), tmp_path / "damaged")
    (damaged / "tiny_int8.tflite").write_bytes(b"something else")
    before = sorted(tmp_path.iterdir())
    for model, code, options in (
        (damaged, 4, []),
        ("no_such_model", 2, []),
        ("tiny", 2, ["--minimum-runtime", "soon"]),
        ("tiny", 2, ["--serial", str(2**53)]),
        ("tiny", 6, ["--out", str(keys[1])]),
        ("tiny", 6, ["--out", "/proc/none"]),
        ("tiny", 2, ["--key", str(keys[1])]),
        ("tiny", 2, ["--key", str(tmp_path / "none")]),
    ):
        assert release(model, tmp_path, *options) == code, (model, options)
        error = capsys.readouterr().err
        assert len(error.splitlines()) == 1 and "Value error" not in error and "Errno" not in error, error
        assert sorted(tmp_path.iterdir()) == before
    assert release("tiny", tmp_path, "--tar") == 0
    assert release("tiny", tmp_path, "--tar") == 2
    assert not list(tmp_path.glob("*.part"))
    assert (tmp_path / "tiny-7.tar").is_file()
    assert SIGNATURE.encode() in (tmp_path / "tiny-7.tar").read_bytes()
