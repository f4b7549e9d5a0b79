"""The files of a release over HTTPS: bounded by their signed sizes, continued where an earlier attempt has ended."""

from __future__ import annotations

import http.client
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import SplitResult, urljoin

from edge_emotion.errors import ModelError, ReleaseRefused
from edge_emotion.system.paths import printable
from edge_emotion.updates.https_request import (
    FetchFailed,
    Pace,
    Request,
    checked_address,
    shown_address,
    trusted_servers,
)

REDIRECTS = 5
_MOVED = (301, 302, 303, 307, 308)


class Download:
    """The files below one address."""

    def __init__(
        self,
        address: str,
        ca: Path | None = None,
        *,
        pace: Pace | None = None,
        cancelled: Callable[[], bool] = lambda: False,
    ) -> None:
        """``ca`` has the certificates that are trusted; None: those of the system.

        Requests end with FetchFailed soon after ``cancelled`` returns True. Raises ConfigError for ``ca``,
        ReleaseRefused for an address that is not fetched from.
        """
        self._address, self._pace, self._cancelled = checked_address(address), pace or Pace(), cancelled
        self._context = trusted_servers(ca) if self._address.scheme == "https" else None

    def read(self, name: str, most: int) -> bytes:
        """The whole file ``name``. Raises ReleaseRefused if it has more than ``most`` bytes, FetchFailed."""
        with self._get(name, 0, most) as request:
            content = b"".join(self._blocks(request, most + 1))
        if len(content) > most:
            raise ReleaseRefused(f"{name} of the release is larger than {most} bytes")
        return content

    def complete(self, name: str, size: int, target: Path) -> None:
        """Append to ``target`` what it lacks of the ``size`` bytes of ``name``; their content is not checked.

        Raises ModelError if the file has another size, after ``size`` bytes at most, FetchFailed, and OSError of the
        disk.
        """
        have = target.stat().st_size if target.exists() else 0
        if have > size:
            have = 0
        elif have == size > 0:
            return
        with self._get(name, have, size - have) as request, target.open("ab") as file:
            have = have if request.status == http.client.PARTIAL_CONTENT else 0
            file.truncate(have)
            for block in self._blocks(request, size + 1 - have):
                have += len(block)
                if have > size:
                    raise ModelError(f"{name} of the release is larger than the signed {size} bytes")
                file.write(block)
            if have < size and not request.has_length:
                raise FetchFailed(f"{request.shown}: the connection broke off")
        if have < size:
            raise ModelError(f"{name} of the release is truncated: {have} bytes instead of {size}")

    def _blocks(self, request: Request, most: int) -> Iterator[bytes]:
        """The body, ``most`` bytes of it at most. Raises FetchFailed if it breaks off."""
        while most > 0 and (block := request.read(most)):
            if self._cancelled():
                raise FetchFailed("the download was cancelled")
            most -= len(block)
            yield block

    @contextmanager
    def _get(self, name: str, start: int, size: int) -> Iterator[Request]:
        """The answer with the file from byte ``start`` on, or with the whole file. Raises FetchFailed."""
        address = self._address._replace(path=f"{self._address.path.rstrip('/')}/{name}")
        for _ in range(REDIRECTS + 1):
            with Request(address, start, size, self._pace, self._context) as request:
                if request.status not in _MOVED:
                    _require_content(request, start)
                    yield request
                    return
                address = _followed(address, request.header("Location"))
        raise FetchFailed(f"{shown_address(address)}: more than {REDIRECTS} redirections")


def _followed(address: SplitResult, location: str) -> SplitResult:
    """Where a redirection leads. Raises ReleaseRefused if that is not https."""
    target = urljoin(address.geturl(), location)
    if not target.startswith("https://"):
        raise ReleaseRefused(f"{shown_address(address)} redirects to {printable(location[:200])!r}, which is not https")
    return checked_address(target)


def _require_content(request: Request, start: int) -> None:
    """Raises FetchFailed for an answer that is not the file from ``start`` on, or the whole."""
    if request.status == http.client.PARTIAL_CONTENT:
        found = re.match(r"bytes (\d+)-", request.header("Content-Range"))
        if start == 0 or found is None or int(found[1]) != start:
            raise FetchFailed(f"{request.shown} answers with another part than was asked for")
    elif request.status != http.client.OK:
        phrase = http.client.responses.get(request.status, "")
        raise FetchFailed(f"{request.shown} answers {request.status} {phrase}".rstrip())
