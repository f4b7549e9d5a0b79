"""One GET over HTTPS that ends in time, whatever the other side does; plain http only from this machine itself."""

from __future__ import annotations

import http.client
import ipaddress
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple
from urllib.parse import SplitResult, urlsplit

from edge_emotion import __version__
from edge_emotion.errors import ConfigError, EdgeEmotionError, ReleaseRefused
from edge_emotion.system.paths import expand, printable

_BLOCK = 64 * 2**10


class FetchFailed(EdgeEmotionError, OSError):  # noqa: N818 - the name is clear without Error
    """The files cannot be had now. What has come is kept, and the next attempt continues there."""


class Pace(NamedTuple):
    """Limits of one request: seconds of each wait, seconds for the answer, and bytes a second after that."""

    wait: float = 20.0
    answer: float = 60.0
    slowest: float = 2048.0


class Request:
    """A GET of ``address`` from byte ``start`` on, of which ``size`` bytes are of use. A context: it closes itself."""

    def __init__(self, address: SplitResult, start: int, size: int, pace: Pace, context: ssl.SSLContext | None) -> None:
        self.shown = shown_address(address)
        self._seconds = pace.answer + size / pace.slowest
        self._connection = _Connection(address, pace.wait, context)
        self._limit = threading.Timer(self._seconds, self._connection.abort)
        self._limit.daemon = True
        self._path = (address.path or "/") + (f"?{address.query}" if address.query else "")
        self._headers = {"User-Agent": f"edge-emotion/{__version__}", "Accept-Encoding": "identity"}
        if start:
            self._headers["Range"] = f"bytes={start}-"
        self._answer: http.client.HTTPResponse

    def __enter__(self) -> Request:
        """Send it and wait for the answer. Raises FetchFailed."""
        self._limit.start()
        try:
            with self._explained():
                self._connection.request("GET", self._path, headers={**self._headers, "Connection": "close"})
                self._answer = self._connection.getresponse()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._limit.cancel()
        self._connection.close()

    @property
    def status(self) -> int:
        """That of the answer."""
        return self._answer.status

    @property
    def has_length(self) -> bool:
        """Whether the end of the body is told from the end of the connection."""
        return self._answer.length is not None or bool(self._answer.chunked)

    def header(self, name: str) -> str:
        """A header of the answer; empty if it has none of this name."""
        return self._answer.headers.get(name, "")

    def read(self, most: int) -> bytes:
        """The next bytes of the body, ``most`` at most; none at its end. Raises FetchFailed if it breaks off."""
        with self._explained():
            block = self._answer.read1(min(_BLOCK, most))
            if not block and self._answer.length:
                raise ConnectionError("the connection broke off")
        return block

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except (OSError, http.client.HTTPException, ValueError) as error:
            too_slow = f"it took longer than {self._seconds:.0f} s"
            raise FetchFailed(f"{self.shown}: {too_slow if self._connection.aborted else _reason(error)}") from None


class _Connection(http.client.HTTPConnection):
    """A connection that another thread can end, during its handshake too."""

    def __init__(self, address: SplitResult, wait: float, context: ssl.SSLContext | None) -> None:
        default = http.client.HTTPS_PORT if context else http.client.HTTP_PORT
        super().__init__(address.hostname or "", address.port or default, timeout=wait)
        self._context = context
        self.aborted = False

    def connect(self) -> None:
        """Connect, with TLS if there is a context."""
        super().connect()
        if self._context is not None:
            self.sock = self._context.wrap_socket(self.sock, server_hostname=self.host, do_handshake_on_connect=False)
            self.sock.do_handshake()

    def abort(self) -> None:
        """End every wait of the other thread."""
        self.aborted = True
        with suppress(OSError, TypeError):  # not connected yet, or closed
            socket.socket.shutdown(self.sock, socket.SHUT_RDWR)


def checked_address(address: str) -> SplitResult:
    """The parts of an address. Raises ReleaseRefused for one that is not fetched from."""
    try:
        parts = urlsplit(address)
        _ = parts.port  # raises for what is no port
    except ValueError as error:
        raise ReleaseRefused(f"the address {address!r} cannot be used: {error}") from None
    if not parts.hostname or parts.scheme not in ("https", "http") or "@" in parts.netloc:
        raise ReleaseRefused(f"the address {address!r} cannot be used: expected https://HOST/PATH without a login")
    if parts.scheme == "http" and not _is_loopback(parts.hostname):
        raise ReleaseRefused(f"{shown_address(parts)} is not encrypted: give an https address")
    return parts


def shown_address(address: SplitResult) -> str:
    """The address for messages, without its query, which may hold a secret."""
    return printable(f"{address.scheme}://{address.netloc}{address.path}")


def trusted_servers(ca: Path | None) -> ssl.SSLContext:
    """TLS 1.2 or newer with the certificates of ``ca``; None: those of the system. Raises ConfigError."""
    try:
        context = ssl.create_default_context(cafile=None if ca is None else str(expand(ca)))
    except OSError as error:
        raise ConfigError(f"update.ca {ca}: expected PEM certificates ({error.strerror or error})") from error
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _reason(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted: {error.verify_message} (update.ca)"
    if isinstance(error, http.client.IncompleteRead):
        return "the connection broke off"
    if isinstance(error, http.client.BadStatusLine) and not isinstance(error, ConnectionError):
        return "its answer is not HTTP"
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return printable(" ".join(text.split()))[:200]
