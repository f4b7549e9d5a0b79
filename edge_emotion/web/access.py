"""Who may ask: password, token, sessions, names of this machine, and the origin of writes."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import secrets
import socket
import threading
import time
from collections.abc import Iterable
from urllib.parse import urlsplit

from edge_emotion.config.web_settings import WebSettings

SESSION_SECONDS = 7 * 86_400.0
"""Time for which a login is valid."""

MAX_SESSIONS = 100
"""Most logins at the same time; the oldest one ends."""

FIRST_DELAY, LONGEST_DELAY = 0.5, 8.0
"""Seconds before a wrong password is answered; doubled with each one in a row."""

FORGET_FAILURES = 300.0
"""Seconds without a failure after which the delay begins anew."""


class Secret:
    """A password or token, of which only a salted hash is kept."""

    def __init__(self, text: str) -> None:
        self._salt = secrets.token_bytes(16)
        self._hash = self._hashed(text)

    def matches(self, text: str) -> bool:
        """Compare in constant time; takes some 50 ms of processor time."""
        return hmac.compare_digest(self._hash, self._hashed(text))

    def _hashed(self, text: str) -> bytes:
        return hashlib.scrypt(text.encode("utf-8", "surrogatepass"), salt=self._salt, n=2**14, r=8, p=1)


class Failures:
    """The delay that wrong passwords and tokens cost."""

    def __init__(self) -> None:
        self._count, self._last = 0, 0.0

    def note(self) -> float:
        """Count one and return the seconds to wait before it is answered."""
        now = time.monotonic()
        self._count = 1 if now - self._last > FORGET_FAILURES else self._count + 1
        self._last = now
        return min(FIRST_DELAY * 2.0 ** min(self._count - 1, 10), LONGEST_DELAY)

    def forget(self) -> None:
        """After a success."""
        self._count = 0


class Access:
    """Decides about requests by sender and headers. Without password and token everybody who reaches it may ask."""

    def __init__(self, settings: WebSettings, password: str | None, token: str | None) -> None:
        self._password = None if password is None else Secret(password)
        self._token = None if token is None else Secret(token)
        self._known_token: bytes | None = None
        self._proxy = settings.trusted_proxy
        self._hosts = {"localhost", *_own_names(), *settings.hosts}
        self._pages = frozenset(settings.hosts)
        self._sessions: dict[bytes, float] = {}
        self._lock = threading.Lock()

    @property
    def needs_login(self) -> bool:
        """True if a password or a token is set."""
        return self._password is not None or self._token is not None

    def may_connect(self, sender: str) -> bool:
        """Whether this address, that of the connection and of no header, may ask at all."""
        return self._proxy is None or _address(sender) == self._proxy

    def knows_host(self, host: str) -> bool:
        """Whether a Host header names this machine, or is an address: those cannot be bound to it by foreign DNS.

        A trusted proxy passes the name on by which it was reached itself, and its login is bound to that name.
        """
        name = _host_name(host)
        return name is not None and (name in self._hosts or _is_address(name) or self._proxy is not None)

    def own_origin(self, origin: str, host: str, forwarded_host: str | None = None) -> bool:
        """Whether the page that sends a write was served by this server, which was asked as ``host``.

        ``forwarded_host`` is the X-Forwarded-Host of a request, which counts only from a trusted proxy.
        """
        try:
            parts = urlsplit(origin)
        except ValueError:
            return False
        if parts.scheme not in ("http", "https") or not parts.hostname:
            return False
        names = {host.lower()} | ({forwarded_host.lower()} if forwarded_host and self._proxy else set())
        return parts.netloc.lower() in names or parts.hostname in self._pages

    def logged_in(self, session: str | None) -> bool:
        """Whether a cookie holds a login that is still valid."""
        if not session:
            return False
        with self._lock:
            return self._sessions.get(_digest(session), 0.0) > time.monotonic()

    def token_known(self, token: str) -> bool:
        """Whether this token was found right before: it costs no hashing again."""
        known = self._known_token
        return known is not None and hmac.compare_digest(known, _digest(token))

    def check_token(self, token: str) -> bool:
        """Whether it is the token; takes some 50 ms."""
        right = self._token is not None and self._token.matches(token)
        if right:
            self._known_token = _digest(token)
        return right

    def login(self, password: str) -> str | None:
        """The id of a new session if ``password`` is the password or the token, else None. Takes up to 100 ms."""
        tried = [secret.matches(password) for secret in (self._password, self._token) if secret is not None]
        if not any(tried):
            return None
        session = secrets.token_urlsafe(32)
        with self._lock:
            self._drop_old_sessions()
            self._sessions[_digest(session)] = time.monotonic() + SESSION_SECONDS
        return session

    def logout(self, session: str | None) -> None:
        """End a session."""
        with self._lock:
            self._sessions.pop(_digest(session or ""), None)

    def _drop_old_sessions(self) -> None:
        now = time.monotonic()
        self._sessions = {key: until for key, until in self._sessions.items() if until > now}
        while len(self._sessions) >= MAX_SESSIONS:
            del self._sessions[min(self._sessions, key=self._sessions.__getitem__)]


def _digest(text: str) -> bytes:
    """Of a random text of 256 bits, which needs no slow hash."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()


def _own_names() -> Iterable[str]:
    name = socket.gethostname().lower().rstrip(".")
    short = name.split(".")[0]
    return {name, short, f"{short}.local"} - {""}


def _host_name(host: str) -> str | None:
    """The name or address of a Host header, in lower case and without port; None for anything else."""
    try:
        return urlsplit(f"//{host}").hostname
    except ValueError:
        return None


def _is_address(name: str) -> bool:
    return _address(name) is not None


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """None for anything else. An IPv4 client of a socket for both families (``::ffff:192.0.2.1``) is one of IPv4."""
    try:
        found = ipaddress.ip_address(text)
    except ValueError:
        return None
    return found.ipv4_mapped or found if isinstance(found, ipaddress.IPv6Address) else found
