"""Time-outs of a connection, and the limits of the delays between attempts to connect."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Timing:
    """Time limits of the sink and the client, in seconds."""

    connect: float = 5.0
    """For the socket and its TLS handshake."""
    answer: float = 10.0
    """For the broker's CONNACK and SUBACK."""
    acknowledge: float = 30.0
    """For the next PUBACK while messages are unacknowledged; then the connection is taken for dead."""
    first_retry: float = 1.0
    longest_retry: float = 60.0
    first_login_retry: float = 60.0
    """After refused credentials: more attempts would not help, and may be taken for an attack."""
    longest_login_retry: float = 300.0
    steady: float = 30.0
    """A connection that lasted this long resets the retry delay to ``first_retry``."""
    disconnect: float = 0.5
    """For publishing ``offline`` and disconnecting at a stop, after the drain."""
    turn: float = 120.0
    """For a turn of a thread of the sink; longer ones starve systemd's watchdog. A name server may take a minute."""
    store: float = 2.0
    """For writing undelivered events to the disk at a stop."""
    birth: float = 5.0
    """Longest random delay before everything retained is published again after Home Assistant's birth message, so that
    not all nodes answer at once."""
