"""The canonical emotions, their order, their aliases, and subsets of them."""

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


def subset(labels: Sequence[str], classes: Iterable[str]) -> tuple[int, ...]:
    """Positions in ``labels`` of the wanted ``classes``, in the order of ``labels``.

    Raises ConfigError when a class is not among the labels or fewer than two remain.
    """
    wanted = {canonical(name) for name in classes}
    missing = wanted.difference(labels)
    if missing:
        raise ConfigError(f"classes {sorted(missing)} are not emotions of this model; it has {', '.join(labels)}")
    if len(wanted) < 2:
        raise ConfigError("a class subset needs at least two emotions")
    return tuple(index for index, label in enumerate(labels) if label in wanted)
