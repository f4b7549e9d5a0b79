"""Time-outs of a connection, and the limits of the delays between attempts to connect."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Timing:
    """How long the sink waits, in seconds."""

    connect: float = 5.0
    """For the socket and its TLS handshake."""
    answer: float = 10.0
    """For the broker's CONNACK."""
    first_retry: float = 1.0
    longest_retry: float = 60.0
    steady: float = 30.0
    """A connection that held this long ends the doubling of the retry delays."""
    farewell: float = 0.5
    """For saying offline at a stop, after the drain."""
    store: float = 2.0
    """For writing down at a stop what was not delivered."""
    birth: float = 5.0
    """At most, before everything is said again to a Home Assistant that has just come: not all nodes at once."""
