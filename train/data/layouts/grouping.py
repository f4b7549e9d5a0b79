"""Splits of recordings: all pictures of a group (a session, a folder, a person) lie in the same split."""

from __future__ import annotations

import hashlib
import re
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from pathlib import PurePosixPath

from edge_emotion.errors import ConfigError
from edge_emotion.labels import ALIASES, EMOTIONS
from train.data.faces import DataError, Split
from train.data.layouts.splits import SHARES, SPLIT_NAMES

SESSION, FOLDER = "session", "folder"
"""Rules by name; any other text is a regular expression."""

GROUPS_HELP = (
    "pictures of one group stay in one split: session (file names that differ only in their last number), folder "
    "(below the class folder), or a regular expression on the path, whose first group counts"
)


def grouped_splits(
    splits: Sequence[Split | None], keys: Sequence[str], labels: Sequence[str], rule: str
) -> tuple[list[Split], str]:
    """Fill in missing splits as ``complete_splits`` does, by whole groups; returns them, and a line with their numbers.

    keys: paths inside the data set. A tenth of the groups, but at least one, becomes validation, and as many test; this
    holds for the groups of each label where these are enough. Raises ConfigError for an invalid
    expression, DataError for a data set with splits of its own, for a path without a group, and for too few groups.
    """
    parts = _missing_parts(set(splits), rule)
    find = _finder(rule)
    free = [row for row, split in enumerate(splits) if split in (None, "train")]
    groups = {row: find(keys[row]) for row in free}
    members: dict[str, set[str]] = defaultdict(set)
    for row, group in groups.items():
        members[group].add(labels[row])
    if len(members) <= len(parts):
        raise DataError(
            f"--group-by {rule} finds {len(members)} groups ({', '.join(sorted(members))}), "
            f"{len(parts) + 1} are the least"
        )
    chosen = _assign(members, parts)
    _require_train(members, chosen, rule)
    complete = [chosen[groups[row]] if row in groups else split or "train" for row, split in enumerate(splits)]
    counts = ", ".join(f"{sum(one == part for one in chosen.values())} {part}" for part in ("train", *parts))
    return complete, f"split by {rule}: {len(members)} groups ({counts})"


def _missing_parts(given: set[Split | None], rule: str) -> tuple[Split, ...]:
    """The splits to be taken from the training pictures."""
    if given <= {None, "train"}:
        return "validation", "test"
    if "train" in given and "validation" not in given:
        return ("validation",)
    raise DataError(f"--group-by {rule}: this data set has its own splits; leave the option out, or move the pictures")


def _finder(rule: str) -> Callable[[str], str]:
    """A function from a picture's path to its group."""
    if rule == SESSION:
        return lambda key: re.sub(r"[\W_]*\d+\D*$", "", PurePosixPath(key).stem) or "(numbers only)"
    if rule == FOLDER:
        return lambda key: "/".join(part for part in PurePosixPath(key).parts[:-1] if not _means(part)) or "(no folder)"
    try:
        pattern = re.compile(rule)
    except re.error as error:
        raise ConfigError(
            f"--group-by {rule}: neither session nor folder, nor a regular expression: {error}"
        ) from error

    def find(key: str) -> str:
        found = pattern.search(key)
        if found is None:
            raise DataError(f"--group-by {rule}: does not occur in {key}")
        return found[1] or "" if pattern.groups else found[0]

    return find


def _means(folder: str) -> bool:
    """Whether a folder names a split or an emotion."""
    return folder.strip().lower() in {*SPLIT_NAMES, *EMOTIONS, *ALIASES}


def _assign(members: Mapping[str, set[str]], parts: tuple[Split, ...]) -> dict[str, Split]:
    alike: dict[frozenset[str], list[str]] = defaultdict(list)
    for group, labels in members.items():
        alike[frozenset(labels)].append(group)
    strata = [*alike.values()] if all(len(groups) > len(parts) for groups in alike.values()) else [[*members]]
    chosen: dict[str, Split] = dict.fromkeys(members, "train")
    for groups in strata:
        groups.sort(key=lambda group: hashlib.blake2b(group.encode(), digest_size=8).digest())
        count = max(1, round(len(groups) / SHARES))
        for at, part in enumerate(parts):
            chosen |= dict.fromkeys(groups[at * count : (at + 1) * count], part)
    return chosen


def _require_train(members: Mapping[str, set[str]], chosen: Mapping[str, Split], rule: str) -> None:
    trained = set().union(*(labels for group, labels in members.items() if chosen[group] == "train"))
    if missing := sorted(set().union(*members.values()) - trained):
        raise DataError(f"--group-by {rule}: no group of {missing[0]} is left to train on; record more sessions")
