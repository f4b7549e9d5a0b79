"""What the processor at hand computes well."""

from __future__ import annotations

import platform
from functools import cache
from pathlib import Path

CPU_INFO = Path("/proc/cpuinfo")
DOT_PRODUCTS = {"avx512_vnni", "avx_vnni"}
"""Flags of x86 processors with dot products of int8; without them int8 takes longer than float there."""


@cache
def int8_is_fast() -> bool:
    """False on x86 without instructions for int8, where float files are faster; True on every other processor."""
    if platform.machine() not in ("x86_64", "AMD64"):
        return True
    return has_dot_products(CPU_INFO.read_text(encoding="utf-8")) if CPU_INFO.is_file() else True


def has_dot_products(cpu_info: str) -> bool:
    """Whether the flags in the text of /proc/cpuinfo hold one of DOT_PRODUCTS."""
    return any(DOT_PRODUCTS & set(line.split()) for line in cpu_info.splitlines() if line.startswith("flags"))
