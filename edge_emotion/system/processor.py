"""The processor at hand: its name, and whether int8 is fast on it."""

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


def processor_name(cpu_info: Path = CPU_INFO) -> str:
    """The processor's name and, on x86, its model numbers: virtual machines of many generations share one name."""
    fields: dict[str, str] = {}
    text = cpu_info.read_text(encoding="utf-8", errors="replace") if cpu_info.is_file() else ""
    for line in text.splitlines():
        key, _, value = line.partition(":")
        fields.setdefault(key.strip(), value.strip())
    name = fields.get("model name") or fields.get("Model") or platform.processor() or "unknown"
    keys = {"cpu family": "family", "model": "model", "stepping": "stepping"}
    numbers = [f"{word} {fields[key]}" for key, word in keys.items() if key in fields]
    return f"{name} ({', '.join(numbers)})" if numbers else name
