"""Deterministic interleavings: send a step, then wait until it is done or blocked.

A session runs its steps in a thread of its own. After sending one, the caller learns whether it
is done or which sessions it waits for, as PostgreSQL itself tells it; nothing sleeps for luck.
"""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Self

import psycopg

if TYPE_CHECKING:
    from collections.abc import Callable

PATIENCE = 30
"""Seconds after which a step that is neither done nor blocked is a failure."""


class Observer:
    """A connection that sees who waits for whom."""

    def __init__(self, url: str) -> None:
        self._connection = psycopg.connect(url, autocommit=True)

    def blockers(self, pid: int) -> list[int]:
        """Return the pids that a backend waits for."""
        row = self._connection.execute("SELECT pg_blocking_pids(%s)", (pid,)).fetchone()
        assert row is not None
        return row[0]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()


class Session:
    """One of several concurrent sessions. `pid` is its backend's."""

    def __init__(self, observer: Observer, pid: int, close: Callable[[], None]) -> None:
        self._observer = observer
        self._close = close
        self._pool = ThreadPoolExecutor(1)
        self.pid = pid

    def send(self, step: Callable[..., Any], *arguments: Any, **options: Any) -> Future[Any]:
        """Start a step; return once it is done or blocked by another session."""
        future = self._pool.submit(step, *arguments, **options)
        for _ in range(PATIENCE * 200):
            with suppress(TimeoutError):
                future.exception(timeout=0.005)
            if future.done() or self._observer.blockers(self.pid):
                return future
        raise AssertionError("the step is neither done nor blocked")

    def blocked_by(self, other: Session) -> bool:
        """Whether this session waits for another one now."""
        return other.pid in self._observer.blockers(self.pid)

    def close(self) -> None:
        """End the session."""
        self._close()
        self._pool.shutdown()
