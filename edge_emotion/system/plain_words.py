"""Messages of pydantic and of the system without Python's names and numbers."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

from edge_emotion.system.paths import printable

if TYPE_CHECKING:
    from pydantic import ValidationError

PLAIN_WORDS = {
    ("missing",): "is required",
    ("string_type", "path_type"): "must be text",
    ("int_parsing", "int_type", "int_from_float"): "must be a whole number",
    ("float_parsing", "float_type"): "must be a number",
    ("bool_",): "must be true or false",
    ("model_", "dict_"): "must hold keys and values",
    ("tuple_type", "list_type"): "must be a list",
}
"""By the beginnings of pydantic's types of errors."""

_NAME = re.compile(r"String should match pattern '\^\[a-zA-Z0-9_-\]\S*'$")
_LENGTH = re.compile(r"^(?:String|Dictionary|Tuple|List) should have (at (?:least|most) \d+ \w+)(?: after validation)?")
_PATTERN = "String should match pattern"


def in_plain_words(kind: str, message: str) -> str:
    """A message for people; ``kind`` is pydantic's type of the error."""
    plain = next((text for kinds, text in PLAIN_WORDS.items() if kind.startswith(kinds)), message)
    plain = re.sub("^(Value|Assertion) error, ", "", plain)
    if plain.startswith(_PATTERN):
        is_name = _NAME.match(plain)
        return "only letters, digits, - and _ are allowed here" if is_name else plain.replace(_PATTERN, "must match")
    plain = _LENGTH.sub(r"must have \1", plain)
    return plain.replace("Input should be a valid", "must be a").replace("Input should be", "must be")


def first_fault(error: ValidationError, whole: str) -> str:
    """The field of the first fault of a document, and the fault; ``whole`` stands for a fault of no single field."""
    first = error.errors()[0]
    where = ".".join(map(str, first["loc"])) or whole
    return f"{where}: {in_plain_words(first['type'], first['msg'])}"


def os_error_text(error: OSError) -> str:
    """The file, where there is one, and the reason: of two files the one that is written."""
    file = error.filename if error.filename2 is None else error.filename2
    if error.strerror is None:
        return str(error) or type(error).__name__
    named = isinstance(file, (str, bytes, os.PathLike))  # it may be the number of an open file
    return f"{printable(os.fsdecode(file))}: {error.strerror}" if named else error.strerror
