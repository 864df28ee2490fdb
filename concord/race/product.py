"""Concord's own operations in a race: the real runner, and the ledger in the same transaction."""

from __future__ import annotations

from typing import TYPE_CHECKING, ParamSpec, TypeVar

from concord.database import Database, Operation, Record
from concord.errors import (
    CommitUnknown,
    ConcordError,
    Conflict,
    Contention,
    DatabaseUnavailable,
    Refused,
)
from concord.race import ledger
from concord.race.attempts import Attempt, Entered
from concord.race.effects import Again, Op, Touch
from concord.race.session import entry

if TYPE_CHECKING:
    from collections.abc import Callable

    from concord.database import Transaction
    from concord.race.clock import Clock
    from concord.settings import Settings

P = ParamSpec("P")
R = TypeVar("R")


class Product:
    """Runs Concord's operations for a worker and notes each attempt that the runner makes."""

    def __init__(
        self,
        settings: Settings,
        name: str,
        schema: str,
        worker: int,
        clock: Clock,
        pause: Callable[[], None],
    ) -> None:
        self.database = Database(settings, name, observe=self._observe, schema=schema)
        self.attempts: list[Attempt] = []
        self.think = pause
        self._now = clock
        self._worker = worker
        self._current: Attempt | None = None
        self._op: Op | None = None
        self._begin: float | None = None
        self._looked: list[tuple[str, float, float, int]] = []
        self._entries: list[int] | None = None

    def look(self, operation: Operation[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Run an operation that the raced one builds on, in a transaction of its own."""
        return self.database.run(operation, *args, **kwargs)

    def read(self, entries: list[int]) -> None:
        """Note the list that has been read."""
        self._entries = entries

    def race(
        self,
        op: Op,
        operation: Operation[P, R],
        done: Callable[[R], tuple[Touch, ...]],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> tuple[Touch, ...]:
        """Run the raced operation; in its transaction, enter what it did into the ledger.

        Raises `Again` for a stale version or a limit that is reached, and `ConcordError`.
        """

        def body(tx: Transaction) -> tuple[Touch, ...]:
            self._current = attempt = Attempt(op.id, 0, self._now())
            touches = done(operation(tx, *args, **kwargs))
            attempt.touches = touches
            attempt.entered = tx.row(ledger.ENTER, entry(op.id, self._worker, touches), Entered)
            return touches

        self._op = op
        try:
            return self.database.run(Operation(body, operation.isolation, operation.read_only))
        except Conflict as error:
            raise Again("the version is stale") from error
        except Refused as error:
            raise Again("the limit is reached") from error
        finally:
            self._op = None

    def attempt(self, strategy: Callable[[Product, Op], tuple[Touch, ...]], op: Op) -> Attempt:
        """Run a strategy once; return its last attempt, after noting those before it."""
        self.attempts.clear()
        self._begin, self._entries = None, None
        self._looked.clear()
        reason = None
        try:
            strategy(self, op)
        except CommitUnknown as error:
            reason = str(error)
            if self.attempts:
                self.attempts[-1].outcome = "info"
        except (Again, Contention, DatabaseUnavailable) as error:
            reason = str(error)
        except ConcordError as error:
            reason = f"{type(error).__name__}: {error}"
        if not self.attempts:  # it failed before it began
            self.attempts.append(Attempt(op.id, op.retry, self._now(), end=self._now()))
        last = self.attempts.pop()
        if last.outcome != "ok":
            last.reason = reason
        return last

    def _observe(self, record: Record) -> None:
        ended = self._now()
        at = ended - record.ms / 1000
        statements: list[tuple[str, float, float, int]] = []
        for trip in record.trips:
            # How the time of a round trip divides, the client cannot tell. The first statement
            # takes the locks, so what it waited for is that one's.
            waiting = trip[1] if len(trip) > 1 and trip[0].text.startswith("BEGIN") else trip[0]
            for statement in trip:
                name = "begin" if statement.text.startswith("BEGIN") else statement.name.lower()
                ms = statement.ms if statement is waiting else 0.0
                statements.append((name, at, ms, statement.rows))
                at += ms / 1000
        if self._begin is None:
            self._begin = ended - record.ms / 1000
        if self._op is None:
            self._looked += statements
            return
        attempt = self._current or Attempt(self._op.id, 0, self._begin)
        self._current = None
        attempt.retry = self._op.retry + len(self.attempts)
        attempt.begin, self._begin = self._begin, None
        attempt.statements = self._looked + statements
        self._looked = []
        attempt.outcome = "ok" if record.outcome == "done" else "fail"
        attempt.sqlstate = record.sqlstate
        attempt.xid = record.xid
        attempt.entries = self._entries
        attempt.end = ended
        self.attempts.append(attempt)
