"""Orders of releases: signing on a workstation, verification on a node."""

from __future__ import annotations

from collections.abc import Iterable

from edge_emotion.errors import ReleaseRefused
from edge_emotion.updates.minisign import PublicKey, parse_signature, signature_text, verify
from edge_emotion.updates.secret_key import SecretKey
from edge_emotion.wire.model_order import ModelOrder, join_order, order_from_json, order_to_json, split_order


def sign_order(order: ModelOrder, key: SecretKey) -> bytes:
    """The payload for the topic ``<prefix>/fleet/<group>/model``."""
    line = order_to_json(order)
    return join_order(line, signature_text(key.sign(line, f"order {order.serial} for {order.group}")))


def read_order(payload: bytes, trusted: Iterable[PublicKey], group: str) -> ModelOrder:
    """The order that a trusted key signed for ``group``; nothing of it is parsed before the signature is verified.

    Its age is not checked here. Raises ReleaseRefused in one line.
    """
    try:
        line, signature = split_order(payload)
    except ValueError as error:
        raise ReleaseRefused(f"the order is refused: {error}") from error
    verify(line, parse_signature(signature, "the order"), trusted, "the order")
    try:
        order = order_from_json(line)
    except ValueError as error:
        raise ReleaseRefused(f"the order is signed, but malformed: {error}; order again") from error
    if order.group != group:
        raise ReleaseRefused(f"the order is for group {order.group}, and this is group {group}")
    return order
