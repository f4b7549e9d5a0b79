"""ULIDs: sortable, unguessable enough, 26 characters (https://github.com/ulid/spec)."""

import secrets
from datetime import datetime

ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
"""Crockford's base 32: no I, L, O, U."""


def ulid(moment: datetime) -> str:
    """48 bits of UTC milliseconds, then 80 random bits."""
    value = (int(moment.timestamp() * 1000) << 80) | secrets.randbits(80)
    return "".join(ALPHABET[(value >> shift) & 31] for shift in range(125, -1, -5))
