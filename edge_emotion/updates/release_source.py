"""The files of a release as they were brought here: a folder, or one tar file. Nothing of it is trusted."""

from __future__ import annotations

import os
import re
import stat
import tarfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import BinaryIO, Protocol

from edge_emotion.errors import ConfigError, ReleaseRefused
from edge_emotion.system.paths import printable
from edge_emotion.updates.description import FILE_NAME, MAX_FILES, MAX_RELEASE

_PLAIN = (tarfile.REGTYPE, tarfile.AREGTYPE)


class Readable(Protocol):
    """A file that is read once, from its beginning."""

    def read(self, size: int, /) -> bytes:
        """At most ``size`` bytes; none at the end."""
        ...


class ReleaseSource(Protocol):
    """Where the files of a release are read from."""

    def open(self, name: str) -> AbstractContextManager[Readable]:
        """The file of this plain name. Raises ReleaseRefused if it is missing or no regular file."""
        ...


def read_whole(source: ReleaseSource, name: str, most: int) -> bytes:
    """The content of a file. Raises ReleaseRefused if it has more than ``most`` bytes or cannot be read."""
    with source.open(name) as file:
        content = file.read(most + 1)
    if len(content) > most:
        raise ReleaseRefused(f"{name} of the release is larger than {most} bytes")
    return content


class ReleaseFolder:
    """A folder with the files; others in it are never looked at."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def open(self, name: str) -> AbstractContextManager[Readable]:
        """See ``ReleaseSource``."""
        path = self._folder / name
        try:
            handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as error:
            raise ReleaseRefused(f"cannot read {path} of the release: {error.strerror}") from error
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            os.close(handle)
            raise ReleaseRefused(f"cannot read {path} of the release: it is no regular file")
        return os.fdopen(handle, "rb")


class ReleaseTar:
    """A tar file, which is never unpacked. Extended headers, which can be of any size, are refused unread."""

    def __init__(self, file: BinaryIO) -> None:
        """Raises ReleaseRefused for what is no tar file, and for members that are no plain files directly in it."""
        self._file, self._members = file, dict[str, tuple[int, int]]()
        while (member := self._header()) is not None:
            plain = member.type in _PLAIN and 0 <= member.size <= MAX_RELEASE and re.fullmatch(FILE_NAME, member.name)
            if not plain or member.name in self._members or len(self._members) > MAX_FILES + 2:
                raise ReleaseRefused(
                    f"the release holds {printable(member.name[:100])!r}, which does not belong there: it may only "
                    "hold plain files without folders, each once"
                )
            start = file.tell()
            self._members[member.name] = start, member.size
            file.seek(start + -(-member.size // tarfile.BLOCKSIZE) * tarfile.BLOCKSIZE)

    @contextmanager
    def open(self, name: str) -> Iterator[Readable]:
        """See ``ReleaseSource``."""
        if name not in self._members:
            raise ReleaseRefused(f"{name} is missing in the release: it is truncated, or was made in another way")
        yield _Part(self._file, *self._members[name])

    def _header(self) -> tarfile.TarInfo | None:
        """The next one; None at the end."""
        block = self._file.read(tarfile.BLOCKSIZE)
        if not block.strip(b"\0") and self._members:
            return None
        try:
            return tarfile.TarInfo.frombuf(block, "utf-8", "replace")
        except tarfile.TarError as error:
            raise ReleaseRefused(f"the release is no tar file, or damaged: {error}; get it again") from error


class _Part:
    """Some bytes in the middle of a file."""

    def __init__(self, file: BinaryIO, start: int, size: int) -> None:
        self._file, self._left = file, size
        file.seek(start)

    def read(self, size: int, /) -> bytes:
        """See ``Readable``."""
        content = self._file.read(min(size, self._left))
        self._left -= len(content)
        return content


@contextmanager
def open_release(path: Path) -> Iterator[ReleaseSource]:
    """The release at ``path``, a folder or a tar file. Raises ConfigError if there is none, ReleaseRefused."""
    if path.is_dir():
        yield ReleaseFolder(path)
    elif path.is_file():
        with path.open("rb") as file:
            yield ReleaseTar(file)
    else:
        raise ConfigError(f"no release at {path}: expected a folder or file that python -m convert release made")
