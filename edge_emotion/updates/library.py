"""The library of releases, which only whoever uses them needs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from edge_emotion.errors import BackendUnavailable


@contextmanager
def pynacl_for(what: str) -> Iterator[None]:
    """A context for imports. Raises BackendUnavailable if PyNaCl, which ``what`` needs, is missing."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise BackendUnavailable(
            f"{what} needs pynacl ({error}): pip install '.[update]' in the clone, or edge-emotion[update]"
        ) from error
