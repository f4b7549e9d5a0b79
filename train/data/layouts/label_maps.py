"""Numbers as labels: those of published data sets, and those that ``--label-map`` explains."""

from __future__ import annotations

from collections.abc import Mapping

from edge_emotion.errors import ConfigError
from edge_emotion.labels import canonical
from train.data.faces import DataError

FER2013 = tuple(canonical(name) for name in ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral"))
"""Emotions of the numbers 0 to 6 in FER2013's column 'emotion'."""

RAFDB = {
    str(number): canonical(name)
    for number, name in enumerate(("surprise", "fear", "disgust", "happiness", "sadness", "anger", "neutral"), start=1)
}
"""Labels of the basic part of RAF-DB (Li et al. 2017)."""

AFFECTNET = tuple(
    canonical(name) for name in ("neutral", "happy", "sad", "surprise", "fear", "disgust", "anger", "contempt")
)
"""Labels 0 to 7 of AffectNet (Mollahosseini et al. 2017); 8 to 10 are none, uncertain and no face."""

KNOWN_MAPS: dict[str, Mapping[str, str]] = {
    "fer2013": {str(number): name for number, name in enumerate(FER2013)},
    "rafdb": RAFDB,
    "affectnet": {str(number): name for number, name in enumerate(AFFECTNET)},
}
"""Names that ``--label-map`` takes instead of a list."""


def parse_label_map(text: str) -> dict[str, str]:
    """``1=anger,2=disgust`` or a name of KNOWN_MAPS: label in lower case -> emotion. Raises DataError."""
    if text in KNOWN_MAPS:
        return dict(KNOWN_MAPS[text])
    found: dict[str, str] = {}
    for part in text.split(","):
        label, equals, name = (piece.strip() for piece in part.partition("="))
        if not (label and equals and name) or label.lower() in found:
            raise DataError(
                f"{part!r} is no part of a label map: expected LABEL=EMOTION,LABEL=EMOTION with each label once, "
                f"or one of {', '.join(KNOWN_MAPS)}"
            )
        try:
            found[label.lower()] = canonical(name)
        except ConfigError as error:
            raise DataError(str(error)) from error
    return found
