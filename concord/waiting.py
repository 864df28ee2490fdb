"""Waiting: for something to turn up, and for a database to come back."""

from __future__ import annotations

import random
import time
from typing import TYPE_CHECKING, TypeVar

from concord.errors import Contention, DatabaseUnavailable, SchemaMismatch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

R = TypeVar("R")
T = TypeVar("T")

POLL_FIRST, POLL_LONGEST = 0.1, 1.0
"""Seconds between looks; each wait is longer than the one before."""


def pauses() -> Iterator[float]:
    """Yield how long to wait before the next look, in seconds, without end.

    Many wait for the same: each looks at a moment of its own.
    """
    pause = POLL_FIRST
    while True:
        yield pause * random.uniform(0.5, 1)  # noqa: S311 - jitter, not a secret
        pause = min(POLL_LONGEST, pause * 2)


def await_any(
    look: Callable[[], Sequence[T]],
    *,
    patience: float,
    pause: Callable[[float], object] = time.sleep,
) -> Sequence[T]:
    """Return what a look finds, once it finds something; nothing after `patience` seconds."""
    deadline = time.monotonic() + patience
    for wait in pauses():
        found = look()
        left = deadline - time.monotonic()
        if found or left <= 0:
            return found
        pause(min(left, wait))
    raise AssertionError("pauses never end")


def outlast(
    attempt: Callable[[], R], *, patience: float, pause: Callable[[float], object] = time.sleep
) -> R:
    """Return what an attempt returns, again and again while the database is out of reach.

    So too while others keep it from being done. Raises what the last attempt raised after
    `patience` seconds, and at once for a database of another schema. The attempt must be one that
    can be repeated.
    """
    deadline = time.monotonic() + patience
    for wait in pauses():
        try:
            return attempt()
        except SchemaMismatch:
            raise
        except (DatabaseUnavailable, Contention):
            left = deadline - time.monotonic()
            if left <= 0:
                raise
            pause(min(left, wait))
    raise AssertionError("pauses never end")
