"""What splits are called, and how a data set without them gets some."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence

from train.data.faces import SPLITS, Split

SPLIT_NAMES: dict[str, Split] = {
    **dict.fromkeys(("train", "training"), SPLITS[0]),
    **dict.fromkeys(("val", "valid", "validation", "dev", "publictest"), SPLITS[1]),
    **dict.fromkeys(("test", "testing", "privatetest"), SPLITS[2]),
}
"""What a folder, a row or an option may call a split, in lower case; the last of each line are FER2013's."""

SHARES = 10
"""A hash puts each picture into one of ten equal shares: the last two are validation and test where none is given."""


def hashed_split(key: str) -> Split:
    """The split of a picture that has none: 80 % train, 10 % validation, 10 % test, the same on every machine.

    ``key`` is the path inside the data set, with forward slashes, so adding a picture moves no other one.
    """
    share = int.from_bytes(hashlib.blake2b(key.encode(), digest_size=8).digest(), "big") % SHARES
    return {SHARES - 2: SPLITS[1], SHARES - 1: SPLITS[2]}.get(share, SPLITS[0])


def complete_splits(splits: Sequence[Split | None], keys: Iterable[str]) -> list[Split]:
    """What every picture's split is, when a data set gives none, or no validation.

    Without splits, or with ``train`` alone: ``hashed_split``. With train and test only, a tenth of train, by the same
    hash, is validation, and the published test stays whole.
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
