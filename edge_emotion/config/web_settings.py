"""Settings of the page, the API and the metrics."""

from __future__ import annotations

import ipaddress
import re
from pathlib import Path
from typing import Annotated

from pydantic import BeforeValidator, Field, IPvAnyAddress, field_validator, model_validator

from edge_emotion.config.section import Section, listed, read_secret
from edge_emotion.errors import ConfigError

LEAST_SECRET = 8
"""Fewest characters of a password or token."""

_LISTEN = re.compile(r"(?P<host>\[[0-9a-fA-F:.]+\]|[^:\s]+):(?P<port>[0-9]{1,5})")
_HOST = re.compile(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?")


class WebSettings(Section):
    """A page, an API and metrics over HTTP; nothing listens unless this section is there."""

    listen: str = Field(default="127.0.0.1:8765", description="address and port; [::1]:8765 with IPv6; port 0: any")
    password_file: Path | None = Field(default=None, description="for people who look at the page; 8 characters")
    token_file: Path | None = Field(default=None, description="for programs, Authorization: Bearer; 8 characters")
    hosts: Annotated[tuple[str, ...], BeforeValidator(listed)] = Field(
        default=(), description="names of this machine in addresses of the page, besides its host name and localhost"
    )
    trusted_proxy: IPvAnyAddress | None = Field(
        default=None, description="the only address that may ask: of a proxy at which people log in"
    )
    preview: bool = Field(
        default=False, description="shows the cameras' pictures; beyond this machine only with a password_file"
    )

    @field_validator("listen")
    @classmethod
    def _is_an_address(cls, listen: str) -> str:
        host, port = split_listen(listen)
        if port > 65_535:
            raise ValueError("the port must be 65535 at most")
        if host != "localhost":
            try:
                ipaddress.ip_address(host)
            except ValueError:
                raise ValueError("expected an address of this machine and a port, as 127.0.0.1:8765") from None
        return listen

    @field_validator("hosts")
    @classmethod
    def _are_names(cls, hosts: tuple[str, ...]) -> tuple[str, ...]:
        names = tuple(host.lower().rstrip(".") for host in hosts)
        for name in names:
            if not _HOST.fullmatch(name):
                raise ValueError(f"{name!r} is no host name: give names without scheme and port")
        return names

    @model_validator(mode="after")
    def _is_protected(self) -> WebSettings:
        if self.loopback:
            return self
        if self.password_file is None and self.token_file is None and self.trusted_proxy is None:
            raise ValueError(f"other machines reach {self.listen}: set password_file (or token_file) as well")
        if self.preview and self.password_file is None:
            raise ValueError(f"preview on {self.listen} needs a password_file: other machines reach that address")
        return self

    @property
    def address(self) -> tuple[str, int]:
        """Host and port of ``listen``."""
        return split_listen(self.listen)

    @property
    def loopback(self) -> bool:
        """True if only this machine reaches the address."""
        host, _ = self.address
        return host == "localhost" or ipaddress.ip_address(host).is_loopback

    def read_password(self) -> str | None:
        """The password; None without one. Raises ConfigError for a file that cannot be read or is too short."""
        return _secret("web.password_file", self.password_file)

    def read_token(self) -> str | None:
        """The token; None without one. Raises ConfigError like ``read_password``."""
        return _secret("web.token_file", self.token_file)


def split_listen(listen: str) -> tuple[str, int]:
    """Host without brackets, and port. Raises ValueError for anything else."""
    found = _LISTEN.fullmatch(listen)
    if found is None:
        raise ValueError("expected an address of this machine and a port, as 127.0.0.1:8765")
    return found["host"].strip("[]"), int(found["port"])


def _secret(key: str, file: Path | None) -> str | None:
    if file is None:
        return None
    secret = read_secret(key, file).strip()
    if len(secret) < LEAST_SECRET:
        raise ConfigError(f"{key} {file}: at least {LEAST_SECRET} characters are needed, and it has {len(secret)}")
    return secret
