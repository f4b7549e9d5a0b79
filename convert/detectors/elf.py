"""Arrays of numbers out of a shared library, read as data: no code of it runs, and its machine may be another one."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from edge_emotion.errors import ModelError

SECTION = np.dtype(
    [("name", "<u4"), ("type", "<u4"), ("flags", "<u8"), ("address", "<u8"), ("offset", "<u8"), ("size", "<u8"),
     ("link", "<u4"), ("info", "<u4"), ("align", "<u8"), ("entry", "<u8")]
)  # fmt: skip
SYMBOL = np.dtype(
    [("name", "<u4"), ("info", "u1"), ("other", "u1"), ("section", "<u2"), ("value", "<u8"), ("size", "<u8")]
)
"""Layouts of ELF-64, little-endian: System V Application Binary Interface, chapters 4 and 5."""

SYMBOL_TABLE, OBJECT = 2, 1


def float_arrays(content: bytes, wanted: Callable[[str], bool]) -> dict[str, npt.NDArray[np.float32]]:
    """Global arrays of float32 in a little-endian ELF-64 file by the names of their symbols, flat.

    Raises ModelError for a file of another kind, one without a symbol table, or one that ends too early.
    """
    if content[:6] != b"\x7fELF\x02\x01":
        raise ModelError("the library is no little-endian ELF-64 file")
    try:
        start, count = (int(np.frombuffer(content, kind, 1, at)[0]) for kind, at in (("<u8", 40), ("<u2", 60)))
        sections = np.frombuffer(content, SECTION, count, start)
        (table,) = sections[sections["type"] == SYMBOL_TABLE]
        symbols = np.frombuffer(content, SYMBOL, int(table["size"]) // SYMBOL.itemsize, int(table["offset"]))
        names = sections[table["link"]]
        return {
            name: _values(content, sections[symbol["section"]], symbol)
            for symbol in symbols[(symbols["info"] & 15) == OBJECT]
            if wanted(name := _text(content, int(names["offset"]) + int(symbol["name"])))
        }
    except (ValueError, IndexError) as error:
        raise ModelError(f"the library's symbols cannot be read: {error}") from error


def _values(content: bytes, section: np.void, symbol: np.void) -> npt.NDArray[np.float32]:
    offset = int(symbol["value"]) - int(section["address"]) + int(section["offset"])
    return np.frombuffer(content, "<f4", int(symbol["size"]) // 4, offset).astype(np.float32)


def _text(content: bytes, at: int) -> str:
    return content[at : content.index(b"\0", at)].decode("ascii", "replace")
