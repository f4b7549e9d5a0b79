"""The files that ``classify`` works on, and the file in which it collects their rows."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from edge_emotion.config.source_spec import may_be_picture
from edge_emotion.errors import ConfigError, SourceError
from edge_emotion.system.append_file import AppendedFile
from edge_emotion.system.image_header import files_below


def pictures_of(given: Sequence[Path], listed: Path | None, shard: tuple[int, int] | None) -> tuple[list[Path], int]:
    """Files as given, all pictures below folders, and those of the list once; of these the share ``shard``.

    Also the exit code so far, 3 if a folder has no picture. Raises ConfigError if nothing is given, SourceError for a
    list that cannot be read.
    """
    if not given and listed is None:
        raise ConfigError("there is no picture: give files, folders, or --from LIST")
    found, code = _expanded(given)
    if listed is not None:
        given_already = set(found)
        found += [path for path in dict.fromkeys(_read(listed)) if path not in given_already]
    first, step = shard or (1, 1)
    return found[first - 1 :: step], code


_BEGINNING = b'{"image": "'
"""With this each row begins."""


class RowFile:
    """JSON lines of pictures and recordings in a file, which one process at a time writes.

    A row is written whole or not at all: what a power cut left of one is removed, and what it belongs to is due again.
    """

    def __init__(self, path: Path, model: dict[str, str], *, resume: bool) -> None:
        """``model`` is that of each row. Without ``resume`` the file must be new or empty.

        Raises SinkError if it cannot be written, ConfigError for a file that has other lines or those of another model.
        """
        self.done: set[str] = set()
        """Paths that have a row."""
        self._model = model
        if path.is_file() and path.stat().st_size:
            if not resume:
                raise ConfigError(f"{path} is there already: --resume goes on with it; or give another file")
            self._read_done(path)  # before anything is removed from what may be another file
        self._file = AppendedFile(path, mend="remove")
        if resume and path.is_file():
            self._read_done(path)  # what another process has added before it let go of the file

    def due(self, files: Sequence[Path]) -> list[Path]:
        """Those that have no row yet; how many have one is reported on standard error."""
        left = [path for path in files if str(path) not in self.done]
        print(f"{self._file.name}: {len(files) - len(left)} of {len(files)} files are done", file=sys.stderr)
        return left

    def write(self, row: str) -> None:
        """Append one row. Raises SinkError."""
        self._file.write(row.encode())

    def close(self) -> None:
        """Let others write to the file."""
        self._file.close()

    def _read_done(self, path: Path) -> None:
        with path.open("rb") as lines:
            for number, line in enumerate(lines, start=1):
                if not line.endswith(b"\n") and line.startswith(_BEGINNING[: len(line)]):
                    return
                self._take(line, f"{path}, line {number}")

    def _take(self, line: bytes, where: str) -> None:
        try:
            row: Any = json.loads(line)
            image, model = row["image"], row["model"]
        except (ValueError, KeyError, TypeError):
            raise ConfigError(f"{where}: this is no row of classify: give another file") from None
        if model != self._model:
            raise ConfigError(f"{where}: its model is {model!r:.100}, not {self._model}: give another file")
        self.done.add(str(image))


def _read(listed: Path) -> list[Path]:
    try:
        data = sys.stdin.buffer.read() if str(listed) == "-" else listed.read_bytes()
    except OSError as error:
        raise SourceError(f"cannot read the list {listed}: {error.strerror}") from error
    if b"\0" in data:
        raise SourceError(f"{listed} is no list of paths: it has NUL characters; expected one path in each line")
    return [Path(os.fsdecode(line)) for line in data.splitlines() if line.strip()]


def _expanded(paths: Sequence[Path]) -> tuple[list[Path], int]:
    """Files as given, and all below folders that are pictures or named like one; exit code, 3 if a folder has none."""
    found, code = [], 0
    for path in paths:
        if not path.is_dir():
            found.append(path)
            continue
        inside = list(files_below(path))
        pictures = [file for file in inside if may_be_picture(file)]
        found += pictures
        taken = set(pictures)
        _report_left_out(path, [file for file in inside if file not in taken], len(pictures))
        code = code if pictures else SourceError.exit_code
    return found, code


def _report_left_out(folder: Path, others: Sequence[Path], pictures: int) -> None:
    """Count on standard error what a folder has, and name some of the files that are no pictures."""
    names = ", ".join(file.name for file in others[:3]) + (", ..." if len(others) > 3 else "")
    left_out = f"; {len(others)} other files are left out: {names}" if others else ""
    print(f"{folder}: {pictures} pictures{left_out}", file=sys.stderr)
