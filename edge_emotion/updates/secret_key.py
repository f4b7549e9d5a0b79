"""Pairs of keys, and secret key files in the format of minisign, with or without a password."""

from __future__ import annotations

import base64
import hashlib
import logging
import os
import secrets
import struct
from pathlib import Path
from typing import NamedTuple

from nacl.exceptions import CryptoError
from nacl.pwhash import scrypt
from nacl.signing import SigningKey

from edge_emotion.errors import ConfigError, SinkError
from edge_emotion.system.atomic_file import PRIVATE, write_bytes, write_text
from edge_emotion.updates.minisign import ED25519, LARGEST, PublicKey, Signature, hashed, public_key_text

log = logging.getLogger(__name__)

_LAYOUT = struct.Struct("<2s2s2s32sQQ104s")
"""Algorithms of signature, password and checksum, salt, two limits of scrypt, and the key."""

_KEY = struct.Struct("<8s64s32s")
"""Number, seed with public key, checksum: encrypted with a password."""

_SCRYPT, _NO_PASSWORD, _BLAKE2B = b"Sc", b"\0\0", b"B2"
LIMITS = scrypt.OPSLIMIT_MODERATE, scrypt.MEMLIMIT_MODERATE
"""Operations and bytes of memory that a password costs: half a second, 128 MiB."""

_MOST_MEMORY = 2**30
"""Bytes: what minisign's own keys need."""


class SecretKey(NamedTuple):
    """A key that signs; ``number`` is that of its public key."""

    number: bytes
    key: SigningKey

    @property
    def public(self) -> PublicKey:
        """The key that checks what this one signs."""
        return PublicKey(self.number, bytes(self.key.verify_key))

    def sign(self, content: bytes, comment: str) -> Signature:
        """The signature over ``content`` and over ``comment``, which minisign prints."""
        signed, said = self.key.sign(hashed(content)).signature, comment.encode()
        return Signature(self.number, signed, said, self.key.sign(signed + said).signature)


def make_key_pair(file: Path, password: str = "") -> tuple[Path, Path]:
    """Write FILE, mode 0600, and FILE.pub. Raises ConfigError if one of them is there already, SinkError."""
    public = file.with_name(file.name + ".pub")
    for path in (file, public):
        if path.exists() or path.is_symlink():
            raise ConfigError(f"{path} is there already, and keys are never overwritten: choose another name")
    secret = SecretKey(secrets.token_bytes(8), SigningKey.generate())
    try:
        write_text(public, public_key_text(secret.public))
        write_bytes(file, _secret_text(secret, password), PRIVATE)
    except OSError as error:
        public.unlink(missing_ok=True)
        raise SinkError(f"cannot write {file}: {error.strerror}; choose another place") from error
    return file, public


def read_secret_key(file: Path, password: str = "", option: str = "--password-file") -> SecretKey:
    """The key of a secret key file; ``option`` gives its password. Raises ConfigError for another file or password.

    A file that others can read is a warning in the log.
    """
    try:
        with file.open("rb") as opened:
            if os.fstat(opened.fileno()).st_mode & 0o077:
                log.warning("secret key %s can be read or written by others: chmod 600 %s", file, file)
            packed = base64.b64decode(opened.read(LARGEST).splitlines()[1], validate=True)
        algorithm, kind, checksum, salt, operations, memory, locked = _LAYOUT.unpack(packed)
    except OSError as error:
        raise ConfigError(f"secret key {file}: {error.strerror}") from error
    except (IndexError, ValueError, struct.error):
        algorithm = kind = checksum = b""
    if (algorithm, checksum) != (ED25519, _BLAKE2B) or kind not in (_SCRYPT, _NO_PASSWORD):
        raise ConfigError(f"{file} is no secret key: python -m convert release-key makes one")
    if kind == _SCRYPT:
        if not password:
            raise ConfigError(f"secret key {file} has a password: give {option} FILE")
        locked = _crossed(locked, password, salt, operations, memory)
    number, pair, found = _KEY.unpack(locked)
    unchecked = kind == _NO_PASSWORD and not any(found)  # as minisign writes it
    if not unchecked and found != _checksum(number, pair):
        raise ConfigError(f"secret key {file}: the password is another one, or the file is damaged")
    return SecretKey(number, SigningKey(pair[:32]))


def _secret_text(secret: SecretKey, password: str) -> bytes:
    pair = bytes(secret.key) + bytes(secret.key.verify_key)
    packed = _KEY.pack(secret.number, pair, _checksum(secret.number, pair))
    kind, salt, operations, memory = _NO_PASSWORD, bytes(32), 0, 0
    if password:
        kind, salt = _SCRYPT, secrets.token_bytes(32)
        operations, memory = LIMITS
        packed = _crossed(packed, password, salt, operations, memory)
    encoded = base64.b64encode(_LAYOUT.pack(ED25519, kind, _BLAKE2B, salt, operations, memory, packed))
    return b"untrusted comment: edge-emotion secret key\n" + encoded + b"\n"


def _checksum(number: bytes, pair: bytes) -> bytes:
    return hashlib.blake2b(ED25519 + number + pair, digest_size=32).digest()


def _crossed(key: bytes, password: str, salt: bytes, operations: int, memory: int) -> bytes:
    """The key encrypted or decrypted by the stream that scrypt makes of the password. Raises ConfigError."""
    if memory > _MOST_MEMORY:
        raise ConfigError(f"the password of the secret key needs {memory} bytes of memory: the file is damaged")
    try:
        stream = scrypt.kdf(len(key), password.encode(), salt, opslimit=operations, memlimit=memory)
    except (CryptoError, MemoryError) as error:
        raise ConfigError(f"the password of the secret key cannot be used: {error}") from error
    return bytes(one ^ other for one, other in zip(key, stream, strict=True))
