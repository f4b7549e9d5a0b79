"""The canonical emotions, their order, their aliases, and subsets of them."""

import re
from collections.abc import Iterable, Sequence
from difflib import get_close_matches

from edge_emotion.errors import ConfigError

EMOTIONS: tuple[str, ...] = (
    "neutral",
    "happiness",
    "surprise",
    "sadness",
    "anger",
    "disgust",
    "fear",
    "contempt",
)
"""Canonical order: the first eight vote columns of FER+ (Barsoum et al. 2016)."""

UNKNOWN = "unknown"
"""Reported when no emotion reaches the threshold. Never an output of a model."""

ALIASES: dict[str, str] = {
    "happy": "happiness",
    "joy": "happiness",
    "surprised": "surprise",
    "sad": "sadness",
    "angry": "anger",
    "disgusted": "disgust",
    "fearful": "fear",
    "afraid": "fear",
    "calm": "neutral",
    "contemptuous": "contempt",
}


def canonical(name: str) -> str:
    """The canonical name for ``name`` in any case, alias or not.

    Raises ConfigError for a name that is no emotion, with the nearest one as a hint.
    """
    key = name.strip().lower()
    key = ALIASES.get(key, key)
    if key not in EMOTIONS:
        near = get_close_matches(key, [*EMOTIONS, *ALIASES], n=1)
        hint = f"did you mean {ALIASES.get(near[0], near[0])!r}?" if near else f"use one of {', '.join(EMOTIONS)}"
        raise ConfigError(f"unknown emotion {name!r}: {hint}")
    return key


def own_label(name: str) -> bool:
    """Whether ``name`` may be a label of an imported model beside our emotions: 1 to 32 of a-z, 0-9 and _."""
    return re.fullmatch(r"[a-z][a-z0-9_]{0,31}", name) is not None and name != UNKNOWN


def subset(labels: Sequence[str], classes: Iterable[str]) -> tuple[int, ...]:
    """Positions in ``labels`` of the wanted ``classes``, in the order of ``labels``.

    Raises ConfigError when a class is not among the labels or fewer than two remain.
    """
    wanted = {name if name in labels else canonical(name) for name in classes}
    missing = wanted.difference(labels)
    if missing:
        raise ConfigError(f"classes {sorted(missing)} are not emotions of this model; it has {', '.join(labels)}")
    if len(wanted) < 2:
        raise ConfigError("a class subset needs at least two emotions")
    return tuple(index for index, label in enumerate(labels) if label in wanted)
