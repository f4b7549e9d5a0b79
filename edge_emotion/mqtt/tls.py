"""TLS for the connection to the broker."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from pathlib import Path

from edge_emotion.config.settings import TlsSettings
from edge_emotion.errors import SinkError
from edge_emotion.system.paths import expand


def tls_context(settings: TlsSettings) -> ssl.SSLContext:
    """A context for TLS 1.2 or newer. Raises SinkError for a file that is unreadable or has the wrong content."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.sslsocket_class = _TlsSocket
    if settings.insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if settings.ca is None:
        context.load_default_certs()
    else:
        _load("PEM certificates", lambda files: context.load_verify_locations(*files), settings.ca)
    if settings.certificate is not None and settings.key is not None:
        # With an empty password OpenSSL does not prompt for one on the terminal.
        _load(
            "a PEM certificate and its unencrypted key",
            lambda files: context.load_cert_chain(files[0], files[1], password=""),
            settings.certificate,
            settings.key,
        )
    return context


class _TlsSocket(ssl.SSLSocket):
    """A TLS socket that is closed when its handshake fails; paho would leave that to the garbage collector."""

    def do_handshake(self, block: bool = False) -> None:
        try:
            super().do_handshake(block)
        except OSError:
            self.close()
            raise


def _load(expected: str, load: Callable[[list[str]], None], *files: Path) -> None:
    paths = [expand(file) for file in files]
    try:
        for path in paths:
            path.open("rb").close()  # OpenSSL's errors do not name the file
        load([str(path) for path in paths])
    except ssl.SSLError as error:
        raise SinkError(
            f"mqtt.tls: {' and '.join(map(str, paths))}: expected {expected} ({error.reason or error})"
        ) from error
    except OSError as error:
        raise SinkError(f"mqtt.tls: cannot read {error.filename}: {error.strerror}") from error
