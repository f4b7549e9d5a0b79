"""What the command line says about a network: the values of its input, and the names of its outputs."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from edge_emotion.errors import ConfigError
from edge_emotion.labels import ALIASES, EMOTIONS, own_label

Layout = Literal["NHWC", "NCHW"]

RANGES = {"0..1": (1 / 255, 0.0), "-1..1": (1 / 127.5, -1.0), "0..255": (1.0, 0.0)}
"""Name of a range -> scale and offset of a pixel."""

IMAGENET = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Mean and deviation of red, green and blue in 0..1, as torchvision's weights need them."""

SIZE = re.compile(r"([0-9]+)x([0-9]+)(?:x([13]))?")
COLOURS = {"gray": "gray", "grey": "gray", "rgb": "rgb", "bgr": "bgr"}
ORDERS = {"fer2013": ("anger", "disgust", "fear", "happiness", "sadness", "surprise", "neutral"), "fer_plus": EMOTIONS}
"""Names of known orders of labels."""

NUMBERED = re.compile(r"[0-9]+[\s:.,;)-]+")
"""A number before a label, as in Teachable Machine's labels.txt."""

HELP = (
    "words: size and channels (48x48x1), colour (gray, rgb, bgr), NHWC or NCHW, the range of the values (0..1, -1..1, "
    "0..255, imagenet), or a range with mean=A,B,C deviation=A,B,C"
)


@dataclass(frozen=True)
class InputText:
    """Facts about an input; None: not given. ``scale`` and ``offset`` have one value or one for each channel."""

    size: tuple[int, int] | None = None
    channels: int | None = None
    colour: str | None = None
    layout: Layout | None = None
    scale: tuple[float, ...] | None = None
    offset: tuple[float, ...] | None = None


def parse_input(words: Sequence[str]) -> InputText:
    """The facts in ``--input``. Raises ConfigError, naming the word, for one that is unknown or contradicts another."""
    parts = [part for word in words for part in word.split()]
    parts = [part for word in parts for part in (word.split(",") if "=" not in word else [word]) if part]
    text, given = InputText(), dict(part.split("=", 1) for part in parts if "=" in part)
    for word in (part for part in parts if "=" not in part):
        text = _with_word(text, word)
    given = {{"std": "deviation", "means": "mean"}.get(name, name): value for name, value in given.items()}
    if unknown := set(given) - {"mean", "deviation"}:
        raise ConfigError(f"--input: {unknown.pop()}= is unknown; {HELP}")
    return _standardised(text, given) if given else text


def _with_word(text: InputText, word: str) -> InputText:
    lower = word.lower()
    if found := SIZE.fullmatch(lower):
        height, width, channels = found.groups()
        return replace(text, size=(int(height), int(width)), channels=int(channels) if channels else text.channels)
    if lower in COLOURS:
        return replace(text, colour=COLOURS[lower])
    if word.upper() in ("NHWC", "NCHW"):
        return replace(text, layout="NHWC" if word.upper() == "NHWC" else "NCHW")
    if lower == "imagenet":
        scale, offset = _affine((1 / 255, 0.0), *IMAGENET)
        return replace(text, scale=scale, offset=offset)
    if lower in RANGES:
        return replace(text, scale=RANGES[lower][:1], offset=RANGES[lower][1:])
    raise ConfigError(f"--input: {word} is unknown; {HELP}")


def _standardised(text: InputText, given: dict[str, str]) -> InputText:
    """``text`` with mean and deviation, in units of its range, in scale and offset. Raises ConfigError."""
    if text.scale is None or text.offset is None or len(text.scale) > 1:
        raise ConfigError("--input: mean and deviation need the range in which they count: 0..1 or 0..255")
    values = {name: _numbers(name, given[name]) for name in given}
    mean, deviation = values.get("mean", (0.0,)), values.get("deviation", (1.0,))
    if min(deviation) <= 0:
        raise ConfigError(f"--input: deviation={given['deviation']}: each must be above 0")
    scale, offset = _affine((text.scale[0], text.offset[0]), mean, deviation)
    return replace(text, scale=scale, offset=offset)


def _numbers(name: str, text: str) -> tuple[float, ...]:
    try:
        values = tuple(float(value) for value in text.split(","))
    except ValueError:
        values = ()
    if len(values) not in (1, 3):
        raise ConfigError(f"--input: {name}={text}: one number, or three with commas between them")
    return values


def _affine(
    units: tuple[float, float], mean: Sequence[float], deviation: Sequence[float]
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Scale and offset of a pixel: (pixel * units[0] + units[1] - mean) / deviation."""
    count = max(len(mean), len(deviation))
    means, deviations = (tuple(values) * (count // len(values)) for values in (mean, deviation))
    scale = tuple(units[0] / one for one in deviations)
    return scale, tuple((units[1] - one) / other for one, other in zip(means, deviations, strict=True))


def parse_labels(text: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The labels in their order, and those of them that are none of our emotions.

    ``text``: names with commas between them, a known order, or a file with a name in each line, numbered or not.
    Raises ConfigError for a missing file, a single name, one that cannot be a label, or one that comes twice.
    """
    path = Path(text)
    if text.strip().lower() in ORDERS:
        names: Sequence[str] = ORDERS[text.strip().lower()]
    elif path.is_file():
        try:
            names = [NUMBERED.sub("", line, count=1) for line in path.read_text(encoding="utf-8-sig").splitlines()]
        except (OSError, ValueError) as error:
            raise ConfigError(f"--labels: cannot read {path}: {error}") from error
    elif path.suffix:
        raise ConfigError(f"--labels: there is no file {path}")
    else:
        names = text.split(",")
    labels = tuple(_label(name) for name in names if name.strip())
    if twice := [name for name in labels if labels.count(name) > 1]:
        raise ConfigError(f"--labels: {twice[0]} comes twice")
    if len(labels) < 2:
        raise ConfigError(f"--labels {text}: a classifier has at least two; known orders: {', '.join(ORDERS)}")
    return labels, tuple(name for name in labels if name not in EMOTIONS)


def _label(name: str) -> str:
    key = re.sub(r"[\s-]+", "_", name.strip().lower())
    key = ALIASES.get(key, key)
    if key not in EMOTIONS and not own_label(key):
        plain = unicodedata.normalize("NFKD", key).encode("ascii", "ignore").decode()
        hint = f"; for example {plain}" if plain != key and own_label(plain) else ""
        raise ConfigError(
            f"--labels: {name.strip()!r} cannot be a label: take a letter of a to z, then letters, digits and _, "
            f"32 in all{hint}"
        )
    return key
