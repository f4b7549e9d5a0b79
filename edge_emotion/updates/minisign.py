"""Public keys and signatures in the file formats of minisign (Ed25519 over BLAKE2b-512); PyNaCl computes.

Formats: https://jedisct1.github.io/minisign/. Only prehashed signatures ("ED") are accepted, minisign's default.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from nacl.exceptions import BadSignatureError
from nacl.signing import VerifyKey

from edge_emotion.errors import ConfigError, ReleaseRefused
from edge_emotion.system.paths import expand, printable

ED25519, PREHASHED = b"Ed", b"ED"
"""Algorithms of a key and of a signature over the hash of a file."""

LARGEST = 4096
"""Bytes of a key file or signature file at most."""

_COMMENT, _TRUSTED = "untrusted comment: ", "trusted comment: "


def number_text(number: bytes) -> str:
    """The number of a key as minisign prints it."""
    return number[::-1].hex().upper()


class PublicKey(NamedTuple):
    """A key that signatures are checked with. ``number``: its 8 bytes in keys and signatures; ``key``: 32 bytes."""

    number: bytes
    key: bytes

    @property
    def name(self) -> str:
        """The number as minisign prints it."""
        return number_text(self.number)


class Signature(NamedTuple):
    """``signed``: 64 bytes over the hash of a file; ``over_comment``: 64 bytes over ``signed`` and the comment."""

    number: bytes
    signed: bytes
    comment: bytes
    over_comment: bytes


def hashed(content: bytes) -> bytes:
    """The 64 bytes that are signed for ``content``."""
    return hashlib.blake2b(content).digest()


def public_key_text(key: PublicKey) -> str:
    """The content of a public key file."""
    encoded = base64.b64encode(ED25519 + key.number + key.key).decode()
    return f"{_COMMENT}minisign public key {key.name}\n{encoded}\n"


def signature_text(signature: Signature) -> bytes:
    """The content of a signature file."""
    first = base64.b64encode(PREHASHED + signature.number + signature.signed)
    head, trusted = f"{_COMMENT}signature of edge-emotion".encode(), _TRUSTED.encode() + signature.comment
    return b"\n".join((head, first, trusted, base64.b64encode(signature.over_comment), b""))


def read_public_key(file: Path) -> PublicKey:
    """The key of a public key file. Raises ConfigError."""
    try:
        with expand(file).open("rb") as opened:
            lines = opened.read(LARGEST).splitlines()
    except OSError as error:
        raise ConfigError(f"public key {file}: {error.strerror}") from error
    try:
        packed = _decoded(lines[1], 42)
    except (IndexError, ValueError):
        packed = b""
    if not packed.startswith(ED25519):
        raise ConfigError(f"public key {file}: it is no public key file: python -m convert release-key makes one")
    return PublicKey(packed[2:10], packed[10:])


def parse_signature(content: bytes, what: str = "the release") -> Signature:
    """The signature of a signature file; ``what`` names what it signs in messages. Raises ReleaseRefused."""
    lines = content.split(b"\n")
    try:
        if len(content) > LARGEST or len(lines) != 5 or lines[4] or not lines[2].startswith(_TRUSTED.encode()):
            raise ValueError("it has other lines than a signature file of minisign")
        packed = _decoded(lines[1], 74)
        if not packed.startswith(PREHASHED):
            raise ValueError("its algorithm is not Ed25519 over a hash")
        return Signature(packed[2:10], packed[10:], lines[2][len(_TRUSTED) :], _decoded(lines[3], 64))
    except ValueError as error:
        raise ReleaseRefused(f"the signature of {what} cannot be read: {error}") from None


def verify(content: bytes, signature: Signature, trusted: Iterable[PublicKey], what: str = "the release") -> PublicKey:
    """The trusted key that signed ``content``; ``what`` names that in messages. Raises ReleaseRefused if none did."""
    keys = tuple(trusted)
    key = next((one for one in keys if one.number == signature.number), None)
    if key is None:
        names = ", ".join(one.name for one in keys) or "none"
        raise ReleaseRefused(
            f"{what} is signed by key {number_text(signature.number)}, which is not trusted here; trusted: {names}"
        )
    try:
        checker = VerifyKey(key.key)
        checker.verify(hashed(content), signature.signed)
        checker.verify(signature.signed + signature.comment, signature.over_comment)
    except BadSignatureError:
        raise ReleaseRefused(
            f"{what} has a signature that does not belong to it (key {key.name}): it was changed or damaged"
        ) from None
    return key


def _decoded(line: bytes, length: int) -> bytes:
    """The bytes of a line of base64 in its only valid spelling. Raises ValueError."""
    try:
        decoded = base64.b64decode(line, validate=True)
    except binascii.Error as error:
        raise ValueError(printable(str(error))) from None
    if len(decoded) != length or base64.b64encode(decoded) != line:
        raise ValueError(f"expected {length} bytes in base64")
    return decoded
