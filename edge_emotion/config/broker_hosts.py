"""Names and addresses of brokers: ``host``, ``host:port`` or ``[v6]:port``."""

from __future__ import annotations

import ipaddress
import re
from typing import Annotated

from pydantic import AfterValidator


def plain_host(host: str | None) -> str | None:
    """A host name or address without brackets. Raises ValueError for anything else."""
    if host is None:
        return None
    address = host.strip("[]")
    try:
        ipaddress.ip_address(address)
    except ValueError:
        if not host or re.search(r"[\s/:,]", host):
            hint = "; for ws://, set mqtt.transport: websockets, mqtt.path" if host.startswith("ws") else ""
            hint = "; several brokers: mqtt.hosts" if "," in host else hint
            raise ValueError(f"expected a host name or address, without scheme; the port is mqtt.port{hint}") from None
    return address


def split_host(text: str) -> tuple[str, int | None]:
    """Host without brackets, and port, None without one. Raises ValueError for anything else."""
    host, colon, port = text.rpartition(":")
    if "/" in text or not colon or (":" in host and not host.startswith("[")) or port.endswith("]"):
        host, port = text, ""
    elif not (port.isascii() and port.isdecimal() and 1 <= int(port) <= 65_535):
        raise ValueError(f"the port {port!r:.20} is not a number from 1 to 65535")
    checked = plain_host(host)
    assert checked is not None
    return checked, int(port) if port else None


def _checked(text: str) -> str:
    split_host(text)
    return text


HostPort = Annotated[str, AfterValidator(_checked)]
"""``host`` or ``host:port``."""
