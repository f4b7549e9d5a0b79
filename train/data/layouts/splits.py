"""Names of splits, and splitting of data sets that have none."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence

from train.data.faces import SPLITS, Split

SPLIT_NAMES: dict[str, Split] = {
    **dict.fromkeys(("train", "training"), SPLITS[0]),
    **dict.fromkeys(("val", "valid", "validation", "dev", "publictest"), SPLITS[1]),
    **dict.fromkeys(("test", "testing", "privatetest"), SPLITS[2]),
}
"""Names of splits in folders, tables and options, in lower case; the last of each line is FER2013's."""

SHARES = 10
"""Number of equal shares by hash; where no splits are given, the last two are validation and test."""


def hashed_split(key: str) -> Split:
    """The split of a picture without one: 80 % train, 10 % validation, 10 % test, the same on every machine.

    ``key``: the path inside the data set, with forward slashes, so that adding a picture moves no other one. A name
    that is no UTF-8 counts by its bytes.
    """
    share = (
        int.from_bytes(hashlib.blake2b(key.encode("utf-8", "surrogateescape"), digest_size=8).digest(), "big") % SHARES
    )
    return {SHARES - 2: SPLITS[1], SHARES - 1: SPLITS[2]}.get(share, SPLITS[0])


def complete_splits(splits: Sequence[Split | None], keys: Iterable[str]) -> list[Split]:
    """Fill in the splits of pictures of a data set that has none, or no validation.

    Without splits, or with ``train`` alone: ``hashed_split``. With train and test only, a tenth of train, by the same
    hash, becomes validation, and the published test stays as it is.
    """
    given = set(splits)
    if given <= {None, "train"}:
        return [hashed_split(key) for key in keys]
    if "train" in given and "validation" not in given:
        chosen = (
            split == "train" and hashed_split(key) == "validation" for split, key in zip(splits, keys, strict=True)
        )
        return ["validation" if moved else split or "train" for split, moved in zip(splits, chosen, strict=True)]
    return [split or "train" for split in splits]
