"""Orders that are signed on a workstation, and what a node refuses."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
from support.orders import make_order

from edge_emotion.errors import ReleaseRefused
from edge_emotion.updates.minisign import public_key_text, signature_text
from edge_emotion.updates.secret_key import SecretKey, make_key_pair, read_secret_key
from edge_emotion.updates.signed_order import read_order, sign_order
from edge_emotion.wire.model_order import join_order, split_order


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> tuple[SecretKey, SecretKey]:
    """Two secret keys: one that the nodes trust, and another."""
    made = [make_key_pair(tmp_path_factory.mktemp("keys") / "key")[0] for _ in range(2)]
    first, second = (read_secret_key(file) for file in made)
    return first, second


def test_an_order_is_read_as_it_was_signed_with_either_of_two_keys(keys: tuple[SecretKey, SecretKey]) -> None:
    order = make_order(serial=3)
    for key in keys:
        assert read_order(sign_order(order, key), [one.public for one in keys], "cafes") == order


def test_an_order_with_another_key_a_changed_line_or_another_group_is_refused_in_one_line(
    keys: tuple[SecretKey, SecretKey],
) -> None:
    trusted, other = keys
    line, signature = split_order(sign_order(make_order(), trusted))
    of_another_order = split_order(sign_order(make_order(serial=9), trusted))[1]
    forged = other._replace(number=trusted.number)
    malformed = json.dumps({**json.loads(line), "percent": 200}).encode()
    refused = {
        "not trusted here": sign_order(make_order(), other),
        "does not belong to it": join_order(line.replace(b'"percent":100', b'"percent":1'), signature),
        "signature that does not": join_order(line, of_another_order),
        "was changed": sign_order(make_order(), forged),
        "cannot be read": join_order(line, signature[:-9]),
        "no signature": line,
        "are the most": join_order(line, signature + b" " * 4096),
        "percent": join_order(malformed, _signature_of(malformed, trusted)),
        "for group bars": sign_order(make_order(group="bars"), trusted),
    }
    for reason, payload in refused.items():
        with pytest.raises(ReleaseRefused, match=f"^[^\n]*{reason}[^\n]*$"):
            read_order(payload, [trusted.public], "cafes")


def test_minisign_itself_verifies_an_order(keys: tuple[SecretKey, SecretKey], tmp_path: Path) -> None:
    line, signature = split_order(sign_order(make_order(serial=17), keys[0]))
    (tmp_path / "key.pub").write_text(public_key_text(keys[0].public))
    (tmp_path / "order").write_bytes(line)
    (tmp_path / "signature").write_bytes(signature)
    words = ["minisign", "-V", "-p", "key.pub", "-m", "order", "-x", "signature"]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=True, timeout=60)
    assert "order 17 for cafes" in done.stdout


def _signature_of(line: bytes, key: SecretKey) -> bytes:
    return signature_text(key.sign(line, "test"))
