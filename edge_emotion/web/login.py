"""Checking passwords and tokens: one at a time, and late answers for wrong ones."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar

from starlette.concurrency import run_in_threadpool

from edge_emotion.web.access import Failures
from edge_emotion.web.problems import Problem

MAX_WAITING = 5
"""Most checks that wait for their turn."""

Found = TypeVar("Found")


class Checks:
    """Each check takes 16 MB and 50 ms, so they take turns; a wrong one delays those that wait, too."""

    def __init__(self) -> None:
        self._turn, self._waiting, self._failures = asyncio.Lock(), 0, Failures()

    async def run(self, check: Callable[[str], Found], text: str) -> Found:
        """The result of ``check(text)``; a false one comes late, as a failed login. Raises Problem if too many wait."""
        if self._waiting >= MAX_WAITING:
            raise Problem(429, "too many logins are being checked: try again later", {"Retry-After": "10"})
        self._waiting += 1
        try:
            async with self._turn:
                found = await run_in_threadpool(check, text)
                if found:
                    self._failures.forget()
                else:
                    await asyncio.sleep(self._failures.note())
                return found
        finally:
            self._waiting -= 1
