"""Releases that a test may damage, signed with keys of the test."""

from __future__ import annotations

import shutil
import tarfile
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, NamedTuple

from convert.releases.release import make_release
from edge_emotion import __version__
from edge_emotion.updates.description import DESCRIPTION, SIGNATURE, Release, dump_release, parse_release
from edge_emotion.updates.minisign import signature_text
from edge_emotion.updates.secret_key import SecretKey, make_key_pair, read_secret_key
from support.model_folders import copy_with_first_file


class Workshop(NamedTuple):
    """A key pair and a small model folder; ``release`` makes releases of it."""

    folder: Path
    key: SecretKey
    public: Path
    model: Path

    def release(self, serial: int, model: Path | None = None, key: SecretKey | None = None) -> Path:
        """A release in a new folder."""
        out = self.folder / "releases"
        shutil.rmtree(out / f"tiny-{serial}", ignore_errors=True)
        return make_release(
            str(model or self.model), key or self.key, out, serial=serial, days=30, minimum_runtime=__version__
        )

    def sign(self, release: Path, **changes: Any) -> None:
        """Sign the description of a release again, with these fields changed, valid or not."""
        old = parse_release((release / DESCRIPTION).read_bytes())
        self.sign_text(release, dump_release(Release.model_construct(**{**dict(old), **changes})))

    def sign_text(self, release: Path, text: bytes) -> None:
        """Sign any text as the description of a release."""
        (release / DESCRIPTION).write_bytes(text)
        (release / SIGNATURE).write_bytes(signature_text(self.key.sign(text, "test")))


def workshop(folder: Path) -> Workshop:
    """A workshop in an empty folder."""
    secret, public = make_key_pair(folder / "release.key")
    return Workshop(folder, read_secret_key(secret), public, copy_with_first_file("tiny", folder / "tiny"))


def as_tar(release: Path, *members: tuple[tarfile.TarInfo, Path | None]) -> Path:
    """The files of a release as a tar file, and these members after them."""
    target = release.with_suffix(".tar")
    with tarfile.open(target, "w", format=tarfile.USTAR_FORMAT) as tar:
        for file in sorted(release.iterdir()):
            tar.add(file, file.name)
        for member, content in members:
            if content is None:
                tar.addfile(member)
            else:
                with content.open("rb") as opened:
                    member.size = content.stat().st_size
                    tar.addfile(member, opened)
    return target


def long_ago() -> datetime:
    """A moment in the past."""
    return datetime(2020, 1, 1, tzinfo=timezone.utc)
