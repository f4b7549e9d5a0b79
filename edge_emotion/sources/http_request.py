"""GET requests to cameras: basic and digest authentication, no redirect to another host, errors without secrets."""

from __future__ import annotations

import http.client
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import unquote, urlsplit, urlunsplit

from edge_emotion.config.redaction import hide, redact
from edge_emotion.errors import SourceError, SourceStalled

MAX_PICTURE = 16 * 2**20
"""Largest picture in bytes that is accepted from a camera."""


class _SameHost(urllib.request.HTTPRedirectHandler):
    """Follows a redirect to another path, but not to another machine, which could receive the password."""

    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:
        if urlsplit(newurl).hostname != urlsplit(req.full_url).hostname:
            raise SourceError(
                f"{redact(req.full_url)} redirects to another host, {redact(newurl)}, which is not followed: "
                "give that address if it is right"
            )
        return super().redirect_request(req, fp, code, msg, headers, newurl)


@contextmanager
def request(address: str, timeout: float) -> Iterator[http.client.HTTPResponse]:
    """The answer to a GET; ``timeout`` (seconds) is for each wait.

    Raises SourceError in one line, without secrets, and HTTPException for a server that does not speak HTTP.
    """
    try:
        parts = urlsplit(address)
    except ValueError:
        raise SourceError(
            f"{redact(address)} is no address: write @ / ? # [ ] in its password as %40 %2F %3F %23 %5B %5D"
        ) from None
    user, _, host = parts.netloc.rpartition("@")
    plain = urlunsplit(parts._replace(netloc=host))
    passwords = urllib.request.HTTPPasswordMgrWithDefaultRealm()
    if user:
        name, _, password = user.partition(":")
        passwords.add_password(None, f"{parts.scheme}://{host}/", unquote(name), unquote(password))
    basic, digest = urllib.request.HTTPBasicAuthHandler(passwords), urllib.request.HTTPDigestAuthHandler(passwords)
    try:
        with urllib.request.build_opener(_SameHost, basic, digest).open(plain, timeout=timeout) as answer:
            yield answer
    except urllib.error.HTTPError as error:
        advice = "check user and password" if error.code in (401, 403) else "check the address"
        # Not the server's own words, which may repeat the request with its secrets.
        phrase = http.client.responses.get(error.code, "")
        raise SourceError(f"{redact(address)} answers {error.code} {phrase}: {advice}") from None
    except (SourceError, http.client.HTTPException):
        raise
    except TimeoutError:
        raise SourceStalled(f"{redact(address)} gave no answer in {timeout:.1f} s") from None
    except (OSError, ValueError) as error:
        reason = hide(str(getattr(error, "reason", error)), address)
        raise SourceError(f"cannot open stream {redact(address)}: {reason}; is the camera on?") from None


def limit_waits(answer: http.client.HTTPResponse, seconds: float) -> None:
    """Change the time-out of an answer whose body is still to be read."""
    # There is no public way: urllib has one time-out for the connection, the headers and the body.
    sock = getattr(getattr(answer.fp, "raw", None), "_sock", None)
    if sock is not None:
        sock.settimeout(seconds)
